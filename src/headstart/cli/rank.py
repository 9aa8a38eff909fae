"""Compare backbones and depths by cross-validated probes on the same folds."""

from __future__ import annotations

from typing import Any

from headstart.cli._step import Step
from headstart.cli.tables import interval, table

BALANCED = "balanced_accuracy"
NEAR = ("leep", "nce", "cka", "frechet", "two_sample")


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
        parts = (table(head, rows), _sources(ranking["rows"]), ranking["why"])
        return "\n\n".join(part for part in parts if part)


def _score(row: dict[str, Any], name: str) -> str:
    return next((interval(score) for score in row["scores"] if score["name"] == name), "-")


def _sources(rows: list[dict[str, Any]]) -> str:
    """How near the source of each candidate is, a dash and the reason for what is not known; empty where nothing is."""
    told = [row for row in rows if any(row["likeness"][name] is not None for name in NEAR)]
    cells = [
        (row["candidate"], *(_near(row["likeness"][name]) for name in NEAR), row["likeness"]["unknown"]) for row in told
    ]
    head = ("nearness of its source", "LEEP", "NCE", "CKA", "Fréchet", "told from it", "")
    return table(head, cells) if cells else ""


def _near(value: Any) -> str:
    if isinstance(value, dict):
        return interval(value)
    return "-" if value is None else f"{value:.3f}"


PLUGIN = Rank()
