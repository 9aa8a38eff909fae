"""Guess the class of pictures without any label, by the names of the classes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headstart.cli import answer_output, options
from headstart.cli.parser import parse_name
from headstart.core.console import Console

if TYPE_CHECKING:
    from headstart.core.types import ZeroShotPrediction


class ZeroShot:
    """Guess the class of pictures without any label, by the names of the classes.

    A classifier of ImageNet says what it sees; a sentence model compares that with the names of your classes. A CLIP or
    SigLIP compares pictures and names itself. Rows come in the order of the files. Nothing is measured on your
    pictures: a few labels and `headstart fit` do that.
    """

    name = "zeroshot"
    interruption_note = "the rows that were written are whole"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add FILES, the classes, the backbone and the form of the rows."""
        answer_output.add_files(parser)
        help_text = "names in English with commas between them, at least two"
        parser.add_argument("--classes", metavar="NAMES", type=_parse_names, required=True, help=help_text)
        help_text = "whose ImageNet classifier looks, or a CLIP or SigLIP (default: bundled:efficientnet_lite2)"
        parser.add_argument("--backbone", metavar="NAME", type=parse_name, help=help_text)
        add = parser.add_argument
        add("--format", metavar="{csv,jsonl}", help="form of the rows (default: as --out ends, else csv)")
        add("--json", action="store_true", help="the same as --format jsonl")
        add("--out", metavar="FILE", type=answer_output.parse_table_path, help="write the rows there (default: stdout)")
        options.add_offline(parser)
        add("--quiet", action="store_true", help="no summary on stderr")

    def __call__(self, args: argparse.Namespace) -> int:
        """Guess, row by row, and sum up on stderr."""
        from headstart.api.zeroshot import zeroshot

        row_format = answer_output.choose_format("jsonl" if args.json else args.format, args.out, ("csv", "jsonl"))
        chosen = {"backbone": args.backbone} if args.backbone else {}
        names, console = answer_output.read_names(args.files), Console(quiet=args.quiet)
        guesses = zeroshot(names, args.classes, console=console, **chosen)
        answered = unread = 0
        with answer_output.open_output(args.out) as out:
            if row_format == "csv":
                columns = ("file", "answer", "cosine", *(f"cosine_{name}" for name in args.classes), "seen", "p_seen")
                answer_output.write_csv_row(out, (*columns, "measured", "error"))
            for prediction in guesses:
                if row_format == "csv":
                    answer_output.write_csv_row(out, _list_cells(prediction, args.classes))
                else:
                    answer_output.write_json_row(out, _make_row(prediction))
                answered, unread = answered + (not prediction.error), unread + bool(prediction.error)
        return answer_output.print_summary(answered, unread, quiet=args.quiet, arguments=args.files)


def _parse_names(text: str) -> tuple[str, ...]:
    """Names between commas, for `type=`; an empty one is kept, so that it is told."""
    return tuple(name.strip() for name in text.split(",")) if text.strip() else ()


def _list_cells(prediction: ZeroShotPrediction, classes: tuple[str, ...]) -> tuple[object, ...]:
    """A row of CSV; the column `measured` says `no` in each."""
    cosines, seen = _round_values(prediction.cosines), _round_values(prediction.seen)
    cells = [cosines.get(name, "") if not prediction.error else "" for name in (prediction.answer, *classes)]
    source_class, chance = next(iter(seen.items()), ("", ""))
    return prediction.uri, prediction.answer, *cells, source_class, chance, "no", prediction.error


def _make_row(prediction: ZeroShotPrediction) -> dict[str, Any]:
    """A row as a JSON object, the nearest class first."""
    return {
        "file": prediction.uri,
        "answer": prediction.answer or None,
        "cosines": _round_values(prediction.cosines),
        "seen": _round_values(prediction.seen),
        "scores": _round_values(prediction.scores),
        "measured": False,
        "error": prediction.error or None,
    }


def _round_values(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, answer_output.DIGITS) for name, value in values.items()}


PLUGIN = ZeroShot()
