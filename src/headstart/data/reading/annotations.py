"""What a file of labels says, row by row -> a listing in which every row is a picture, or is skipped with a reason.

Tables and the exports of labelling tools come here alike. A file in two rows is taken once; under two labels it is
not taken at all. Rows without a label are kept apart.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

from headstart.core.errors import DataError, format_nearest
from headstart.core.job import Job, format_flag
from headstart.core.storage.files import format_printable
from headstart.core.storage.locations import list_location
from headstart.core.storage.locations.names import is_reachable, is_remote
from headstart.core.types import CLASSIFICATION, MULTILABEL, REGRESSION, TASKS, UNLABELLED, SkippedFile
from headstart.data.reading import label_texts
from headstart.data.reading.records import Labelling, Listing, NoLabelsError, Record, sort_by_bytes
from headstart.data.reading.root_search import PictureRoot, find_root
from headstart.images.file_formats import has_picture_suffix

SHOWN = 5  # skipped rows that are told one by one


@dataclass(slots=True, kw_only=True)
class Annotations:
    """R rows of a file of labels, column by column; a column that it does not have is empty."""

    source: Path
    paths: list[str]  # R paths as they are written there
    labels: list[tuple[str, ...]]
    numbers: Sequence[int]  # R numbers of rows or lines, as the source counts them
    splits: Sequence[str] = ()
    groups: Sequence[str] = ()
    weights: Sequence[float] = ()
    times: Sequence[float] = ()
    skipped: list[SkippedFile] = field(default_factory=list)  # rows beside these R
    base: str | None = None  # where relative paths start, if the source itself says so
    notes: list[str] = field(default_factory=list)  # what a person should know of the source, a line each
    target_name: str = ""  # the column of the labels
    names_classes: bool = False  # labels are names of classes, even if all are numbers

    def make_records(self, uris: Sequence[str]) -> list[Record]:
        """R records, with the uris that their paths turned out to be."""
        columns = (self.splits, self.groups, self.weights, self.times)
        defaults = tuple(Record._field_defaults.values())
        filled = (column or repeat(default) for column, default in zip(columns, defaults, strict=True))
        return list(map(Record._make, zip(uris, self.labels, *filled)))  # noqa: B905 - repeats have no end


def find_base(source: Path, job: Job) -> str:
    """Where relative paths start: the folder of `--images`, or that of the source; DataError where there is none."""
    if not job.images:
        return os.path.dirname(os.path.abspath(source))  # noqa: PTH100, PTH120 - links stay as they are
    if is_remote(job.images):
        return job.images.rstrip("/")
    folder = Path(os.path.abspath(Path(job.images).expanduser()))  # noqa: PTH100
    if not is_reachable(str(folder)):
        beside = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
        hint = format_nearest(folder.name, beside) or None
        problem = f"there is no folder `{format_printable(job.images)}`"
        raise DataError(problem, where=format_flag("images"), hint=hint)
    return str(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRows:
    """What rows say, picture by picture."""

    root: PictureRoot
    chosen: dict[str, Record]  # by uri
    unlabelled: list[str]  # uris
    skipped: list[SkippedFile]  # rows
    notes: list[str]


def select_records(annotations: Annotations, job: Job) -> PictureRows:
    """One record a picture; rows that say nothing more, or contradict others, are skipped.

    Raises:
        DataError: There is no row, or no picture is where its row says; with the folder where they are.
    """
    source = annotations.source
    if not annotations.paths:
        reasons = "; ".join(dict.fromkeys(row.detail for row in annotations.skipped[:SHOWN]))
        problem = f"`{format_printable(source.name)}` names no picture{f': {reasons}' if reasons else ''}"
        problems = [row.cells for row in annotations.skipped]
        raise DataError(problem, where=format_printable(str(source)), problems=problems)
    root = find_root(annotations.paths, annotations.base or find_base(source, job), str(source), trim=bool(job.images))
    records, label_notes = label_texts.clean_labels(annotations.make_records(root.uris), merge=job.merge_labels)
    chosen, unlabelled, skipped = _drop_repeated_rows(records, annotations.numbers, join=job.task == MULTILABEL.name)
    if job.task == UNLABELLED.name:
        chosen, unlabelled = {record.uri: record for record in reversed(records) if not record.labels} | chosen, []
    return PictureRows(
        root=root,
        chosen=chosen,
        unlabelled=unlabelled,
        skipped=annotations.skipped + skipped,
        notes=[*annotations.notes, *root.notes, *label_notes],
    )


def list_annotated(annotations: Annotations, job: Job, leave_out: frozenset[str]) -> Listing:
    """The pictures that rows name; raises DataError as `select_records`, and for several labels where one is learnt."""
    source, rows = annotations.source, select_records(annotations, job)
    if job.task not in ("auto", MULTILABEL.name, UNLABELLED.name):
        require_single_labels(rows.chosen.values(), source, job.task)
    if job.images and not is_remote(rows.root.base) and (others := _count_others(rows.root, leave_out)):
        rows.notes.append(f"{others:,} pictures below `{format_printable(job.images)}` are in no row")
    return Listing(
        name=source.stem,
        root=rows.root.path,
        uris=sort_by_bytes([*rows.chosen, *rows.unlabelled]),
        skipped=rows.skipped,
        label_pictures=_make_labeller(rows.chosen, rows.notes, annotations, job),
    )


def require_single_labels(records: Iterable[Record], source: Path, task: str) -> None:
    """Refuse several labels of a picture, or none of them, by a DataError."""
    several = [record for record in records if len(record.labels) > 1 or record.labels == label_texts.NONE]
    if several:
        uri, labels = format_printable(several[0].uri), ", ".join(map(format_printable, several[0].labels)) or "none"
        sentence = f"{len(several):,} pictures have several labels, or none of them: `{uri}`: {labels}"
        sentence += f", where one is needed for {task}"
        hint = "--task multilabel learns them; --target names another column"
        raise DataError(sentence, where=format_printable(str(source)), hint=hint)


def _count_others(root: PictureRoot, leave_out: frozenset[str]) -> int:
    row_paths = {os.path.join(root.path, uri) for uri in root.uris}  # noqa: PTH118 - any bytes
    files = list_location(root.base, leave_out).uris
    return sum(
        has_picture_suffix(uri) and os.path.join(root.base, uri) not in row_paths  # noqa: PTH118
        for uri in files
    )


def _drop_repeated_rows(
    records: Sequence[Record], numbers: Sequence[int], *, join: bool
) -> tuple[dict[str, Record], list[str], list[SkippedFile]]:
    """Pictures by uri, uris without a label, and rows that say again, or otherwise, what another row said.

    With `join` the labels of a picture's rows are put together instead.
    """
    chosen, first, skipped = dict[str, Record](), dict[str, int](), list[SkippedFile]()
    contradicted, blank = dict[str, list[int]](), list[tuple[str, int]]()
    for number, record in zip(numbers, records, strict=True):
        uri = record.uri
        if not record.labels:
            blank.append((uri, number))
        elif (earlier := chosen.setdefault(uri, record)) is record:
            first[uri] = number
        elif join and not set(record.labels) <= set(earlier.labels):
            labels = dict.fromkeys(label for label in (*earlier.labels, *record.labels) if label)
            chosen[uri] = earlier._replace(labels=tuple(labels))
        elif set(earlier.labels) != set(record.labels) and not join:
            contradicted.setdefault(uri, [first[uri]]).append(number)
        else:
            skipped.append(_skip_copy(uri, number, first[uri]))
    for uri, rows in contradicted.items():
        skipped += [_skip_contradiction(uri, number, rows) for number in rows]
        del chosen[uri]
    unlabelled = dict[str, int]()
    for uri, number in blank:
        earlier_number = first.get(uri) or unlabelled.setdefault(uri, number)
        if earlier_number != number:
            skipped.append(_skip_copy(uri, number, earlier_number))
    return chosen, list(unlabelled), skipped


def _skip_contradiction(uri: str, number: int, rows: Sequence[int]) -> SkippedFile:
    others = ", ".join(str(other) for other in rows if other != number)
    detail = f"row {number} gives it another label than row {others}" if others else f"row {number} has several answers"
    return SkippedFile(uri=uri, reason="two_labels", detail=detail)


def _skip_copy(uri: str, number: int, earlier: int) -> SkippedFile:
    return SkippedFile(uri=uri, reason="duplicate_row", detail=f"row {number} names the picture of row {earlier} again")


def _make_labeller(
    chosen: dict[str, Record], notes: list[str], annotations: Annotations, job: Job
) -> Callable[[Sequence[str], Sequence[SkippedFile]], Labelling]:
    source = annotations.source

    def label_pictures(pictures: Sequence[str], skipped: Sequence[SkippedFile]) -> Labelling:
        records = [chosen[uri] for uri in pictures if uri in chosen]
        if job.task == UNLABELLED.name:
            return Labelling(records=records, task=job.task, notes=notes)
        unlabelled = [uri for uri in pictures if uri not in chosen]
        _require_labels(records, skipped, source, NoLabelsError if unlabelled else DataError)
        labels = [record.labels for record in records]
        task, why = label_texts.infer_task(labels) if job.task == "auto" else (job.task, "as asked for")
        if annotations.names_classes and job.task == "auto" and task == REGRESSION.name:
            task = CLASSIFICATION.name
        label_notes = [] if task == CLASSIFICATION.name else [f"{task}: {why}; --task asks for another"]
        if TASKS[task].has_classes:
            _require_classes(records, skipped, source)
        rows = [
            f"{row.reason.replace('_', ' ')}: `{format_printable(row.uri)}`: {row.detail}"
            for row in skipped
            if row.reason != "excluded"
        ]
        more = [f"and {len(rows) - SHOWN:,} more such: read/files.csv has each"] if len(rows) > SHOWN else []
        return Labelling(
            records=records,
            unlabelled=unlabelled,
            task=task,
            target_name=annotations.target_name,
            notes=[*notes, *label_notes, *rows[:SHOWN], *more],
        )

    return label_pictures


def _require_labels(
    records: Sequence[Record], skipped: Sequence[SkippedFile], source: Path, error: type[DataError]
) -> None:
    if not records:
        name, place = format_printable(source.name), format_printable(str(source))
        problem = f"`{name}` names no usable picture with a label{_format_reasons(skipped)}"
        raise error(problem, where=place, problems=[row.cells for row in skipped])


def _format_reasons(skipped: Sequence[SkippedFile]) -> str:
    reasons = Counter(row.reason.replace("_", " ") for row in skipped).most_common()
    return "; not used: " + ", ".join(f"{count:,} {reason}" for reason, count in reasons) if reasons else ""


def _require_classes(records: Sequence[Record], skipped: Sequence[SkippedFile], source: Path) -> None:
    classes = {record.labels[0] for record in records}
    if len(classes) < 2:
        (label,) = classes
        problem = f"only one class has usable pictures: `{format_printable(label)}` with {len(records):,}"
        raise DataError(
            problem + _format_reasons(skipped),
            where=format_printable(str(source)),
            hint="at least two are needed; --target names another column of labels",
            problems=[row.cells for row in skipped],
        )
