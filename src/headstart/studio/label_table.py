"""The pictures of a run that wait for a label, in the table that `headstart suggest` writes: saved at each label.

It lies in the studio's folder, one for each run. Fitting again learns from a copy, to which the earlier tables of
`--more` come along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.core.errors import DataError, UsageError
from headstart.core.job import Job
from headstart.core.run.reader import RunReader
from headstart.core.storage import tables
from headstart.core.storage.csv_tables import format_csv, restore_cell
from headstart.core.storage.files import format_printable, write_bytes
from headstart.core.types import CLASSIFICATION, TASKS, Dataset
from headstart.data.reading.label_tables import choose_columns
from headstart.data.reading.label_texts import SEPARATOR, parse_number, split_labels

COLUMNS = FILE, _, _, LABEL = ("file", "answer", "uncertainty", "label")
_LONGEST = 200  # characters of a label

Row = dict[str, str]


def describe_labels(run: Path) -> dict[str, Any]:
    """What the labels of a run are: task, classes, name of the number, and how many pictures it kept apart."""
    data = RunReader(run).find_json(Dataset)
    task = TASKS[data.get("task", CLASSIFICATION.name)].name
    fields = {"classes": data.get("class_names", []), "target_name": data.get("target_name", "")}
    return {"task": task, **fields, "unlabelled": len(data.get("unlabelled", []))}


def read_label_rows(path: Path) -> list[Row]:
    """The rows of a table, none where it is not there; raises DataError where it is damaged."""
    if not path.is_file():
        return []
    rows = (row for _, row in tables.read_rows(path, COLUMNS) if not isinstance(row, tables.MalformedRow))
    return [dict(zip(COLUMNS, (restore_cell(str(cell or "")) for cell in row), strict=True)) for row in rows]


def write_label_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write a table whole or not at all."""
    write_bytes(path, format_csv([COLUMNS, *([row[name] for name in COLUMNS] for row in rows)]))


def add_suggestions(rows: Sequence[Row], suggestions: Sequence[Mapping[str, Any]], most: int) -> list[Row]:
    """Rows with those suggestions behind them that are not among them, so that there are at most `most`."""
    files = {row[FILE] for row in rows}
    new = [each for each in suggestions if each.get(FILE, "") not in files | {""}]
    texts = [{name: "" if each.get(name) is None else str(each[name]) for name in COLUMNS} for each in new]
    return [*rows, *texts[: max(0, most - len(rows))]]


def require_label(text: str, run: Path) -> str:
    """A label as the table holds it; empty takes it back. Raises `UsageError` where the run cannot learn it."""
    facts, label = describe_labels(run), text.strip()
    task, where = TASKS[facts["task"]], "label"
    if not label:
        return ""
    if format_printable(label) != label or len(label) > _LONGEST:
        raise UsageError(f"a label has {_LONGEST} printable characters at most", where=where)
    name = format_printable(label)
    if not task.has_labels and SEPARATOR in label:
        raise UsageError(f"`{name}` is several labels, and a picture has one here", where=where)
    if not split_labels(label):
        raise UsageError(f"`{name}` means that a label is missing", where=where, hint="give the class another name")
    if not task.has_classes and not task.has_labels and parse_number(label) is None:
        raise UsageError(f"`{name}` is no number", where=where, hint="write a point before decimals: 12.5")
    if task.name == "ordinal" and label not in facts["classes"]:
        raise UsageError(f"`{name}` is none of the grades {', '.join(facts['classes'])}", where=where)
    return label


def write_learnt_labels(path: Path, rows: Sequence[Row], job: Job) -> None:
    """A table for `--more`: the labels of a run's own one, with all its columns, and behind them those of `rows`.

    Raises:
        DataError: No row has a label, or the run's own table cannot be read.
    """
    labelled = [row for row in rows if row[LABEL]]
    if not labelled:
        raise DataError("no picture has a label yet", hint="label some of those that are shown")
    header, lines, use = [FILE, LABEL], list[dict[str, Any]](), {"path": FILE, "target": LABEL}
    if job.more:
        earlier = Path(job.more)
        header = tables.read_columns(earlier)
        use = choose_columns(earlier, header, Job(data=job.data))
        lines = [dict(zip(header, row, strict=True)) for _, row in tables.read_rows(earlier, header)]
        for line in lines:  # relative paths start at its own folder
            line[use["path"]] = str(earlier.absolute().parent / restore_cell(str(line[use["path"]] or "")))
    by_file = {line[use["path"]]: line for line in lines}
    for row in labelled:  # what was labelled last holds
        by_file.setdefault(row[FILE], {use["path"]: row[FILE]})[use["target"]] = row[LABEL]
    write_bytes(path, format_csv([header, *([line.get(name, "") for name in header] for line in by_file.values())]))
