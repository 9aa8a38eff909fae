"""A table of labels: which column is what, and what its rows say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from itertools import compress, islice
from pathlib import Path
from typing import Any

from headstart.core.errors import DataError, HeadstartError, Problem, format_nearest, make_error
from headstart.core.job import TABLE_SETTINGS, Job, format_flag
from headstart.core.picture_settings import parse_group_pattern
from headstart.core.storage import tables
from headstart.core.storage.files import format_printable
from headstart.core.storage.locations import localize
from headstart.core.types import UNLABELLED, SkippedFile
from headstart.data.reading.annotations import Annotations, list_annotated
from headstart.data.reading.folder_layout import find_split
from headstart.data.reading.label_texts import NONE, format_value, parse_number, split_labels
from headstart.data.reading.records import Listing, NoLabelsError

# What a column is for -> names by which it is found where no setting names it, in this order; separators do not count.
NAMES = {
    "path": "path filepath imagepath file filename imagefile imagename image img picture photo uri imageid",
    "target": "label labels class classname classlabel target category categories diagnosis dx species y",
    "split": "split subset partition set fold",
    "group": "group groupid patient patientid subject subjectid site siteid video videoid plot plotid",
    "weight": "sampleweight",  # a column `weight` is more often that of a body
    "time": "time timestamp datetime date acquisitiondate",
}
LABEL = "label "  # before the name of a column that says of each picture whether it has that label
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")  # in any case
SETTINGS = frozenset(TABLE_SETTINGS)
_FIELDS = {"split": "splits", "group": "groups", "weight": "weights", "time": "times"}  # of `Annotations`
_PART = 10_000  # rows that are turned into columns together
_TEXTS = 100_000  # different texts that are looked for again


def list_table(
    path: Path, job: Job, leave_out: frozenset[str], *, name: str | None = None, base: str | None = None
) -> Listing:
    """The pictures of all rows of a table.

    Args:
        path: Of the table.
        job: Names columns, and the folder where relative paths start.
        leave_out: Folders whose real paths are no part of the data set.
        name: Of the data set; the table's own when None.
        base: Where relative paths start, whatever the job says.

    Raises:
        DataError: Columns are missing, or no picture can be learnt from.
    """
    columns = choose_columns(path, tables.read_columns(path), job)
    annotations = read_annotations(path, columns, job)
    annotations.base = base
    listing = list_annotated(annotations, job, leave_out)
    listing.name = name or listing.name
    return listing


def choose_columns(path: Path, names: Sequence[str], job: Job) -> dict[str, str]:
    """What each column is for -> its name.

    Raises:
        DataError: A column that a setting names is not there, or none is that of paths or labels; with all problems.
    """
    column_list = ", ".join(f"`{format_printable(name)}`" for name in names[:20]) or "none"
    table, problems, columns = f"the table `{format_printable(path.name)}`", list[Problem](), dict[str, str]()
    plain = {re.sub(r"[\W_]+", "", name).lower(): name for name in reversed(names)}
    for use, known_names in NAMES.items():
        requested = getattr(job, use)
        if use == "group" and parse_group_pattern(requested):
            continue
        label_columns = [name.strip() for name in requested.split(",")] if use == "target" else []
        if requested not in names and len(label_columns) > 1:
            columns |= {LABEL + name: name for name in label_columns}
            problems += [
                _miss_column(table, use, name, names, column_list) for name in label_columns if name not in names
            ]
            continue
        by_name = next((plain[word] for word in known_names.split() if word in plain), None)
        if requested and requested not in names:
            problems.append(_miss_column(table, use, requested, names, column_list))
        elif column := requested or by_name:
            columns[use] = column
    has_labels = job.task != UNLABELLED.name  # else the other column may be anything
    if has_labels and "target" not in columns and not job.target and len(names) == 2 and "path" in columns:
        columns["target"] = next(name for name in names if name != columns["path"])
    for use, content in (("path", "paths of pictures"), ("target", "labels")):
        if use not in columns and not getattr(job, use) and (use == "path" or has_labels):
            kind = DataError if use == "path" or problems else NoLabelsError
            hint = f"name it with {format_flag(use)}; its columns: {column_list}"
            hint += "; is its first line a header?" if any(re.search(r"\.\w{3,4}$", name) for name in names) else ""
            problems.append(
                Problem(format_flag(use), f"no column of {table} is known by its name as {content}", hint, kind)
            )
    if problems:
        raise make_error(problems)
    return columns


def find_label_column(location: str, job: Job) -> str:
    """The column of labels of the table at a location; empty where it is no table, or has none or several."""
    if not tables.is_table(Path(location)):
        return ""
    try:
        path = Path(localize(location)).expanduser()
        return choose_columns(path, tables.read_columns(path), job).get("target", "")
    except (HeadstartError, OSError):  # told where the table is read
        return ""


def _miss_column(table: str, use: str, name: str, names: Sequence[str], column_list: str) -> Problem:
    hint = f"{format_nearest(name, names)} its columns: {column_list}".strip()
    return Problem(format_flag(use), f"{table} has no column `{name}`", hint, DataError)


def read_annotations(path: Path, columns: dict[str, str], job: Job) -> Annotations:
    """Read all rows; a value that a setting's column needs and does not have skips its row.

    A column that was found by its name alone skips no row: it is left out, with a note, where a value is not right.
    """
    numbers, values, skipped = _read_columns(path, list(columns.values()))
    by_use = dict(zip(columns, values, strict=True))
    column_list = ", ".join(f"{use} `{format_printable(name)}`" for use, name in columns.items())
    notes = [f"{len(numbers) + len(skipped):,} rows in `{format_printable(path.name)}`; columns: {column_list}"]
    parsed, wrong = _parse_columns(by_use, columns, job, notes)
    paths = [value if isinstance(value, str) else format_value(value) for value in by_use["path"]]
    wrong |= {at: ("path", "") for at, text in enumerate(paths) if not text or text.isspace()}
    if "target" in columns:
        labels = _map_repeated(split_labels, by_use["target"])
    else:
        label_columns = {use: cells for use, cells in by_use.items() if use.startswith(LABEL)}
        labels, unclear = _join_label_columns(label_columns, len(paths))
        wrong = unclear | wrong
    for at, (use, value) in sorted(wrong.items()):
        detail = f"row {numbers[at]}: column `{columns[use]}` holds `{format_printable(str(value))}`"
        uri = f"{path.name}:{numbers[at]}" if use == "path" else paths[at]
        skipped.append(SkippedFile(uri=uri, reason=f"no_{use.partition(' ')[0]}", detail=detail))
    parsed |= {"paths": paths, "labels": labels, "numbers": numbers}
    if wrong:
        fit = [at not in wrong for at in range(len(paths))]
        parsed = {name: list(compress(column, fit)) for name, column in parsed.items()}
    return Annotations(source=path, skipped=skipped, notes=notes, target_name=columns.get("target", ""), **parsed)


def _read_columns(path: Path, names: list[str]) -> tuple[list[int], list[list[Any]], list[SkippedFile]]:
    """Numbers of the rows, a list of values for each column, and the rows that are malformed."""
    numbers, skipped, values = list[int](), list[SkippedFile](), [list[Any]() for _ in names]
    texts, rows = dict[str, str](), tables.read_rows(path, names)
    while part := list(islice(rows, _PART)):
        sound = [row for row in part if not isinstance(row[1], tables.MalformedRow)]
        if len(sound) < len(part):
            skipped += [
                SkippedFile(uri=f"{path.name}:{number}", reason="malformed_row", detail=str(row))
                for number, row in part
                if isinstance(row, tables.MalformedRow)
            ]
        numbers += [number for number, _ in sound]
        for column, cells in zip(values, zip(*(row for _, row in sound), strict=True), strict=False):
            if set(map(type, cells)) == {str}:  # a text that is there often is kept once
                column += map(texts.setdefault, cells, cells)
            else:
                column += cells
        if len(texts) > _TEXTS:
            texts.clear()
    return numbers, values, skipped


def _map_repeated(function: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
    """A function over values of which many are the same text."""
    answers = dict[Any, Any]()
    results = []
    for value in values:
        if not isinstance(value, str):
            results.append(function(value))
            continue
        if (answer := answers.get(value, answers)) is answers:
            answer = answers[value] = function(value)
        results.append(answer)
    return results


def _join_label_columns(
    columns: dict[str, list[Any]], n_rows: int
) -> tuple[list[tuple[str, ...]], dict[int, tuple[str, Any]]]:
    """The labels of each row from columns of yes and no, and rows with another value, with its column.

    An empty cell is a no, but for a row with nothing else, which has no label yet.
    """
    labels: list[tuple[str, ...]] = [()] * n_rows
    unclear = dict[int, tuple[str, Any]]()
    for use, cells in columns.items():
        for at, text in enumerate(_map_repeated(lambda value: format_value(value).strip().lower(), cells)):
            if text in YES:
                labels[at] = (*(label for label in labels[at] if label), use.removeprefix(LABEL))
            elif text in NO:
                labels[at] = labels[at] or NONE
            elif text:
                unclear[at] = (use, cells[at])
    return labels, unclear


def _parse_columns(
    by_use: dict[str, list[Any]], columns: dict[str, str], job: Job, notes: list[str]
) -> tuple[dict[str, Any], dict[int, tuple[str, Any]]]:
    """Values by the field of `Annotations` that they are for; rows whose value is wrong, with use and value."""
    parsers = {"split": _parse_split, "group": format_value, "weight": _parse_weight, "time": _parse_time_s}
    parsed, wrong = dict[str, Any](), dict[int, tuple[str, Any]]()
    for use, parse in parsers.items():
        if use not in by_use:
            continue
        results = _map_repeated(parse, by_use[use])
        bad = [at for at, result in enumerate(results) if result is None]
        if bad and not getattr(job, use) and (use != "split" or len(bad) == len(results)):
            first = format_printable(str(by_use[use][bad[0]]))
            why = f"{len(bad):,} of its values are none, such as `{first}`"
            notes.append(f"column `{columns[use]}` is not taken as {use}: {why}; {format_flag(use)} asks for it")
            continue
        if results and len(bad) == len(results):
            problem = f"no value of column `{columns[use]}` is a {use}: `{format_printable(str(by_use[use][0]))}`"
            hint = "train, val and test are known" if use == "split" else "numbers are needed, or for times dates"
            raise DataError(problem, where=format_flag(use), hint=hint)
        wrong |= {at: (use, by_use[use][at]) for at in bad}
        parsed[_FIELDS[use]] = results
    return parsed, wrong


def _parse_split(value: Any) -> str | None:
    return find_split(format_value(value))


def _parse_weight(value: Any) -> float | None:
    weight = parse_number(value)
    return weight if weight is not None and weight > 0 else None


def _parse_time_s(value: Any) -> float | None:
    """Seconds since 1970 of a date, in UTC where it names no zone; a number stays as it is."""
    if (number := parse_number(value)) is not None:
        return number
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
