"""Defects that are planted in real pictures, one module a kind of defect: each has `measure`, which yields rows."""

from dataclasses import dataclass

PARTS = ("duplicates", "labels", "leaks", "names", "outliers", "quality", "shortcuts", "splits")


@dataclass(frozen=True, slots=True, kw_only=True)
class DefectRow:
    """How well one tool finds one kind of defect."""

    check: str  # code of the check, or of the one that a peer's finding answers to
    defect: str  # what was planted
    tool: str  # `headstart`, `cleanvision`, `cleanlab`, …
    planted: int  # pictures or groups that have the defect
    found: int  # of these named by the tool
    named: int  # by the tool in the set with planted defects
    clean_named: int  # by the tool in the same pictures without any
    clean: int  # pictures of that set


def format_row(row: DefectRow) -> str:
    """One line of the table."""
    recall, precision = row.found / row.planted, row.found / row.named if row.named else float("nan")
    alarms = f"{row.clean_named:,} of {row.clean:,} clean"
    return f"{row.check:<14}{row.defect:<34}{row.tool:<14}{row.planted:>8,}{recall:>8.2f}{precision:>10.2f}{alarms:>22}"
