"""Tell whether what a model is asked now has moved away from what it was measured on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from headstart.cli import options
from headstart.cli.parser import filled, number
from headstart.cli.text_tables import table
from headstart.core.errors import GateFailed

if TYPE_CHECKING:
    from headstart.evaluation.drift.drift_tests import Drift as Found

SHOWN = 14  # days


class Drift:
    """Tell whether what a model is asked now has moved away from what it was measured on.

    LOG is what `predict --usage LOG` and `serve --usage LOG` keep: counts by day, no pictures, no names. Several logs
    add up. They are compared with the pictures of the run that the model never learnt from.
    """

    name = "drift"
    kept = "nothing was changed; the same command starts again"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN, LOGS, the level and the output options."""
        parser.add_argument("run", metavar="RUN", type=filled, help="a run folder, or the model folder in it")
        parser.add_argument("logs", metavar="LOG", nargs="+", type=filled, help="counts of the model in use")
        said = "how often chance alone may say that something moved (default: 0.05)"
        parser.add_argument("--alpha", metavar="P", type=number, default=0.05, help=said)
        said = "population stability index from which a difference matters (default: 0.1)"
        parser.add_argument("--effect", metavar="SIZE", type=number, default=0.1, help=said)
        parser.add_argument("--fail", action="store_true", help="exit code 1 where inputs moved")
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Judge and print.

        Raises:
            GateFailed: Inputs moved, with `--fail`.
        """
        from headstart.api import actions
        from headstart.core.storage.hashing import to_plain

        found = actions.drift(args.run, args.logs, alpha=args.alpha, effect=args.effect)
        options.make_console(args).print_result(text(found), to_plain(found))
        if args.fail and found.drifted:
            raise GateFailed(found.sentence, hint=found.advice[0] if found.advice else None)
        return 0


def text(found: Found) -> str:
    """The verdict, what was compared, the days, and what to do."""
    from headstart.evaluation.drift.drift_tests import TITLES

    parts = [found.sentence]
    if found.tests:
        rows = [
            (TITLES[one.name], _moved(one.moved, one.p, found.alpha), f"{one.effect:.2f}", f"{one.p:.4f}", one.sentence)
            for one in found.tests
        ]
        parts.append(table(("what", "", "size", "p", "in numbers"), rows, right=(2, 3)))
        parts.append(
            f"size: population stability index beyond chance, from {found.threshold:g} on it matters; "
            f"p: permutation test, corrected for {len(found.tests)} comparisons, level {found.alpha:g}"
        )
    parts.append(_days(found))
    lines = [f"{found.errors:,} files could not be read"] if found.errors else []
    lines += [f"{found.foreign:,} lines of other models were left out"] if found.foreign else []
    lines += [f"{found.damaged:,} damaged lines were left out"] if found.damaged else []
    parts += ["\n".join(lines)] if lines else []
    parts += ["\n".join(f"- {one}" for one in found.advice)] if found.advice else []
    return "\n\n".join(parts)


def _moved(moved: bool, p: float, alpha: float) -> str:
    return "moved" if moved else "a little" if p <= alpha else "-"


def _days(found: Found) -> str:
    from headstart.evaluation.drift.drift_tests import TITLES

    rows = [
        (
            day.day,
            f"{day.answered:,}",
            f"{day.unknown:,}",
            f"{day.errors:,}",
            f"{day.effect:.2f}",
            TITLES.get(day.what, ""),
        )
        for day in found.days[-SHOWN:]
    ]
    head = ("day (UTC)", "pictures", "unknown", "unread", "size", "of")
    more = len(found.days) - SHOWN
    return table(head, rows, right=(1, 2, 3, 4)) + (f"\n{more:,} earlier days are not shown" if more > 0 else "")


PLUGIN = Drift()
