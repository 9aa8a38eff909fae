"""Judge a saved model on other labelled pictures; nothing is trained."""

from __future__ import annotations

import argparse
from typing import Any

from headstart.cli import options
from headstart.cli.parser import parse_name
from headstart.cli.text_tables import format_interval, format_table


class Evaluate:
    """Judge a saved model on other labelled pictures; nothing is trained."""

    name = "evaluate"
    interruption_note = "nothing was changed; the same command starts again"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN, DATA and the output options."""
        parser.add_argument("run", metavar="RUN", type=parse_name, help="a run folder")
        help_text = "labelled pictures in any form that `headstart fit` reads, with classes or a number as in the run"
        parser.add_argument("data", metavar="DATA", type=parse_name, help=help_text)
        options.add_settings(parser, "images", "path", "target", "split", "merge_labels")
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Score the model and print the scores."""
        from headstart.api import commands

        console = options.make_console(args)
        result = commands.evaluate(args.run, args.data, console=console, **options.read_settings(args))
        console.print_result(format_scores(result), result)
        return 0


def format_scores(result: dict[str, Any]) -> str:
    """Scores of all pictures first, then those of each class, and what always giving one answer would score."""
    scores = sorted(result["scores"], key=lambda score: bool(score.get("subject"))) + result["baselines"]
    rows = [(s["name"].replace("_", " "), s.get("subject", ""), format_interval(s)) for s in scores]
    return format_table(("score", "of", "value [95 % interval]"), rows)


PLUGIN = Evaluate()
