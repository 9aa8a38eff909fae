"""Compute the features of the backbones once, into the cache."""

from __future__ import annotations

from typing import Any

from headstart.cli.step_command import Step
from headstart.cli.text_tables import table
from headstart.core.console import format_duration


class Embed(Step):
    """Compute the features of the backbones once, into the cache."""

    name = "embed"
    settings = ("backbones", "precision", "budget", "seed", "license", "max_latency", "max_size")

    def text(self, found: dict[str, Any]) -> str:
        """One line a backbone."""
        rows = [
            (
                e["backbone"],
                f"{e['pictures']:,}",
                f"{e['cached']:,}",
                format_duration(e["seconds"]),
                _depths(e["depths"]),
            )
            for e in found["embeddings"]
        ]
        return table(("backbone", "pictures", "from cache", "time", "depths"), rows, right=(1, 2, 3))


def _depths(depths: dict[str, int]) -> str:
    return ", ".join(f"{name} ({dim})" for name, dim in depths.items())


PLUGIN = Embed()
