"""Guess the class of pictures without any label, by the names of the classes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from headstart.cli import answer_output
from headstart.cli.parser import filled
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
    kept = "the rows that were written are whole"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add FILES, the classes, the backbone and the form of the rows."""
        answer_output.add_files(parser)
        said = "names in English with commas between them, at least two"
        parser.add_argument("--classes", metavar="NAMES", type=_names, required=True, help=said)
        said = "whose ImageNet classifier looks, or a CLIP or SigLIP (default: bundled:efficientnet_lite2)"
        parser.add_argument("--backbone", metavar="NAME", type=filled, help=said)
        answer_output.add_rows(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Guess, row by row, and sum up on stderr."""
        from headstart.api import pipeline

        make = {"csv": csv_rows, "jsonl": json_rows}[answer_output.form(args)]
        chosen = {"backbone": args.backbone} if args.backbone else {}
        guesses = pipeline.zeroshot(
            answer_output.names(args.files), args.classes, console=Console(quiet=args.quiet), **chosen
        )
        answered = unread = 0
        with answer_output.stream(args.out) as out:
            write = make(out, args.classes)
            for found in guesses:
                write(found)
                answered, unread = answered + (not found.error), unread + bool(found.error)
        return answer_output.sum_up(answered, unread, quiet=args.quiet, asked=args.files)


def _names(text: str) -> tuple[str, ...]:
    """Names between commas, for `type=`; an empty one is kept, so that it is told."""
    return tuple(name.strip() for name in text.split(",")) if text.strip() else ()


def csv_rows(out: BinaryIO, classes: tuple[str, ...]) -> Write:
    """Write the head, and return what writes a row; the column `measured` says `no` in each."""

    def write(found: ZeroShotPrediction) -> None:
        cosines = [_rounded(found.cosines[name]) if not found.error else "" for name in classes]
        best = _rounded(found.cosines[found.answer]) if not found.error else ""
        seen, chance = next(iter(found.seen.items()), ("", None))
        cells = [found.uri, found.answer, best, *cosines, seen, "" if chance is None else _rounded(chance)]
        answer_output.put_csv(out, [*cells, "no", found.error])

    columns = ("file", "answer", "cosine", *(f"cosine_{name}" for name in classes), "seen", "p_seen")
    answer_output.put_csv(out, [*columns, "measured", "error"])
    return write


def json_rows(out: BinaryIO, classes: tuple[str, ...]) -> Write:
    """Return what writes a row as one JSON object in ASCII, the nearest class first."""

    def write(found: ZeroShotPrediction) -> None:
        row = {
            "file": found.uri,
            "answer": found.answer or None,
            "cosines": {name: _rounded(value) for name, value in found.cosines.items()},
            "seen": {name: _rounded(value) for name, value in found.seen.items()},
            "scores": {name: _rounded(value) for name, value in found.scores.items()},
            "measured": False,
            "error": found.error or None,
        }
        answer_output.put_json(out, row)

    return write


def _rounded(value: float) -> float:
    return round(value, answer_output.DIGITS)


PLUGIN = ZeroShot()
