"""A table with a picture's path and label in each row: CSV, TSV, JSON Lines or Parquet."""

from __future__ import annotations

from pathlib import Path

from headstart.core.job import Job
from headstart.core.storage import tables
from headstart.data.reading.annotations import find_base
from headstart.data.reading.label_tables import SETTINGS, choose_columns, list_table
from headstart.data.reading.records import TABLE, Listing
from headstart.data.reading.unpacked_tables import unpack_table


class Table:
    """Each row is a picture."""

    name = TABLE
    settings = SETTINGS

    def recognises(self, location: str) -> bool:
        """By its suffix."""
        path = Path(location).expanduser()
        return tables.is_table(path) and path.is_file()

    def require_readable(self, location: str, job: Job) -> None:
        """Refuse a table without the columns that are needed, or asked for."""
        path = Path(location).expanduser()
        choose_columns(path, tables.read_columns(path), job)
        find_base(path, job)

    def list_pictures(self, location: str, job: Job, leave_out: frozenset[str]) -> Listing:
        """The pictures of all rows; those that a Parquet file holds itself are unpacked into the cache."""
        path = Path(location).expanduser()
        if not tables.has_binary_column(path):
            return list_table(path, job, leave_out)
        columns = tables.read_columns(path)
        rows = (dict(zip(columns, row, strict=True)) for _, row in tables.read_rows(path, columns))
        table = unpack_table([path], rows)
        return list_table(table, job, leave_out, name=path.stem, base=str(table.parent))


PLUGIN = Table()
