"""CSV for people: UTF-8, quoted where needed, and no cell that a spreadsheet would take for a formula.

A text that begins with `=`, `+`, `-`, `@`, a tab or a line break gets an apostrophe in front (OWASP, CSV Injection),
names of files and classes above all: they are whatever the maker of the data set chose. Numbers stay as they are.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")  # one with apostrophes in front gets another, so that none is lost


def format_csv(lines: Iterable[Iterable[Any]]) -> bytes:
    """Lines of CSV in UTF-8; bytes of a file's name that are not UTF-8 become backslash escapes."""
    written = io.BytesIO()

    class Output:
        """Rows as they are written: with `\\r\\n` for an end the writer quotes both, wherever they stand in a cell."""

        @staticmethod
        def write(row: str) -> None:
            line = row.removesuffix("\r\n") + "\n"
            written.write(line.encode("utf-8", "backslashreplace"))

    csv.writer(Output, lineterminator="\r\n").writerows(map(_disarm_cell, line) for line in lines)
    return written.getvalue()


def _disarm_cell(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def restore_cell(cell: str) -> str:
    """The text as it was before `format_csv` wrote it."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
