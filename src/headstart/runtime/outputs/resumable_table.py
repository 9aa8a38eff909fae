"""A table of answers on disk that a killed run can go on with, to the same bytes as an undisturbed one.

Rows of CSV and JSON Lines are appended; those of Parquet lie in parts beside it until the end. While the table is
unfinished, a note beside it (`.NAME.unfinished`) holds what shapes its rows: model, form and options. Going on keeps
whole chunks of rows only, for the last digits of an answer may depend on how many are answered at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from headstart.core.errors import DataError, UsageError
from headstart.core.storage.files import format_printable, read_json, translate_disk_errors, write_json
from headstart.core.types import AnswerLayout, Prediction
from headstart.runtime.inputs.decoded_batches import Source
from headstart.runtime.outputs import answer_rows, parquet
from headstart.runtime.outputs.table_lock import TableLock


class Table(Protocol):
    """Rows that are being written."""

    def read_names(self) -> Iterator[str]:
        """Names of the pictures whose rows are there already, in their order."""
        return iter(())

    def write_rows(self, predictions: Sequence[Prediction]) -> bool:
        """Append rows; whether all so far outlast a kill."""

    def finish(self) -> None:
        """All rows are written."""
        return

    def close(self) -> None:
        """Let go; the table may be unfinished."""
        return


def open_table(path: Path, form: str, layout: AnswerLayout, made_by: Mapping[str, Any], *, mode: str) -> Table:
    """The table, ready for the rows that it lacks.

    Args:
        form: `csv`, `jsonl` or `parquet`.
        made_by: What shapes the rows, as plain JSON: only where it is the same is a table gone on with.
        mode: `new` refuses a file that is there, `overwrite` begins again, `resume` goes on.

    Raises:
        UsageError: A file is there.
        DataError: The table to go on with was made otherwise, or cannot be read.
        SetupError: The disk refuses, another process writes the table, or pyarrow is not installed.
    """
    note = parquet.note_path(path) if form == "parquet" else note_path(path)
    exists = path.is_file() or note.exists()
    if mode == "new" and exists:
        state, hint = "", "--overwrite replaces it"
        if note.exists():
            state, hint = ", unfinished", "--resume goes on with it, --overwrite begins again"
        raise UsageError(f"`{path}` is there already{state}", where="--out", hint=hint)
    with translate_disk_errors(path):
        path.parent.stat()  # a folder that is not there is not made
        TableLock(path, note).close()
        if mode == "resume" and note.exists():
            _require_same_settings(path, note, made_by)
        elif mode == "resume" and exists:
            return FinishedTable(path, form, layout)
        going_on = mode == "resume" and note.exists()
        if form == "parquet":
            return parquet.PartedTable(path, layout, made_by, going_on=going_on)
        return TextTable(path, form, layout, made_by, going_on=going_on)


def note_path(path: Path) -> Path:
    """Where it is noted that a table is unfinished."""
    return path.with_name(f".{path.name}.unfinished")


def _require_same_settings(path: Path, note: Path, made_by: Mapping[str, Any]) -> None:
    try:
        noted = read_json(note)
    except (OSError, ValueError):
        noted = None
    if not isinstance(noted, dict):
        raise DataError(f"what is noted of `{path}` cannot be read", where=str(note), hint="--overwrite begins again")
    different = [name for name in made_by if noted.get(name) != made_by[name]]
    if different:
        differences = ", ".join(f"{name} `{noted.get(name)}` instead of `{made_by[name]}`" for name in different)
        problem, hint = f"`{path}` was begun otherwise: {differences}", "the same command goes on; or --overwrite"
        raise DataError(problem, where="--resume", hint=hint)


def skip_written_rows(sources: Iterator[Source], table: Table) -> int:
    """Pass over the pictures whose rows are there already; their number. Raises `DataError`: it is another input."""
    count, hint = 0, "--overwrite begins again"
    for name in table.read_names():
        source = next(sources, None)
        if source is None or name not in (str(source), answer_rows.escape_name(str(source))):
            picture = "no picture any more" if source is None else f"`{format_printable(str(source))}`"
            problem = f"row {count + 1:,} is of `{format_printable(name)}`, and the input has {picture} there"
            raise DataError(problem, where="--resume", hint=hint)
        count += 1
    if isinstance(table, FinishedTable) and (more := next(sources, None)) is not None:
        problem = f"is finished with {count:,} rows, and the input has more: `{format_printable(str(more))}`"
        raise DataError(f"`{table.path}` {problem}", where="--resume", hint=hint)
    return count


class FinishedTable(Table):
    """A table that an earlier call has finished: its names are compared. Raises `DataError`: it is no such table."""

    def __init__(self, path: Path, form: str, layout: AnswerLayout) -> None:
        self.path, self._form, self._layout = path, form, layout
        if form == "csv":
            header = answer_rows.CsvRows(layout).format_header()
            with path.open("rb") as handle:
                if handle.read(len(header)) != header:
                    raise answer_rows.wrong_columns_error(path)

    def read_names(self) -> Iterator[str]:
        """Of all rows."""
        if self._form == "parquet":
            return parquet.read_names(self.path, self._layout)
        rows = answer_rows.find_whole_rows(self.path, self._form)
        return (name for name, _ in itertools.islice(rows, int(self._form == "csv"), None))

    def write_rows(self, predictions: Sequence[Prediction]) -> bool:
        """Never called: nothing is left to answer."""
        raise AssertionError("the table is finished")


class TextTable(Table):
    """CSV or JSON Lines, appended to."""

    def __init__(
        self, path: Path, form: str, layout: AnswerLayout, made_by: Mapping[str, Any], *, going_on: bool
    ) -> None:
        self.path, self._form = path, form
        self._rows, self._batch = answer_rows.ROW_FORMATS[form](layout), int(made_by["batch"])
        self._kept_rows, end = self._find_whole_chunks() if going_on and path.is_file() else (0, 0)
        if not going_on and (not path.exists() or path.is_file()):
            path.unlink(missing_ok=True)  # before the note: old rows are never taken for ours
            write_json(note_path(path), dict(made_by))
        self._out = path.open("r+b" if end else "wb")
        if end:
            self._out.truncate(end)
            self._out.seek(end)
        else:
            self._out.write(self._rows.format_header())
        self._lock = TableLock(path, note_path(path))

    def _find_whole_chunks(self) -> tuple[int, int]:
        """Rows to keep, and where they end in the file; whole chunks only."""
        rows, end_of_rows = 0, 0
        whole_rows = answer_rows.find_whole_rows(self.path, self._form)
        for number, (_, end) in enumerate(whole_rows, 0 if self._form == "csv" else 1):
            if number % self._batch == 0:
                rows, end_of_rows = number, end
        return rows, end_of_rows

    def read_names(self) -> Iterator[str]:
        """Of the rows that are kept."""
        head, rows = int(self._form == "csv"), answer_rows.find_whole_rows(self.path, self._form)
        return (name for name, _ in itertools.islice(rows, head, head + self._kept_rows))

    def write_rows(self, predictions: Sequence[Prediction]) -> bool:
        """Append rows; they are in the file when this returns."""
        with translate_disk_errors(self.path):
            self._out.write(self._rows.format_rows(predictions))
            self._out.flush()
        return True

    def finish(self) -> None:
        """Take the note away."""
        self.close()
        note_path(self.path).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self._lock.close()
        with translate_disk_errors(self.path):
            self._out.close()


class StreamTable(Table):
    """CSV or JSON Lines on a stream, such as standard output."""

    def __init__(self, out: BinaryIO, form: str, layout: AnswerLayout) -> None:
        self._out, self._rows = out, answer_rows.ROW_FORMATS[form](layout)
        out.write(self._rows.format_header())

    def write_rows(self, predictions: Sequence[Prediction]) -> bool:
        """Write rows; they are out when this returns."""
        self._out.write(self._rows.format_rows(predictions))
        self._out.flush()
        return True

    def finish(self) -> None:
        """The head alone may still wait."""
        self._out.flush()
