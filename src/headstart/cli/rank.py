"""Compare backbones and depths by cross-validated probes on the same folds."""

from __future__ import annotations

import argparse
from typing import Any

from headstart.cli import options
from headstart.cli.fit import KEPT
from headstart.cli.tables import interval, table

BALANCED = "balanced_accuracy"
SETTINGS = (
    "backbones",
    "metric",
    "prefer",
    "budget",
    "seed",
    "test_size",
    "folds",
    "precision",
    "class_weight",
)


class Rank:
    """Compare backbones and depths by cross-validated probes on the same folds."""

    name = "rank"
    kept = KEPT

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add DATA, the settings that matter here, and the output options."""
        options.add_data(parser)
        options.add_settings(parser, *SETTINGS)
        options.add_out(parser)
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Run the stages up to this one."""
        from headstart import pipeline

        data, settings = options.request(args)
        say = options.say(args)
        found = pipeline.rank(data, out=args.out, say=say, **settings)
        say.result(text(found), found)
        return 0


def text(found: dict[str, Any]) -> str:
    """The candidates, best first, and the reason for the choice."""
    ranking = found["ranking"]
    metric = ranking["metric"]
    rows = [
        (row["candidate"], row["status"].replace("_", " "), row["probe"], _score(row, metric), _score(row, BALANCED))
        for row in ranking["rows"]
    ]
    head = ("candidate", "status", "probe", metric.replace("_", " "), BALANCED.replace("_", " "))
    return f"{table(head, rows)}\n\n{ranking['why']}"


def _score(row: dict[str, Any], name: str) -> str:
    return next((interval(score) for score in row["scores"] if score["name"] == name), "-")


PLUGIN = Rank()
