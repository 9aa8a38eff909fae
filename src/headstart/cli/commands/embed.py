"""Compute the features of the backbones once, into the cache."""

from __future__ import annotations

from typing import Any

from headstart.cli.step_command import StepCommand
from headstart.cli.text_tables import format_table
from headstart.core.console import format_duration


class Embed(StepCommand):
    """Compute the features of the backbones once, into the cache."""

    name = "embed"
    settings = ("backbones", "precision", "budget", "seed", "license", "max_latency", "max_size")

    def format_result(self, result: dict[str, Any]) -> str:
        """One line a backbone."""
        rows = [
            (
                e["backbone"],
                f"{e['pictures']:,}",
                f"{e['cached']:,}",
                format_duration(e["seconds"]),
                _format_levels(e["depths"]),
            )
            for e in result["embeddings"]
        ]
        return format_table(("backbone", "pictures", "from cache", "time", "depths"), rows, right=(1, 2, 3))


def _format_levels(depths: dict[str, int]) -> str:
    return ", ".join(f"{name} ({dim})" for name, dim in depths.items())


PLUGIN = Embed()
