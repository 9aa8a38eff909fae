"""Answers as Parquet: parts while the work goes on, one file at the end, with a row group for each part.

A part is written whole or not at all, so that a killed run loses at most one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.core import extras
from headstart.core.errors import DataError, SetupError
from headstart.core.storage.files import translate_disk_errors, write_json
from headstart.core.types import AnswerLayout, Prediction
from headstart.runtime.outputs import answer_rows
from headstart.runtime.outputs.table_lock import TableLock

PART = 1024  # rows; a multiple of every batch


def note_path(path: Path) -> Path:
    """Where it is noted that a table is unfinished, in the folder of its parts."""
    return path.with_name(f".{path.name}.parts") / "note.json"


def load_pyarrow() -> Any:
    """The modules `pyarrow` and `pyarrow.parquet`. Raises `SetupError`: it is not installed."""
    extras.require_extra("parquet", "a table in Parquet")
    import pyarrow
    from pyarrow import parquet

    return pyarrow, parquet


def table_schema(layout: AnswerLayout) -> Any:
    """Names and types of the columns."""
    arrow, _ = load_pyarrow()
    kinds = dict.fromkeys(("confidence", "novelty", "low", "high"), arrow.float64())
    kinds |= dict.fromkeys(("plausible", "reasons"), arrow.list_(arrow.string()))
    kinds |= dict.fromkeys(["answer"] if layout.is_number else [f"p_{name}" for name in layout.names], arrow.float64())
    names = answer_rows.column_names(layout)
    return arrow.schema([(answer_rows.escape_name(name), kinds.get(name, arrow.string())) for name in names])


def read_names(path: Path, layout: AnswerLayout) -> Iterator[str]:
    """Names of the pictures of a finished table. Raises `DataError`: it is no such table."""
    _, parquet = load_pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            if not file.schema_arrow.equals(table_schema(layout)):
                raise answer_rows.wrong_columns_error(path)
            for part in file.iter_batches(batch_size=PART, columns=["file"]):
                yield from part.column(0).to_pylist()
    except ValueError as err:
        raise DataError(f"`{path}` cannot be read: {err}", where="--resume", hint="--overwrite replaces it") from err


def _escape_cell(cell: Any) -> Any:
    if isinstance(cell, list):
        return [answer_rows.escape_name(text) for text in cell]
    return answer_rows.escape_name(cell) if isinstance(cell, str) else cell


class PartedTable:
    """Parquet in parts. Raises `SetupError`: pyarrow is not installed, or the disk refuses."""

    def __init__(self, path: Path, layout: AnswerLayout, made_by: Mapping[str, Any], *, going_on: bool) -> None:
        self._arrow, self._parquet = load_pyarrow()
        self.path, self._layout, self._schema = path, layout, table_schema(layout)
        self._folder = note_path(path).parent
        if path.exists() and not path.is_file():
            raise SetupError(f"cannot write `{path}`: it is no file", where="--out")
        if not going_on:
            path.unlink(missing_ok=True)
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir()
            write_json(note_path(path), dict(made_by))
        self._lock = TableLock(path, note_path(path))
        self._parts = len(self._whole_parts())
        self._waiting: list[Prediction] = []

    def _whole_parts(self) -> list[Path]:
        parts = sorted(self._folder.glob("part-*.parquet"))
        return [path for at, path in enumerate(parts) if path == self._part_path(at)]

    def _part_path(self, number: int) -> Path:
        return self._folder / f"part-{number:08d}.parquet"

    def read_names(self) -> Iterator[str]:
        """Of the rows of whole parts."""
        for path in self._whole_parts():
            yield from read_names(path, self._layout)

    def write_rows(self, predictions: Sequence[Prediction]) -> bool:
        """Keep rows, and write them where they fill a part; whether none waits."""
        self._waiting += predictions
        while len(self._waiting) >= PART:
            self._write_part(self._waiting[:PART])
            del self._waiting[:PART]
        return not self._waiting

    def _write_part(self, predictions: Sequence[Prediction]) -> None:
        cells = [
            [_escape_cell(cell) for cell in answer_rows.row_cells(prediction, self._layout)]
            for prediction in predictions
        ]
        columns = zip(*cells, strict=True)
        arrays = [
            self._arrow.array(column, type=field.type) for column, field in zip(columns, self._schema, strict=True)
        ]
        table = self._arrow.Table.from_arrays(arrays, schema=self._schema)
        draft = self._folder / "draft"
        with translate_disk_errors(self.path):
            self._parquet.write_table(table, draft)
            os.replace(draft, self._part_path(self._parts))  # noqa: PTH105
        self._parts += 1

    def finish(self) -> None:
        """Join the parts to one file, and take them away."""
        if self._waiting:
            self._write_part(self._waiting)
            self._waiting = []
        draft = self._folder / "whole"
        with translate_disk_errors(self.path):
            with self._parquet.ParquetWriter(draft, self._schema) as out:
                for path in self._whole_parts():
                    out.write_table(self._parquet.read_table(path, schema=self._schema))
            os.replace(draft, self.path)  # noqa: PTH105
            self._lock.close()
            note_path(self.path).unlink()
            shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Whole parts are on disk already."""
        self._lock.close()
