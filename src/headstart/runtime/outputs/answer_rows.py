"""Answers as rows: the columns, and how CSV and JSON Lines hold them.

`file`, `answer`, `confidence`, `likeliest`, `plausible`, `novelty`, `reasons`, `p_<class>` for each class, `error`.
Rows are written some at a time, each whole; `whole_rows` finds them again after a kill.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from headstart.core.types import Prediction

DIGITS = 6
JOINED = "|"  # between plausible classes, and between reasons, in a cell of CSV
_FIRST = ("file", "answer", "confidence")
DOUBT = ("likeliest", "plausible", "novelty", "reasons")


def columns(class_names: Sequence[str]) -> list[str]:
    """Names of the columns of CSV and Parquet; without class names, as of a bare backbone, no doubt is told."""
    return [*_FIRST, *(DOUBT if class_names else ()), *(f"p_{name}" for name in class_names), "error"]


def answered_anyway(found: Prediction) -> Prediction:
    """The same with the likeliest class where the model would rather not answer."""
    return dataclasses.replace(found, answer=found.likeliest, unknown=False) if found.unknown else found


def shown(uri: str) -> str:
    """A name in UTF-8: bytes that are not become backslash escapes."""
    return uri.encode("utf-8", "backslashreplace").decode("utf-8")


def confidence(found: Prediction) -> float | None:
    """Probability of the likeliest class; with a threshold or costs it need not be the largest."""
    if found.error:
        return None
    return rounded(found.probabilities[found.likeliest or found.answer])


def rounded(value: float) -> float:
    """A number as rows hold it."""
    return round(value, DIGITS)


def cells(found: Prediction, class_names: Sequence[str]) -> list[Any]:
    """One row, in the order of `columns`; None where there is nothing."""
    chances = [None if found.error else rounded(found.probabilities[name]) for name in class_names]
    doubt = _doubt(found).values() if class_names else ()
    return [shown(found.uri), found.answer or None, confidence(found), *doubt, *chances, found.error or None]


def _doubt(found: Prediction) -> dict[str, Any]:
    novelty = None if found.novelty is None else rounded(found.novelty)
    values = (found.likeliest or found.answer or None, list(found.plausible), novelty, list(found.reasons))
    return dict(zip(DOUBT, values, strict=True))


class CsvRows:
    """CSV in UTF-8, quoted where needed."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self._names = class_names

    def head(self) -> bytes:
        """The line of the columns."""
        return csv_lines([columns(self._names)])

    def rows(self, found: Sequence[Prediction]) -> bytes:
        """A line an answer; what is empty stays empty."""
        return csv_lines([self._cells(one) for one in found])

    def _cells(self, found: Prediction) -> list[Any]:
        return [JOINED.join(cell) if isinstance(cell, list) else cell for cell in cells(found, self._names)]


class JsonRows:
    """JSON Lines in ASCII; undecodable bytes of a name survive as escapes."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self._names = class_names

    def head(self) -> bytes:
        """Nothing."""
        return b""

    def rows(self, found: Sequence[Prediction]) -> bytes:
        """An object a line."""
        return b"".join(json.dumps(self._row(one), allow_nan=False).encode("ascii") + b"\n" for one in found)

    def _row(self, found: Prediction) -> dict[str, Any]:
        return {
            "file": found.uri,
            "answer": found.answer or None,
            "confidence": confidence(found),
            **(_doubt(found) if self._names else {}),
            "probabilities": {name: rounded(value) for name, value in found.probabilities.items()},
            "error": found.error or None,
        }


TextRows = CsvRows | JsonRows
KINDS: dict[str, type[CsvRows] | type[JsonRows]] = {"csv": CsvRows, "jsonl": JsonRows}


def csv_lines(lines: Sequence[Sequence[Any]]) -> bytes:
    """Lines of CSV in UTF-8; bytes of a file's name that are not UTF-8 become backslash escapes."""
    found = list[str]()

    class Kept:
        """Rows as they are written: with `\\r\\n` for an end the writer quotes both, wherever they stand in a cell."""

        @staticmethod
        def write(row: str) -> None:
            found.append(row.removesuffix("\r\n") + "\n")

    csv.writer(Kept, lineterminator="\r\n").writerows(lines)
    return "".join(found).encode("utf-8", "backslashreplace")


# ---------------------------------------------------------------- found again


def whole_rows(path: Path, form: str) -> Iterator[tuple[str, int]]:
    """The first cell of every whole row, the head's included, and where in the file it ends.

    A row that was cut short, and whatever follows it, is not among them.

    Args:
        path: A table that `CsvRows` or `JsonRows` wrote.
        form: `csv` or `jsonl`.
    """
    with path.open("rb") as handle:
        end = 0
        for record in _records(handle) if form == "csv" else handle:
            if not record.endswith(b"\n"):
                return
            try:
                name = _first(record) if form == "csv" else str(json.loads(record)["file"])
            except (ValueError, KeyError, TypeError, csv.Error, IndexError):
                return
            end += len(record)
            yield name, end


def _records(handle: BinaryIO) -> Iterator[bytes]:
    """Rows of CSV as bytes: a line break inside quotes ends none."""
    record, quotes = b"", 0
    for line in handle:
        record, quotes = record + line, quotes + line.count(b'"')
        if quotes % 2 == 0:
            yield record
            record, quotes = b"", 0
    if record:
        yield record.rstrip(b"\n")  # it lacks its end


def _first(record: bytes) -> str:
    text = record.decode("utf-8")
    return next(csv.reader(io.StringIO(text, newline="")))[0]
