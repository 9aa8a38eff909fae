"""Compare backbones and depths by cross-validated probes on the same folds."""

from __future__ import annotations

from typing import Any

from headstart.cli._step import Step
from headstart.cli.tables import interval, table

BALANCED = "balanced_accuracy"


class Rank(Step):
    """Compare backbones and depths by cross-validated probes on the same folds."""

    name = "rank"
    settings = (
        *("backbones", "metric", "prefer", "budget", "seed", "test_size", "folds", "precision", "class_weight"),
        *("license", "max_latency", "max_size"),
    )

    def text(self, found: dict[str, Any]) -> str:
        """The candidates, best first, and the reason for the choice."""
        ranking = found["ranking"]
        metric = ranking["metric"]
        rows = [
            (
                row["candidate"],
                row["status"].replace("_", " "),
                row["probe"],
                _score(row, metric),
                _score(row, BALANCED),
            )
            for row in ranking["rows"]
        ]
        head = ("candidate", "status", "probe", metric.replace("_", " "), BALANCED.replace("_", " "))
        return f"{table(head, rows)}\n\n{ranking['why']}"


def _score(row: dict[str, Any], name: str) -> str:
    return next((interval(score) for score in row["scores"] if score["name"] == name), "-")


PLUGIN = Rank()
