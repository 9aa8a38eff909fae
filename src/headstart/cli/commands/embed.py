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
        rows = []
        for entry in result["embeddings"]:
            counts, time = (f"{entry['pictures']:,}", f"{entry['cached']:,}"), format_duration(entry["seconds"])
            depths = ", ".join(f"{name} ({dim})" for name, dim in entry["depths"].items())
            rows.append((entry["backbone"], *counts, time, depths))
        return format_table(("backbone", "pictures", "from cache", "time", "depths"), rows, right=(1, 2, 3))


PLUGIN = Embed()
