"""Tables row by row: CSV, TSV, JSON Lines and Parquet, of them the columns asked for, in memory that does not grow.

A row that is malformed keeps its place with the reason. Bytes of a text that are not UTF-8 survive, for they may be a
file's name; UTF-16 with its mark, as spreadsheets write it, is read too.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from headstart.core import extras
from headstart.core.errors import DataError
from headstart.core.storage.files import format_printable

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_CELL = 10_000_000  # characters of a cell
_HEAD = 100  # lines of JSON whose keys are the columns
_LINES = 200  # of JSON that are parsed together
_BATCH = 8192  # rows of Parquet at a time


class MalformedRow(str):
    """Why a row cannot be read."""

    __slots__ = ()


def is_table(path: Path) -> bool:
    """Whether a name is that of a table that is read."""
    return path.suffix.lower() in SUFFIXES


def read_columns(path: Path) -> list[str]:
    """Names of the columns.

    Raises:
        DataError: The table cannot be read.
        SetupError: It is Parquet, and pyarrow is not installed.
    """
    with _reading_errors(path):
        if _is_parquet(path):
            with _open_parquet(path) as file:
                return list(file.schema_arrow.names)
        if _is_json(path):
            rows = (row for _, row in islice(_read_json_lines(path), _HEAD) if isinstance(row, dict))
            return list(dict.fromkeys(str(name) for row in rows for name in row))
        with _open_text(path) as handle:
            return next(_csv_reader(handle, path), [])


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Sequence[Any] | MalformedRow]]:
    """Line or row numbers with the values of the columns, None where a row is short; raises as `read_columns`."""
    with _reading_errors(path):
        if _is_parquet(path):
            with _open_parquet(path) as file:
                number = 0
                for part in file.iter_batches(batch_size=_BATCH, columns=list(dict.fromkeys(columns))):
                    values = [part.column(part.schema.get_field_index(name)).to_pylist() for name in columns]
                    for number, row in enumerate(zip(*values, strict=True), number + 1):  # noqa: B020
                        yield number, row
        elif _is_json(path):
            for number, content in _read_json_lines(path):
                yield number, content if isinstance(content, MalformedRow) else list(map(content.get, columns))
        else:
            yield from _read_csv_rows(path, columns)


def has_binary_column(path: Path) -> bool:
    """Whether a column is of bytes, or of records with a field `bytes`, as Hugging Face writes pictures: Parquet alone
    can have such. Raises as `read_columns`."""
    if not _is_parquet(path):
        return False
    with _reading_errors(path), _open_parquet(path) as file:
        types = [str(field.type) for field in file.schema_arrow]
    return any("binary" in kind and not kind.startswith("list") for kind in types)


@contextmanager
def _reading_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, csv.Error) as err:
        why = getattr(err, "strerror", None) or err
        raise DataError(f"the table `{format_printable(str(path))}` cannot be read: {why}", where=str(path)) from err


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _is_json(path: Path) -> bool:
    return path.suffix.lower() in (".jsonl", ".ndjson")


def _read_csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Sequence[Any] | MalformedRow]]:
    with _open_text(path) as handle:
        reader = _csv_reader(handle, path)
        header: list[str] = next(reader, [])
        places = [header.index(name) for name in columns]
        last = max(places, default=-1)
        while True:
            try:
                for row in reader:
                    if len(row) > last:
                        yield reader.line_num, [row[place] for place in places]
                    elif row:  # an empty line is no row
                        yield reader.line_num, [row[place] if place < len(row) else None for place in places]
                return
            except csv.Error as err:
                yield reader.line_num, MalformedRow(f"the row is malformed: {err}")


def _read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    with _open_text(path) as handle:
        lines = ((number, line) for number, line in enumerate(handle, 1) if not line.isspace())
        while block := list(islice(lines, _LINES)):
            rows = _parse_json(f"[{','.join(line for _, line in block)}]")  # one call for all is twice as fast
            if not (isinstance(rows, list) and len(rows) == len(block) and set(map(type, rows)) == {dict}):
                rows = [_parse_json(line) for _, line in block]
            for (number, _), row in zip(block, rows, strict=True):
                yield number, row if isinstance(row, dict) else MalformedRow("the line is no JSON object")


def _parse_json(text: str) -> Any:
    """What a text says; None where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _open_text(path: Path) -> Any:
    with path.open("rb") as raw:
        is_utf_16 = raw.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if is_utf_16 else "utf-8-sig"
    return path.open(encoding=encoding, errors="surrogateescape", newline="")


def _csv_reader(handle: Any, path: Path) -> Any:
    csv.field_size_limit(max(csv.field_size_limit(), _CELL))
    return csv.reader(handle, delimiter=_guess_delimiter(path))


def _guess_delimiter(path: Path) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    with _open_text(path) as handle:
        head = handle.readline(100_000)
    return max(",;\t", key=head.count)


def _open_parquet(path: Path) -> Any:
    extras.require_extra("parquet", f"the table `{path}`")
    from pyarrow import parquet

    return parquet.ParquetFile(path)
