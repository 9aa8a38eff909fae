"""Tables of pictures: one path a row, from CSV, TSV, JSON Lines or Parquet, read row by row.

Relative paths start from the table's own folder, unless told otherwise. A row without a path, or that is malformed,
keeps its place with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from headstart.core.errors import DataError, format_nearest
from headstart.core.storage import csv_tables, tables
from headstart.core.storage.files import format_printable
from headstart.core.storage.locations.names import is_remote
from headstart.images.file_formats import PictureError
from headstart.runtime.inputs.decoded_batches import Content

COLUMNS = ("file", "path", "filename", "image", "uri")  # looked for in this order where none is named


def find_column(path: Path, requested: str | None) -> str:
    """The column of paths: the one asked for, or the first of `COLUMNS` that is there.

    Raises:
        DataError: There is no such column, or the table cannot be read.
        SetupError: It is Parquet, and pyarrow is not installed.
    """
    columns, candidates = tables.read_columns(path), (requested,) if requested else COLUMNS
    matches = [name for name in candidates if name in columns]
    if matches:
        return matches[0]
    column_list = ", ".join(f"`{format_printable(name)}`" for name in columns[:20]) or "none"
    missing = ", ".join(f"`{name}`" for name in candidates)
    problem = f"the table `{path}` has no column {missing}; its columns: {column_list}"
    hint = format_nearest(requested, columns) if requested else "name the column of paths with --column"
    raise DataError(problem, where=str(path), hint=hint or None)


def read_rows(path: Path, column: str, base: str) -> Iterator[Content]:
    """The pictures of a table, one a row, named as there; relative paths start at `base`, a folder or an address."""
    for number, row in tables.read_rows(path, [column]):
        if isinstance(row, tables.MalformedRow):
            yield Content(f"{path}:{number}", PictureError("unreadable", row))
        elif isinstance(value := row[0], str) and is_remote(value):
            yield Content(value, value)
        elif not isinstance(value, str) or not value:
            yield Content(f"{path}:{number}", PictureError("unreadable", f"the column `{column}` holds no path here"))
        else:
            restored = csv_tables.restore_cell(value)  # a row of `predict --out` may come back
            name = value if restored == value or os.path.lexists(f"{base}/{value}") else restored
            yield Content(name, f"{base}/{name}" if is_remote(base) else Path(base, name))
