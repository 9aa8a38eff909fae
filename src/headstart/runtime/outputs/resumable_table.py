"""A table of answers on disk that a killed run can go on with, to the same bytes as an undisturbed one.

Rows of CSV and JSON Lines are appended to the file itself; Parquet cannot be appended to, so its rows lie in parts
beside it until the end. While the table is unfinished, a note beside it (`.NAME.unfinished`) holds what shapes its
rows: model, form and options. Going on keeps whole chunks of rows only, for the last digits of an answer may depend on
how many are given at once, and compares the names of the rows with the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from headstart.core.errors import DataError, UsageError
from headstart.core.storage.files import format_printable, read_json, translate_disk_errors, write_json
from headstart.core.types import Prediction
from headstart.runtime.inputs.decoded_batches import Source
from headstart.runtime.outputs import answer_rows, parquet
from headstart.runtime.outputs.table_lock import TableLock


class Table(Protocol):
    """Rows that are being written."""

    def read_names(self) -> Iterator[str]:
        """Names of the pictures whose rows are there already, in their order."""

    def write_rows(self, predictions: Sequence[Prediction]) -> bool:
        """Append rows; whether all so far outlast a kill."""

    def finish(self) -> None:
        """All rows are there."""

    def close(self) -> None:
        """Let go; the table may be unfinished."""


def open_table(path: Path, form: str, class_names: Sequence[str], made_by: Mapping[str, Any], *, mode: str) -> Table:
    """The table, ready for the rows that it lacks.

    Args:
        form: `csv`, `jsonl` or `parquet`.
        made_by: What shapes the rows, as plain JSON: a table is gone on with only where it is the same. `batch` says
            how many are answered at once.
        mode: `new` refuses a file that is there, `overwrite` begins again, `resume` goes on.

    Raises:
        UsageError: A file is there.
        DataError: The table to go on with was made otherwise, or cannot be read.
        SetupError: The disk refuses, another process writes the table, or pyarrow is not installed.
    """
    if form == "parquet":
        note = parquet.note_path(path)
    else:
        note = note_path(path)
    exists = path.is_file() or note.exists()
    if mode == "new" and exists:
        raise UsageError(
            f"`{path}` is there already" + (", unfinished" if note.exists() else ""),
            where="--out",
            hint="--resume goes on with it, --overwrite begins again" if note.exists() else "--overwrite replaces it",
        )
    with translate_disk_errors(path):
        path.parent.stat()  # a folder that is not there is not made
        TableLock(path, note).close()
        if mode == "resume" and note.exists():
            _require_same_settings(path, note, made_by)
        elif mode == "resume" and exists:
            return FinishedTable(path, form, class_names)
        if form == "parquet":
            return parquet.PartedTable(path, class_names, made_by, going_on=mode == "resume" and note.exists())
        return TextTable(path, form, class_names, made_by, going_on=mode == "resume" and note.exists())


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
        raise DataError(
            f"`{path}` was begun otherwise: {differences}",
            where="--resume",
            hint="the same command goes on; or --overwrite",
        )


def skip_written_rows(sources: Iterator[Source], table: Table) -> int:
    """Pass over the pictures whose rows are there already.

    Returns:
        How many.

    Raises:
        DataError: The input is another one.
    """
    count = 0
    for name in table.read_names():
        source = next(sources, None)
        if source is None or name not in (str(source), answer_rows.escape_name(str(source))):
            picture = "no picture any more" if source is None else f"`{format_printable(str(source))}`"
            raise DataError(
                f"row {count + 1:,} is of `{format_printable(name)}`, and the input has {picture} there",
                where="--resume",
                hint="--overwrite begins again",
            )
        count += 1
    if isinstance(table, FinishedTable) and (more := next(sources, None)) is not None:
        raise DataError(
            f"`{table.path}` is finished with {count:,} rows, and the input has more: `{format_printable(str(more))}`",
            where="--resume",
            hint="--overwrite begins again",
        )
    return count


class FinishedTable:
    """A table that an earlier call has finished: its names are compared, and nothing is written.

    Raises:
        DataError: It is no such table.
    """

    def __init__(self, path: Path, form: str, class_names: Sequence[str]) -> None:
        self.path, self._form, self._class_names = path, form, class_names
        if form == "csv":
            header = answer_rows.CsvRows(class_names).format_header()
            with path.open("rb") as handle:
                if handle.read(len(header)) != header:
                    raise _wrong_columns_error(path)

    def read_names(self) -> Iterator[str]:
        """Of all rows."""
        if self._form == "parquet":
            return parquet.read_names(self.path, self._class_names)
        return (
            name
            for at, (name, _) in enumerate(answer_rows.find_whole_rows(self.path, self._form))
            if at or self._form != "csv"
        )

    def write_rows(self, predictions: Sequence[Prediction]) -> bool:
        """Never called: nothing is left to answer."""
        raise AssertionError("the table is finished")

    def finish(self) -> None:
        """It is."""

    def close(self) -> None:
        """Nothing is open."""


def _wrong_columns_error(path: Path) -> DataError:
    return DataError(
        f"`{path}` has other columns than this model's answers", where="--resume", hint="--overwrite replaces it"
    )


class TextTable:
    """CSV or JSON Lines, appended to."""

    def __init__(
        self, path: Path, form: str, class_names: Sequence[str], made_by: Mapping[str, Any], *, going_on: bool
    ) -> None:
        self.path, self._form = path, form
        self._rows, self._batch = answer_rows.ROW_FORMATS[form](class_names), int(made_by["batch"])
        self._kept_rows, end = self._find_whole_chunks() if going_on and path.is_file() else (0, 0)
        regular = not path.exists() or path.is_file()
        if not going_on and regular:
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
        head = 1 if self._form == "csv" else 0
        for number, (_, end) in enumerate(answer_rows.find_whole_rows(self.path, self._form), 1 - head):
            if number % self._batch == 0:
                rows, end_of_rows = number, end
        return rows, end_of_rows

    def read_names(self) -> Iterator[str]:
        """Of the rows that are kept."""
        head = 1 if self._form == "csv" else 0
        for at, (name, _) in enumerate(answer_rows.find_whole_rows(self.path, self._form)):
            if at >= self._kept_rows + head:
                return
            if at >= head:
                yield name

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


class StreamTable:
    """CSV or JSON Lines on a stream, such as standard output."""

    def __init__(self, out: BinaryIO, form: str, class_names: Sequence[str]) -> None:
        self._out, self._rows = out, answer_rows.ROW_FORMATS[form](class_names)
        out.write(self._rows.format_header())

    def read_names(self) -> Iterator[str]:
        """None."""
        return iter(())

    def write_rows(self, predictions: Sequence[Prediction]) -> bool:
        """Write rows; they are out when this returns."""
        self._out.write(self._rows.format_rows(predictions))
        self._out.flush()
        return True

    def finish(self) -> None:
        """The head alone may still wait."""
        self._out.flush()

    def close(self) -> None:
        """The stream is another's."""
