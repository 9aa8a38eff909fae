"""Judge a saved model on another labelled folder; nothing is trained."""

from __future__ import annotations

import argparse
from typing import Any

from headstart.cli import options
from headstart.cli.parser import filled
from headstart.cli.text_tables import interval, table


class Evaluate:
    """Judge a saved model on another labelled folder; nothing is trained."""

    name = "evaluate"
    kept = "nothing was changed; the same command starts again"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN, DATA and the output options."""
        parser.add_argument("run", metavar="RUN", type=filled, help="a run folder")
        parser.add_argument(
            "data", metavar="DATA", type=filled, help="folder with one class a sub-folder, as in the run"
        )
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Score the model and print the scores."""
        from headstart.api import pipeline

        console = options.make_console(args)
        found = pipeline.evaluate(args.run, args.data, console=console)
        console.print_result(text(found), found)
        return 0


def text(found: dict[str, Any]) -> str:
    """Scores of the whole folder first, then those of each class."""
    scores = sorted(found["scores"], key=lambda score: bool(score.get("subject")))
    rows = [(s["name"].replace("_", " "), s.get("subject", ""), interval(s)) for s in scores]
    return table(("score", "class", "value [95 % interval]"), rows)


PLUGIN = Evaluate()
