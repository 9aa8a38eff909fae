"""Answer for pictures with a saved model: CSV or JSON lines, row by row."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from headstart.cli.parser import filled, place
from headstart.core.errors import DataError, UsageError, nearest
from headstart.core.files import disk_errors

if TYPE_CHECKING:
    from headstart.core.types import Prediction

FORMATS = ("csv", "jsonl")
DIGITS = 6


class Predict:
    """Answer for pictures with a saved model: CSV or JSON lines, row by row.

    Rows come in the order of the files while the work goes on. A file that cannot be read has a row that says why.
    """

    name = "predict"
    kept = "the rows that were written are whole"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN, FILES and the form of the rows."""
        parser.add_argument("run", metavar="RUN", type=filled, help="a run folder, or the model folder in it")
        said = "pictures or folders; - reads names from stdin"
        parser.add_argument("files", metavar="FILE", nargs="+", type=filled, help=said)
        parser.add_argument("--format", metavar="{csv,jsonl}", default="csv", help="form of the rows (default: csv)")
        parser.add_argument("--json", action="store_true", help="the same as --format jsonl")
        parser.add_argument("--out", metavar="FILE", type=_rows, help="write the rows there (default: stdout)")
        parser.add_argument("--quiet", action="store_true", help="no summary on stderr")

    def __call__(self, args: argparse.Namespace) -> int:
        """Answer, row by row, and sum up on stderr."""
        from headstart.runtime import predict
        from headstart.runtime.model import load

        make = _writer("jsonl" if args.json else args.format)
        model = load(args.run)
        files = predict.walk(Path(name) for name in _names(args.files))
        answered = unread = 0
        with _stream(args.out) as out:
            write = make(out, model.class_names)
            for found in model.predict(files):
                write(found)
                answered, unread = answered + (not found.error), unread + bool(found.error)
        return _sum_up(answered, unread, quiet=args.quiet)


def _rows(text: str) -> Path:
    """Where to write rows, for `type=`: a picture's name there is one picture too many among FILE."""
    from headstart.kit.signatures import SUFFIXES

    if Path(text).suffix.lower() in SUFFIXES:
        raise UsageError(f"`{text}` is the name of a picture, not of a table", where="--out", hint="--out rows.csv")
    return place(text)


def _names(words: Sequence[str]) -> Iterator[str]:
    """File names as given; for `-`, one a line from standard input, as bytes of any kind."""
    for word in words:
        if word == "-":
            yield from (os.fsdecode(line) for raw in sys.stdin.buffer if (line := raw.rstrip(b"\r\n")))
        else:
            yield word


def _sum_up(answered: int, unread: int, *, quiet: bool) -> int:
    if not answered:
        what = f"none of {unread:,} files could be read" if unread else "there is no picture among what was named"
        raise DataError(what, hint="the column `error` of each row says why" if unread else None)
    if not quiet:
        print(f"{answered:,} answered, {unread:,} could not be read", file=sys.stderr)
    return 0


# ---------------------------------------------------------------- rows

Write = Callable[["Prediction"], None]


def _writer(form: str) -> Callable[[BinaryIO, tuple[str, ...]], Write]:
    if form not in FORMATS:
        raise UsageError(f"there is no format `{form}`", hint=nearest(form, FORMATS) or f"known: {', '.join(FORMATS)}")
    return {"csv": csv_rows, "jsonl": json_rows}[form]


def csv_rows(out: BinaryIO, class_names: tuple[str, ...]) -> Write:
    """Write the head, and return what writes a row: file, answer, confidence, `p_<class>` for each class, error.

    UTF-8 with quotes where needed; bytes of a file's name that are not UTF-8 become backslash escapes.
    """

    def put(cells: Sequence[object]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        out.write(line.getvalue().encode("utf-8", "backslashreplace"))
        out.flush()

    def write(found: Prediction) -> None:
        chances = [round(found.probabilities[name], DIGITS) if not found.error else "" for name in class_names]
        put([found.uri, found.answer, _confidence(found), *chances, found.error])

    put(["file", "answer", "confidence", *(f"p_{name}" for name in class_names), "error"])
    return write


def json_rows(out: BinaryIO, class_names: tuple[str, ...]) -> Write:
    """Return what writes a row as one JSON object in ASCII; undecodable bytes of a name survive as escapes."""

    def write(found: Prediction) -> None:
        row = {
            "file": found.uri,
            "answer": found.answer or None,
            "confidence": _confidence(found) if not found.error else None,
            "probabilities": {name: round(value, DIGITS) for name, value in found.probabilities.items()},
            "error": found.error or None,
        }
        out.write(json.dumps(row, allow_nan=False).encode("ascii") + b"\n")
        out.flush()

    return write


def _confidence(found: Prediction) -> float | str:
    """Probability of the answer; with a threshold or costs it need not be the largest."""
    return round(found.probabilities[found.answer], DIGITS) if not found.error else ""


@contextlib.contextmanager
def _stream(path: Path | None) -> Iterator[BinaryIO]:
    """The output as bytes: a file, or standard output."""
    if path is None:
        yield sys.stdout.buffer
        return
    with disk_errors(path), path.open("wb") as out:
        yield out


PLUGIN = Predict()
