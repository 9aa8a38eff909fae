"""Answers as rows of CSV and JSON Lines, written some at a time; `find_whole_rows` finds them again after a kill."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from headstart.core.errors import DataError
from headstart.core.storage.csv_tables import format_csv, restore_cell
from headstart.core.types import AnswerLayout, Prediction

DIGITS = 6
SEPARATOR = "|"  # between classes of a prediction set, and between reasons, in a cell of CSV
UNCERTAINTY_COLUMNS = ("likeliest", "plausible", "novelty", "reasons")
_LISTS_OF_LABELS = ("labels", "open")  # of JSON alone
NUMBER_COLUMNS = ("file", "answer", "low", "high", "novelty", "reasons", "error")


def column_names(layout: AnswerLayout) -> list[str]:
    """Names of the columns of CSV and Parquet; without class names, as of a bare backbone, there is no uncertainty."""
    if layout.is_number:
        return list(NUMBER_COLUMNS)
    uncertainty = UNCERTAINTY_COLUMNS if layout.names else ()
    return ["file", "answer", "confidence", *uncertainty, *(f"p_{name}" for name in layout.names), "error"]


def escape_name(uri: str) -> str:
    """A name in UTF-8: bytes that are not become backslash escapes."""
    return uri.encode("utf-8", "backslashreplace").decode("utf-8")


def likeliest_probability(prediction: Prediction) -> float | None:
    """Probability of the likeliest class, the largest."""
    if prediction.error:
        return None
    return round(prediction.probabilities[prediction.likeliest or prediction.answer], DIGITS)


def row_cells(prediction: Prediction, layout: AnswerLayout) -> list[Any]:
    """One row, in the order of `column_names`; None where there is nothing."""
    row = row_object(prediction, layout)
    for name in _LISTS_OF_LABELS:
        row.pop(name, None)
    file, probabilities, error = row.pop("file"), row.pop("probabilities", {}), row.pop("error")
    values = () if layout.is_number else (probabilities.get(name) for name in layout.names)
    return [escape_name(file), *row.values(), *values, error]


def row_object(prediction: Prediction, layout: AnswerLayout) -> dict[str, Any]:
    """One answer by name, `probabilities` as one object; None where there is nothing."""
    if layout.is_number:
        return _number_object(prediction)
    uncertainty = {
        "likeliest": prediction.likeliest or prediction.answer or None,
        "plausible": list(prediction.plausible),
        "novelty": None if prediction.novelty is None else round(prediction.novelty, DIGITS),
        "reasons": list(prediction.reasons),
    }
    return {
        "file": prediction.uri,
        "answer": prediction.answer or None,
        "confidence": likeliest_probability(prediction),
        **(uncertainty if layout.names else {}),
        **(
            {name: list(getattr(prediction, name) or ()) for name in _LISTS_OF_LABELS} if layout.task.has_labels else {}
        ),
        "probabilities": {name: round(value, DIGITS) for name, value in prediction.probabilities.items()},
        "error": prediction.error or None,
    }


def _number_object(prediction: Prediction) -> dict[str, Any]:
    """A number with the ends of its interval; None for what is declined, or infinite."""
    numbers = {"answer": prediction.number, "low": prediction.low, "high": prediction.high}
    return {
        "file": prediction.uri,
        **{name: None if prediction.unknown else round_number(value) for name, value in numbers.items()},
        "novelty": None if prediction.novelty is None else round(prediction.novelty, DIGITS),
        "reasons": list(prediction.reasons),
        "error": prediction.error or None,
    }


def round_number(value: float | None) -> float | None:
    """A number to as many significant digits as float32 has; None where there is none, or it is infinite."""
    return float(f"{value:.7g}") if value is not None and math.isfinite(value) else None


def wrong_columns_error(path: Path) -> DataError:
    """A table to go on with is another model's."""
    problem = f"`{path}` has other columns than this model's answers"
    return DataError(problem, where="--resume", hint="--overwrite replaces it")


class CsvRows:
    """CSV in UTF-8, quoted where needed."""

    def __init__(self, layout: AnswerLayout) -> None:
        self._layout = layout

    def format_header(self) -> bytes:
        """The line of the columns."""
        return format_csv([column_names(self._layout)])

    def format_rows(self, predictions: Sequence[Prediction]) -> bytes:
        """A line an answer; what is empty stays empty."""
        rows = (row_cells(prediction, self._layout) for prediction in predictions)
        return format_csv([[SEPARATOR.join(cell) if isinstance(cell, list) else cell for cell in row] for row in rows])


class JsonRows:
    """JSON Lines in ASCII; undecodable bytes of a name survive as escapes."""

    def __init__(self, layout: AnswerLayout) -> None:
        self._layout = layout

    def format_header(self) -> bytes:
        """JSON Lines have none."""
        return b""

    def format_rows(self, predictions: Sequence[Prediction]) -> bytes:
        """An object a line."""
        rows = (row_object(prediction, self._layout) for prediction in predictions)
        return "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows).encode("ascii")


ROW_FORMATS: dict[str, type[CsvRows] | type[JsonRows]] = {"csv": CsvRows, "jsonl": JsonRows}


def find_whole_rows(path: Path, form: str) -> Iterator[tuple[str, int]]:
    """The first cell of every whole row, the head's included, and where in the file it ends, up to one cut short."""
    with path.open("rb") as handle:
        end = 0
        for record in _split_csv_rows(handle) if form == "csv" else handle:
            if not record.endswith(b"\n"):
                return
            try:
                name = _read_first_cell(record) if form == "csv" else str(json.loads(record)["file"])
            except (ValueError, KeyError, TypeError, csv.Error, IndexError):
                return
            end += len(record)
            yield name, end


def _split_csv_rows(handle: BinaryIO) -> Iterator[bytes]:
    """Rows of CSV as bytes: a line break inside quotes ends none."""
    record, quotes = b"", 0
    for line in handle:
        record, quotes = record + line, quotes + line.count(b'"')
        if quotes % 2 == 0:
            yield record
            record, quotes = b"", 0
    if record:
        yield record.rstrip(b"\n")  # it lacks its end


def _read_first_cell(record: bytes) -> str:
    text = record.decode("utf-8")
    return restore_cell(next(csv.reader(io.StringIO(text, newline="")))[0])
