"""Compare backbones and depths by cross-validated probes on the same folds."""

from __future__ import annotations

from typing import Any

from headstart.cli.step_command import StepCommand
from headstart.cli.text_tables import format_interval, format_table


class Rank(StepCommand):
    """Compare backbones and depths by cross-validated probes on the same folds.

    Printed are the columns that fit a terminal; `rank/value.json` in the run folder and `--json` have them all.
    """

    name = "rank"
    settings = (
        *("backbones", "metric", "prefer", "budget", "seed", "test_size", "folds", "precision", "class_weight"),
        *("license", "max_latency", "max_size"),
    )

    def format_result(self, result: dict[str, Any]) -> str:
        """The candidates, best first, and the reason for the choice."""
        ranking, rows = result["ranking"], []
        metrics = (ranking["metric"], "balanced_accuracy")
        for row in ranking["rows"]:
            by_name = {score["name"]: format_interval(score) for score in row["scores"]}
            scores = (by_name.get(metric, "-") for metric in metrics)
            rows.append((row["candidate"], row["status"].replace("_", " "), row["probe"], *scores))
        head = ("candidate", "status", "probe", *(metric.replace("_", " ") for metric in metrics))
        return f"{format_table(head, rows)}\n\n{_format_verdict(ranking)}"


def _format_verdict(ranking: dict[str, Any]) -> str:
    """The reason for the choice, who is best by what, and which backbones are worth no more than random weights."""
    judged = {row["backbone"]: row for row in ranking["rows"] if row["status"] in ("chosen", "tied", "beaten")}
    lines = [ranking["why"]]
    if len(judged) > 1:
        by_prior = f"; best by prior: {ranking['best_by_prior']} ({ranking['prior_why']})"
        lines.append(f"best by probe: {ranking['best_by_probe']}{by_prior if ranking['best_by_prior'] else ''}")
    metric = ranking["metric"].replace("_", " ")
    lines += [
        f"no better than random weights: {name}, difference in {metric} {format_interval(row['over_random'])}"
        for name, row in judged.items()
        if row["beats_random"] is False
    ]
    return "\n".join(lines)


PLUGIN = Rank()
