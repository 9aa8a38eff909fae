"""Tables of pictures: one path a row, from CSV, TSV, JSON Lines or Parquet, read row by row.

Relative paths start from the table's own folder, unless told otherwise. A row without a path, or that is malformed,
keeps its place with the reason.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstart.core import extras
from headstart.core.errors import DataError, format_nearest
from headstart.core.storage import csv_tables
from headstart.core.storage.files import format_printable
from headstart.images.file_formats import PictureError
from headstart.runtime.inputs.decoded_batches import Content

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
COLUMNS = ("file", "path", "filename", "image", "uri")  # looked for in this order where none is named
_PARQUET = ".parquet"
_CELL = 10_000_000  # characters of a cell


def is_table(path: Path) -> bool:
    """Whether a name is that of a table that is read."""
    return path.suffix.lower() in SUFFIXES


def find_column(path: Path, requested: str | None) -> str:
    """The column of paths: the one asked for, or the first of `COLUMNS` that is there.

    Raises:
        DataError: There is no such column, or the table cannot be read.
        SetupError: It is Parquet, and pyarrow is not installed.
    """
    columns, candidates = _read_columns(path), (requested,) if requested else COLUMNS
    matches = [name for name in candidates if name in columns]
    if matches:
        return matches[0]
    column_list = ", ".join(f"`{format_printable(name)}`" for name in columns[:20]) or "none"
    missing = ", ".join(f"`{name}`" for name in candidates)
    problem = f"the table `{path}` has no column {missing}; its columns: {column_list}"
    hint = format_nearest(requested, columns) if requested else "name the column of paths with --column"
    raise DataError(problem, where=str(path), hint=hint or None)


def read_rows(path: Path, column: str, root: Path | None = None) -> Iterator[Content]:
    """The pictures of a table, one a row, named as there; relative paths start at `root`, or the table's folder."""
    base = path.parent if root is None else root
    for number, value in _read_values(path, column):
        if isinstance(value, PictureError):
            yield Content(f"{path}:{number}", value)
        elif not isinstance(value, str) or not value:
            yield Content(f"{path}:{number}", PictureError("unreadable", f"the column `{column}` holds no path here"))
        else:
            restored = csv_tables.restore_cell(value)  # a row of `predict --out` may come back
            name = value if restored == value or (base / value).exists() else restored
            yield Content(name, base / name)


@contextmanager
def _reading_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, csv.Error) as err:
        why = getattr(err, "strerror", None) or err
        raise DataError(f"the table `{path}` cannot be read: {why}", where=str(path)) from err


def _read_columns(path: Path) -> list[str]:
    with _reading_errors(path):
        if path.suffix.lower() == _PARQUET:
            with _open_parquet(path) as file:
                return list(file.schema_arrow.names)
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            first = next((row for _, row in _read_json_lines(path) if isinstance(row, dict)), {})
            return [str(name) for name in first]
        with _open_text(path) as handle:
            return next(_csv_reader(handle, path), [])


def _read_values(path: Path, column: str) -> Iterator[tuple[int, Any]]:
    """Line or row numbers with what the column holds there; a `PictureError` where the row is malformed."""
    with _reading_errors(path):
        if path.suffix.lower() == _PARQUET:
            with _open_parquet(path) as file:
                parts = file.iter_batches(batch_size=1024, columns=[column])
                yield from enumerate((value for part in parts for value in part.column(0).to_pylist()), 1)
        elif path.suffix.lower() in (".jsonl", ".ndjson"):
            for number, row in _read_json_lines(path):
                yield number, row if isinstance(row, PictureError) else row.get(column)
        else:
            yield from _read_csv_cells(path, column)


def _read_csv_cells(path: Path, column: str) -> Iterator[tuple[int, Any]]:
    with _open_text(path) as handle:
        reader = _csv_reader(handle, path)
        head: list[str] = next(reader, [])
        place = head.index(column)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as err:
                yield reader.line_num, PictureError("unreadable", f"the row is malformed: {err}")
                continue
            if row is None:
                return
            if row:  # an empty line is no row
                yield reader.line_num, row[place] if place < len(row) else None


def _read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    with _open_text(path) as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            yield number, row if isinstance(row, dict) else PictureError("unreadable", "the line is no JSON object")


def _open_text(path: Path) -> Any:
    """Text whose undecodable bytes survive, for they may be a file's name."""
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


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
