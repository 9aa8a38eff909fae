"""Guess the class of pictures without any label, by the names of the classes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from headstart.cli import answer_output
from headstart.cli.parser import parse_name
from headstart.core.console import Console

if TYPE_CHECKING:
    from headstart.core.types import ZeroShotPrediction

Write = Callable[["ZeroShotPrediction"], None]


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
        answer_output.add_rows(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Guess, row by row, and sum up on stderr."""
        from headstart.api import pipeline

        make = {"csv": open_csv_rows, "jsonl": open_json_rows}[answer_output.choose_format(args)]
        chosen = {"backbone": args.backbone} if args.backbone else {}
        guesses = pipeline.zeroshot(
            answer_output.read_names(args.files), args.classes, console=Console(quiet=args.quiet), **chosen
        )
        answered = unread = 0
        with answer_output.open_output(args.out) as out:
            write = make(out, args.classes)
            for prediction in guesses:
                write(prediction)
                answered, unread = answered + (not prediction.error), unread + bool(prediction.error)
        return answer_output.print_summary(answered, unread, quiet=args.quiet, arguments=args.files)


def _parse_names(text: str) -> tuple[str, ...]:
    """Names between commas, for `type=`; an empty one is kept, so that it is told."""
    return tuple(name.strip() for name in text.split(",")) if text.strip() else ()


def open_csv_rows(out: BinaryIO, classes: tuple[str, ...]) -> Write:
    """Write the head, and return what writes a row; the column `measured` says `no` in each."""

    def write(prediction: ZeroShotPrediction) -> None:
        cosines = [_round_digits(prediction.cosines[name]) if not prediction.error else "" for name in classes]
        best = _round_digits(prediction.cosines[prediction.answer]) if not prediction.error else ""
        source_class, chance = next(iter(prediction.seen.items()), ("", None))
        cells = [
            prediction.uri,
            prediction.answer,
            best,
            *cosines,
            source_class,
            "" if chance is None else _round_digits(chance),
        ]
        answer_output.write_csv_row(out, [*cells, "no", prediction.error])

    columns = ("file", "answer", "cosine", *(f"cosine_{name}" for name in classes), "seen", "p_seen")
    answer_output.write_csv_row(out, [*columns, "measured", "error"])
    return write


def open_json_rows(out: BinaryIO, classes: tuple[str, ...]) -> Write:
    """Return what writes a row as one JSON object in ASCII, the nearest class first."""

    def write(prediction: ZeroShotPrediction) -> None:
        row = {
            "file": prediction.uri,
            "answer": prediction.answer or None,
            "cosines": {name: _round_digits(value) for name, value in prediction.cosines.items()},
            "seen": {name: _round_digits(value) for name, value in prediction.seen.items()},
            "scores": {name: _round_digits(value) for name, value in prediction.scores.items()},
            "measured": False,
            "error": prediction.error or None,
        }
        answer_output.write_json_row(out, row)

    return write


def _round_digits(value: float) -> float:
    return round(value, answer_output.DIGITS)


PLUGIN = ZeroShot()
