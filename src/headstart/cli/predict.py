"""Answer for pictures with a saved model: CSV or JSON lines, row by row."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from headstart.cli import rows
from headstart.cli.parser import filled

if TYPE_CHECKING:
    from headstart.core.types import Prediction

KEPT = "the rows that were written are whole"


class Predict:
    """Answer for pictures with a saved model: CSV or JSON lines, row by row.

    Rows come in the order of the files while the work goes on. A file that cannot be read has a row that says why.
    With the name of a backbone instead of a run, the answers are ImageNet's classes, as its source learnt them.
    """

    name = "predict"
    kept = KEPT

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN, FILES and the form of the rows."""
        said = "a run folder, or the model folder in it, or a backbone's name: ImageNet's classes"
        parser.add_argument("run", metavar="RUN", type=filled, help=said)
        rows.add_files(parser)
        rows.add_rows(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Answer, row by row, and sum up on stderr."""
        from headstart.runtime.predict import walk

        make = {"csv": csv_rows, "jsonl": json_rows}[rows.form(args)]
        class_names, predict = _answering(args)
        answered = unread = 0
        with rows.stream(args.out) as out:
            write = make(out, class_names)
            for found in predict(walk(Path(name) for name in rows.names(args.files))):
                write(found)
                answered, unread = answered + (not found.error), unread + bool(found.error)
        return rows.sum_up(answered, unread, quiet=args.quiet)


Predictor = Callable[[Iterable[Path]], "Iterator[Prediction]"]


def _answering(args: argparse.Namespace) -> tuple[tuple[str, ...], Predictor]:
    """Names of the columns, and what answers: a saved model, or where there is no such folder, a bare backbone."""
    from headstart.core import registry

    source, colon, _ = args.run.partition(":")
    if colon and source in registry.names("backbones") and not Path(args.run).exists():
        from headstart import pipeline
        from headstart.core.say import Say

        return (), pipeline.source_classifier(args.run, say=Say(quiet=args.quiet)).predict
    from headstart.runtime.model import load

    model = load(args.run)
    return model.class_names, model.predict


# ---------------------------------------------------------------- rows

Write = Callable[["Prediction"], None]


def csv_rows(out: BinaryIO, class_names: tuple[str, ...]) -> Write:
    """Write the head, and return what writes a row: file, answer, confidence, `p_<class>` for each class, error.

    UTF-8 with quotes where needed; bytes of a file's name that are not UTF-8 become backslash escapes.
    """

    def write(found: Prediction) -> None:
        chances = [round(found.probabilities[name], rows.DIGITS) if not found.error else "" for name in class_names]
        rows.put_csv(out, [found.uri, found.answer, _confidence(found), *chances, found.error])

    rows.put_csv(out, ["file", "answer", "confidence", *(f"p_{name}" for name in class_names), "error"])
    return write


def json_rows(out: BinaryIO, class_names: tuple[str, ...]) -> Write:
    """Return what writes a row as one JSON object in ASCII; undecodable bytes of a name survive as escapes."""

    def write(found: Prediction) -> None:
        row = {
            "file": found.uri,
            "answer": found.answer or None,
            "confidence": _confidence(found) if not found.error else None,
            "probabilities": {name: round(value, rows.DIGITS) for name, value in found.probabilities.items()},
            "error": found.error or None,
        }
        rows.put_json(out, row)

    return write


def _confidence(found: Prediction) -> float | str:
    """Probability of the answer; with a threshold or costs it need not be the largest."""
    return round(found.probabilities[found.answer], rows.DIGITS) if not found.error else ""


PLUGIN = Predict()
