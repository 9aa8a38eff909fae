"""A table of answers on disk that a killed run can go on with, to the same bytes as an undisturbed one.

Rows of CSV and JSON Lines are appended to the file itself; Parquet cannot be appended to, so its rows lie in parts
beside it until the end. While the table is unfinished, a note beside it (`.NAME.unfinished`) holds what shapes its
rows: model, form and options. Going on keeps whole chunks of rows only, for the last digits of an answer may depend on
how many are given at once, and compares the names of the rows with the input.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from headstart.core.errors import DataError, UsageError
from headstart.core.storage.files import format_printable, read_json, translate_disk_errors, write_json
from headstart.core.types import Prediction
from headstart.runtime.inputs.decoded_batches import Source
from headstart.runtime.outputs import answer_rows, parquet
from headstart.runtime.outputs.table_lock import TableLock

MODES = ("new", "overwrite", "resume")


class Table(Protocol):
    """Rows that are being written."""

    def names(self) -> Iterator[str]:
        """Names of the pictures whose rows are there already, in their order."""

    def write(self, found: Sequence[Prediction]) -> bool:
        """Append rows; whether all so far outlast a kill."""

    def finish(self) -> None:
        """All rows are there."""

    def close(self) -> None:
        """Let go; the table may be unfinished."""


def opened(path: Path, form: str, class_names: Sequence[str], made_by: Mapping[str, Any], *, mode: str) -> Table:
    """The table, ready for the rows that it lacks.

    Args:
        path: Where it lies.
        form: `csv`, `jsonl` or `parquet`.
        class_names: C names.
        made_by: What shapes the rows, as plain JSON: a table is gone on with only where it is the same. `batch` says
            how many are answered at once.
        mode: `new` refuses a file that is there, `overwrite` begins again, `resume` goes on.

    Raises:
        UsageError: A file is there.
        DataError: The table to go on with was made otherwise, or cannot be read.
        SetupError: The disk refuses, another process writes the table, or pyarrow is not installed.
    """
    if form == "parquet":
        begun = parquet.note_of(path)
    else:
        begun = note_of(path)
    ours = path.is_file() or begun.exists()
    if mode == "new" and ours:
        raise UsageError(
            f"`{path}` is there already" + (", unfinished" if begun.exists() else ""),
            where="--out",
            hint="--resume goes on with it, --overwrite begins again" if begun.exists() else "--overwrite replaces it",
        )
    with translate_disk_errors(path):
        path.parent.stat()  # a folder that is not there is not made
        TableLock(path, begun).close()
        if mode == "resume" and begun.exists():
            _same(path, begun, made_by)
        elif mode == "resume" and ours:
            return Finished(path, form, class_names)
        if form == "parquet":
            return parquet.PartedTable(path, class_names, made_by, going_on=mode == "resume" and begun.exists())
        return TextTable(path, form, class_names, made_by, going_on=mode == "resume" and begun.exists())


def note_of(path: Path) -> Path:
    """Where it is noted that a table is unfinished."""
    return path.with_name(f".{path.name}.unfinished")


def _same(path: Path, note: Path, made_by: Mapping[str, Any]) -> None:
    try:
        before = read_json(note)
    except (OSError, ValueError):
        before = None
    if not isinstance(before, dict):
        raise DataError(f"what is noted of `{path}` cannot be read", where=str(note), hint="--overwrite begins again")
    other = [name for name in made_by if before.get(name) != made_by[name]]
    if other:
        told = ", ".join(f"{name} `{before.get(name)}` instead of `{made_by[name]}`" for name in other)
        raise DataError(
            f"`{path}` was begun otherwise: {told}", where="--resume", hint="the same command goes on; or --overwrite"
        )


def skipped(sources: Iterator[Source], table: Table) -> int:
    """Pass over the pictures whose rows are there already.

    Returns:
        How many.

    Raises:
        DataError: The input is another one.
    """
    count = 0
    for name in table.names():
        source = next(sources, None)
        if source is None or name not in (str(source), answer_rows.shown(str(source))):
            there = "no picture any more" if source is None else f"`{format_printable(str(source))}`"
            raise DataError(
                f"row {count + 1:,} is of `{format_printable(name)}`, and the input has {there} there",
                where="--resume",
                hint="--overwrite begins again",
            )
        count += 1
    if isinstance(table, Finished) and (more := next(sources, None)) is not None:
        raise DataError(
            f"`{table.path}` is finished with {count:,} rows, and the input has more: `{format_printable(str(more))}`",
            where="--resume",
            hint="--overwrite begins again",
        )
    return count


class Finished:
    """A table that an earlier call has finished: its names are compared, and nothing is written.

    Raises:
        DataError: It is no such table.
    """

    def __init__(self, path: Path, form: str, class_names: Sequence[str]) -> None:
        self.path, self._form, self._names = path, form, class_names
        if form == "csv":
            wanted = answer_rows.CsvRows(class_names).head()
            with path.open("rb") as handle:
                if handle.read(len(wanted)) != wanted:
                    raise _foreign(path)

    def names(self) -> Iterator[str]:
        """Of all rows."""
        if self._form == "parquet":
            return parquet.names(self.path, self._names)
        return (
            name
            for at, (name, _) in enumerate(answer_rows.whole_rows(self.path, self._form))
            if at or self._form != "csv"
        )

    def write(self, found: Sequence[Prediction]) -> bool:
        """Never called: nothing is left to answer."""
        raise AssertionError("the table is finished")

    def finish(self) -> None:
        """It is."""

    def close(self) -> None:
        """Nothing is open."""


def _foreign(path: Path) -> DataError:
    return DataError(
        f"`{path}` has other columns than this model's answers", where="--resume", hint="--overwrite replaces it"
    )


class TextTable:
    """CSV or JSON Lines, appended to."""

    def __init__(
        self, path: Path, form: str, class_names: Sequence[str], made_by: Mapping[str, Any], *, going_on: bool
    ) -> None:
        self.path, self._form = path, form
        self._kind, self._batch = answer_rows.KINDS[form](class_names), int(made_by["batch"])
        self._kept, end = self._whole() if going_on and path.is_file() else (0, 0)
        regular = not path.exists() or path.is_file()
        if not going_on and regular:
            path.unlink(missing_ok=True)  # before the note: old rows are never taken for ours
            write_json(note_of(path), dict(made_by))
        self._out = path.open("r+b" if end else "wb")
        if end:
            self._out.truncate(end)
            self._out.seek(end)
        else:
            self._out.write(self._kind.head())
        self._held = TableLock(path, note_of(path))

    def _whole(self) -> tuple[int, int]:
        """Rows to keep, and where they end in the file; whole chunks only."""
        kept, at = 0, 0
        head = 1 if self._form == "csv" else 0
        for number, (_, end) in enumerate(answer_rows.whole_rows(self.path, self._form), 1 - head):
            if number % self._batch == 0:
                kept, at = number, end
        return kept, at

    def names(self) -> Iterator[str]:
        """Of the rows that are kept."""
        head = 1 if self._form == "csv" else 0
        for at, (name, _) in enumerate(answer_rows.whole_rows(self.path, self._form)):
            if at >= self._kept + head:
                return
            if at >= head:
                yield name

    def write(self, found: Sequence[Prediction]) -> bool:
        """Append rows; they are in the file when this returns."""
        with translate_disk_errors(self.path):
            self._out.write(self._kind.rows(found))
            self._out.flush()
        return True

    def finish(self) -> None:
        """Take the note away."""
        self.close()
        note_of(self.path).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self._held.close()
        with translate_disk_errors(self.path):
            self._out.close()


class Stream:
    """CSV or JSON Lines on a stream, such as standard output."""

    def __init__(self, out: BinaryIO, form: str, class_names: Sequence[str]) -> None:
        self._out, self._kind = out, answer_rows.KINDS[form](class_names)
        out.write(self._kind.head())

    def names(self) -> Iterator[str]:
        """None."""
        return iter(())

    def write(self, found: Sequence[Prediction]) -> bool:
        """Write rows; they are out when this returns."""
        self._out.write(self._kind.rows(found))
        self._out.flush()
        return True

    def finish(self) -> None:
        """The head alone may still wait."""
        self._out.flush()

    def close(self) -> None:
        """The stream is another's."""


def plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back, so that a note can be compared."""
    found: dict[str, Any] = json.loads(json.dumps(content))
    return found
