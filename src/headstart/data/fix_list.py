"""Fixes of a data set as a table that a person edits: `audit` offers them, `fit --exclude` leaves out what it says.

Nothing is applied unasked. A row is a file with an action: `exclude`, `relabel` (which no command does) or `look`. A
table with a column `file` alone excludes all its rows. Names are those of the data set, as `read/files.csv` has them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headstart.core.errors import DataError, UsageError, format_nearest
from headstart.core.storage import tables
from headstart.core.storage.csv_tables import format_csv, restore_cell
from headstart.core.storage.files import format_printable, require_place, write_bytes
from headstart.core.types import Dataset, Finding, Outcome, SkippedFile
from headstart.data.check_base import format_count, format_names
from headstart.data.duplicates.clusters import find_clusters, group_rows
from headstart.data.reading.records import Listing

ACTIONS = EXCLUDE, RELABEL, LOOK = ("exclude", "relabel", "look")
COLUMNS = ("file", "action", "label", "code", "why")
EXCLUDED = "excluded"  # the reason of a file that a table excludes
WHERE = "--exclude"
_FEW = 10  # pictures of a set may all be listed, whatever the finding
_MOST_LOST = 0.8  # of a class that a finding may offer to leave out
_COMPARED = 10_000  # names among which the nearest is looked for


@dataclass(slots=True)
class _Fix:
    action: str
    label: str = ""
    codes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def require_new_file(path: Path) -> None:
    """Refuse to write fixes over a file that is there, or where they could not be read again; raises UsageError."""
    where, name = "--fix-list", format_printable(str(path))
    if path.suffix.lower() != ".csv":
        raise UsageError(f"`{name}` does not end in .csv", where=where, hint="--fix-list fixes.csv")
    if path.exists():
        raise UsageError(f"`{name}` is there already", where=where, hint="name another file: that one may be edited")
    require_place(path, where)


def write_fix_list(path: Path, data: Dataset, outcomes: Iterable[Outcome]) -> str:
    """Write a row for each file that a finding is about, what is offered first; a sentence on what it holds.

    What was excluded already comes along, so that the last list is enough. A finding about most pictures that offers
    nothing is left out: it is about the set.
    """
    fixes = {file.uri: _Fix(EXCLUDE, reasons=[file.detail]) for file in data.excused if file.reason == EXCLUDED}
    for outcome in outcomes:
        others = _list_others(data, outcome)
        for finding in outcome.findings:
            for uri, action, label in _list_offers(data, finding):
                fix = fixes.setdefault(uri, _Fix(action, label))
                if ACTIONS.index(action) < ACTIONS.index(fix.action):
                    fix.action, fix.label = action, label
                fix.codes.append(finding.code)
                fix.reasons.append(f"{outcome.name}: with {others[uri]}" if uri in others else finding.sentence)
    rows = sorted(fixes.items(), key=lambda item: ACTIONS.index(item[1].action))
    lines = [(uri, fix.action, fix.label, " ".join(fix.codes), "; ".join(fix.reasons)) for uri, fix in rows]
    write_bytes(path, format_csv([COLUMNS, *lines]))
    counts = Counter(fix.action for fix in fixes.values())
    actions = ", ".join(f"{counts[action]:,} `{action}`" for action in ACTIONS if counts[action]) or "no rows"
    name = format_printable(str(path))
    return (
        f"{actions} in `{name}`: nothing was changed; edit it, then `headstart fit --exclude {name}` leaves those out"
    )


def _list_others(data: Dataset, outcome: Outcome) -> dict[str, str]:
    """Names of the other pictures of each linked one's group."""
    pairs = np.array(outcome.links, np.int64).reshape(-1, 2)
    groups = [[data.uris[int(row)] for row in group] for group in group_rows(find_clusters(len(data.uris), pairs))]
    return {uri: format_names(other for other in group if other != uri) for group in groups for uri in group}


def _list_offers(data: Dataset, finding: Finding) -> list[tuple[str, str, str]]:
    """File, action and label of each file of a finding."""
    leaving, is_of_set = _spare_classes(data, finding), len(finding.rows) > max(_FEW, len(data.uris) / 2)
    is_harmless = finding.severity == "info" and finding.uris
    if (is_of_set or is_harmless) and not (leaving or finding.likelier_classes):
        return []
    labels = finding.likelier_classes or ("",) * len(finding.rows)
    offers = [
        (data.uris[row], EXCLUDE if row in leaving else RELABEL if label else LOOK, "" if row in leaving else label)
        for row, label in zip(finding.rows, labels, strict=True)
    ]
    excluded = {file.uri for file in data.excused if file.reason == EXCLUDED} if finding.uris else set()
    others = set(finding.uris) - excluded - {uri for uri, *_ in offers}
    return offers + [(uri, LOOK, "") for uri in finding.uris if uri in others]


def _spare_classes(data: Dataset, finding: Finding) -> set[int]:
    """Rows that a finding offers to leave out, but for those of classes that would lose nearly all: to be looked at."""
    if not data.learning_task.has_classes:
        return set(finding.remove_rows)
    targets = np.asarray(data.targets)
    rows, sizes = np.array(finding.remove_rows, np.int64), np.bincount(targets, minlength=len(data.class_names))
    lost = np.bincount(targets[rows], minlength=len(sizes)) > _MOST_LOST * sizes
    return set(rows[~lost[targets[rows]]].tolist())


@dataclass(frozen=True, slots=True)
class FixList:
    """What a table of fixes says: the rows that exclude a file, by the file's name, and how many have each action."""

    path: Path
    excluded: dict[str, int]
    counts: Counter[str]


def read_fix_list(path: Path) -> FixList:
    """Read a table of fixes.

    Raises:
        DataError: It cannot be read, has no column `file`, or a row is malformed or has an unknown action.
    """
    path, where = path.expanduser(), f"{WHERE} {format_printable(str(path))}"
    name = f"`{format_printable(path.name)}`"
    header = tables.read_columns(path)
    plain = {column.strip().lower(): column for column in reversed(header)}
    is_plain_list = sum(column in plain for column in COLUMNS) < 2
    needed = ("file",) if is_plain_list else ("file", "action")
    if missing := [column for column in needed if column not in plain]:
        columns = ", ".join(f"`{format_printable(column)}`" for column in header[:8]) or "none"
        message = f"{name} has no column `{missing[0]}`; its columns: {columns}"
        raise DataError(message, where=where, hint=f"`headstart audit --fix-list` writes {', '.join(COLUMNS)}")
    counts, excluded, problems = Counter[str](), dict[str, int](), list[tuple[str, str, str]]()
    for number, row in tables.read_rows(path, [plain[column] for column in needed]):
        if isinstance(row, tables.MalformedRow):
            problems.append((f"{path.name}:{number}", "malformed_row", row))
            continue
        file, action = (str("" if cell is None else cell) for cell in (*row, EXCLUDE)[:2])
        action = action.strip().lower() or LOOK
        if action not in ACTIONS:
            why = f"row {number} has the action `{format_printable(action)}`, which is none of {', '.join(ACTIONS)}"
            problems.append((file, "unknown_action", f"{why}; {format_nearest(action, ACTIONS)}".rstrip("; ")))
        elif file:
            counts[action] += 1
            if action == EXCLUDE:
                excluded.setdefault(restore_cell(file), number)
    if problems:
        message = f"{format_count(len(problems), 'row')} of {name} cannot be used: {problems[0][2]}"
        raise DataError(message, where=where, problems=problems)
    return FixList(path, excluded, counts)


def exclude_files(listing: Listing, fixes: FixList) -> str:
    """Move the files that a table excludes to the skipped ones; a sentence on what was done and what was not.

    Raises:
        DataError: A name is none of the data set.
    """
    name = f"`{format_printable(fixes.path.name)}`"
    numbers = {_escape_name(file): number for file, number in fixes.excluded.items()}
    names = {_escape_name(uri) for uri in (*listing.uris, *(file.uri for file in listing.skipped))}
    if missing := [file for file in fixes.excluded if _escape_name(file) not in names]:
        raise _make_unknown_error(missing, listing, fixes)
    of_row = {uri: numbers[text] for uri in listing.uris if (text := _escape_name(uri)) in numbers}
    listing.uris = [uri for uri in listing.uris if uri not in of_row]
    listing.skipped += [
        SkippedFile(uri=uri, reason=EXCLUDED, detail=f"row {number} of {name}") for uri, number in of_row.items()
    ]
    table = os.path.relpath(os.path.realpath(fixes.path), os.path.realpath(listing.root))
    if table in listing.uris:  # it was written into the folder
        listing.uris.remove(table)
        listing.skipped.append(SkippedFile(uri=table, reason="hidden", detail="the table of what is left out"))
    left = " and ".join(f"{fixes.counts[action]:,} `{action}`" for action in (RELABEL, LOOK) if fixes.counts[action])
    undone = f"; {left} there are not applied: write `exclude`, or change the labels themselves" if left else ""
    return f"{format_count(len(of_row), 'file')} left out, as {name} says{undone}"


def _make_unknown_error(missing: Sequence[str], listing: Listing, fixes: FixList) -> DataError:
    name, example = f"`{format_printable(fixes.path.name)}`", format_printable(next(iter(listing.uris), ""))
    if len(missing) == len(fixes.excluded):
        message = f"none of the {format_count(len(missing), 'file')} that {name} excludes is in the data set"
        hint = f"files are named from `{format_printable(listing.root)}` on, such as `{example}`"
    else:
        message = (
            f"{len(missing):,} of {format_count(len(fixes.excluded), 'file')} that {name} excludes are not in the "
        )
        message += f"data set: {format_names(missing)}"
        hint = "take the rows of files that are gone out of it"
    last_part = missing[0].rpartition("/")[2]
    likely = [uri for uri in listing.uris if uri.rpartition("/")[2] == last_part] or listing.uris[:_COMPARED]
    hint = f"{format_nearest(missing[0], likely, cutoff=0.2)} {hint}".strip()
    problems = [(file, "missing", f"row {fixes.excluded[file]} excludes it, and it is not there") for file in missing]
    return DataError(message, where=f"{WHERE} {format_printable(str(fixes.path))}", hint=hint, problems=problems)


def _escape_name(name: str) -> str:
    """A name as `format_csv` writes it: bytes that are not UTF-8 as backslash escapes."""
    return name.encode("utf-8", "backslashreplace").decode()
