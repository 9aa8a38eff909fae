"""Tell whether what a model is asked now has moved away from what it was measured on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from headstart.cli import options
from headstart.cli.parser import parse_name, parse_number
from headstart.cli.text_tables import format_table
from headstart.core.errors import GateFailed

if TYPE_CHECKING:
    from headstart.evaluation.drift.drift_tests import Drift

SHOWN = 14  # days


class DriftCommand:
    """Tell whether what a model is asked now has moved away from what it was measured on.

    LOG is what `predict --usage LOG` and `serve --usage LOG` keep: counts by day, no pictures, no names. Several logs
    add up. They are compared with the pictures of the run that the model never learnt from, or with those of the new
    domain that it is for.
    """

    name = "drift"
    interruption_note = "nothing was changed; the same command starts again"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN, LOGS, the level and the output options."""
        parser.add_argument("run", metavar="RUN", type=parse_name, help="a run folder, or the model folder in it")
        parser.add_argument("logs", metavar="LOG", nargs="+", type=parse_name, help="counts of the model in use")
        help_text = "how often chance alone may say that something moved (default: 0.05)"
        parser.add_argument("--alpha", metavar="P", type=parse_number, default=0.05, help=help_text)
        help_text = "population stability index from which a difference matters (default: 0.1)"
        parser.add_argument("--effect", metavar="SIZE", type=parse_number, default=0.1, help=help_text)
        parser.add_argument("--fail", action="store_true", help="exit code 1 where inputs moved")
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Judge and print.

        Raises:
            GateFailed: Inputs moved, with `--fail`.
        """
        from headstart.api import actions
        from headstart.core.storage.hashing import to_plain

        drift = actions.drift(args.run, args.logs, alpha=args.alpha, effect=args.effect)
        options.make_console(args).print_result(format_drift(drift), to_plain(drift))
        if args.fail and drift.drifted:
            raise GateFailed(drift.sentence, hint=drift.advice[0] if drift.advice else None)
        return 0


def format_drift(drift: Drift) -> str:
    """The verdict, what was compared, the days, and what to do."""
    from headstart.evaluation.drift.drift_tests import TITLES

    parts = [drift.sentence]
    if drift.tests:
        rows = []
        for test in drift.tests:
            moved = "moved" if test.moved else "a little" if test.p <= drift.alpha else "-"
            rows.append((TITLES[test.name], moved, f"{test.effect:.2f}", f"{test.p:.4f}", test.sentence))
        parts.append(format_table(("what", "", "size", "p", "in numbers"), rows, right=(2, 3)))
        parts.append(
            f"size: population stability index beyond chance, from {drift.threshold:g} on it matters; "
            f"p: permutation test, corrected for {len(drift.tests)} comparisons, level {drift.alpha:g}"
        )
    parts.append(_format_days(drift))
    notes = {
        "files that could not be read": drift.errors,
        "lines of other models, left out": drift.foreign,
        "damaged lines, left out": drift.damaged,
    }
    parts.append("\n".join(f"{note}: {count:,}" for note, count in notes.items() if count))
    parts.append("\n".join(f"- {advice}" for advice in drift.advice))
    return "\n\n".join(filter(None, parts))


def _format_days(drift: Drift) -> str:
    from headstart.evaluation.drift.drift_tests import TITLES

    rows = []
    for day in drift.days[-SHOWN:]:
        counts = (f"{count:,}" for count in (day.answered, day.unknown, day.errors))
        rows.append((day.day, *counts, f"{day.effect:.2f}", TITLES.get(day.what, "")))
    head = ("day (UTC)", "pictures", "unknown", "unread", "size", "of")
    more = len(drift.days) - SHOWN
    return format_table(head, rows, right=(1, 2, 3, 4)) + (f"\n{more:,} earlier days are not shown" if more > 0 else "")


PLUGIN = DriftCommand()
