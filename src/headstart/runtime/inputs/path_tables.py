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
from headstart.core.errors import DataError, SetupError, format_nearest
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


def column_of(path: Path, asked: str | None) -> str:
    """The column of paths: the one asked for, or the first of `COLUMNS` that is there.

    Raises:
        DataError: There is no such column, or the table cannot be read.
        SetupError: It is Parquet, and pyarrow is not installed.
    """
    known = _columns(path)
    found = [name for name in ((asked,) if asked else COLUMNS) if name in known]
    if found:
        return found[0]
    there = ", ".join(f"`{format_printable(name)}`" for name in known[:20]) or "none"
    what = f"has no column `{asked}`" if asked else f"has no column {', '.join(f'`{name}`' for name in COLUMNS)}"
    hint = format_nearest(asked, known) if asked else "name the column of paths with --column"
    raise DataError(f"the table `{path}` {what}; its columns: {there}", where=str(path), hint=hint or None)


def rows(path: Path, column: str, root: Path | None = None) -> Iterator[Content]:
    """The pictures of a table, one a row, named as the table names them.

    Args:
        path: The table.
        column: Of paths.
        root: Where relative paths start; the table's folder when None.
    """
    base = path.parent if root is None else root
    for number, value in _values(path, column):
        if isinstance(value, PictureError):
            yield Content(f"{path}:{number}", value)
        elif not isinstance(value, str) or not value:
            yield Content(f"{path}:{number}", PictureError("unreadable", f"the column `{column}` holds no path here"))
        else:
            yield Content(value, base / value)


# ---------------------------------------------------------------- the three kinds


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of reading a table as facts."""
    try:
        yield
    except OSError as err:
        raise DataError(f"the table `{path}` cannot be read: {err.strerror or err}", where=str(path)) from err
    except (ValueError, csv.Error) as err:
        raise DataError(f"the table `{path}` cannot be read: {err}", where=str(path)) from err


def _columns(path: Path) -> list[str]:
    with _told(path):
        if path.suffix.lower() == _PARQUET:
            with _parquet(path) as file:
                return list(file.schema_arrow.names)
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            first = next((row for _, row in _objects(path) if isinstance(row, dict)), {})
            return [str(name) for name in first]
        with _opened(path) as handle:
            return next(_reader(handle, path), [])


def _values(path: Path, column: str) -> Iterator[tuple[int, Any]]:
    """Line or row numbers with what the column holds there; a `PictureError` where the row is malformed."""
    with _told(path):
        if path.suffix.lower() == _PARQUET:
            with _parquet(path) as file:
                parts = file.iter_batches(batch_size=1024, columns=[column])
                yield from enumerate((value for part in parts for value in part.column(0).to_pylist()), 1)
        elif path.suffix.lower() in (".jsonl", ".ndjson"):
            for number, row in _objects(path):
                yield number, row if isinstance(row, PictureError) else row.get(column)
        else:
            yield from _cells(path, column)


def _cells(path: Path, column: str) -> Iterator[tuple[int, Any]]:
    with _opened(path) as handle:
        reader = _reader(handle, path)
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


def _objects(path: Path) -> Iterator[tuple[int, Any]]:
    with _opened(path) as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            yield number, row if isinstance(row, dict) else PictureError("unreadable", "the line is no JSON object")


def _opened(path: Path) -> Any:
    """Text whose undecodable bytes survive, for they may be a file's name."""
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _reader(handle: Any, path: Path) -> Any:
    csv.field_size_limit(max(csv.field_size_limit(), _CELL))
    return csv.reader(handle, delimiter=_delimiter(path))


def _delimiter(path: Path) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    with _opened(path) as handle:
        head = handle.readline(100_000)
    return max(",;\t", key=head.count)


def _parquet(path: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as err:
        raise SetupError(
            "Parquet needs pyarrow, which is not installed",
            where=str(path),
            hint=extras.format_install_command("parquet"),
        ) from err
    return parquet.ParquetFile(path)
