"""More labelled pictures than DATA names: a table, as `headstart suggest` writes it and a person fills it in.

They are learnt from and never judge. What judged an earlier run can be made to judge again, by the bytes of its
pictures, so that the scores before and after can be compared.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.core.errors import DataError
from headstart.core.job import Job, format_flag
from headstart.core.run.reader import RunReader
from headstart.core.storage import tables
from headstart.core.storage.files import format_printable
from headstart.core.types import TASKS, Dataset, SkippedFile, Splits
from headstart.data.check_base import format_count, format_names
from headstart.data.reading.annotations import require_single_labels, select_records
from headstart.data.reading.label_tables import choose_columns, read_annotations
from headstart.data.reading.records import Labelling, Listing, Record, sort_by_bytes

_OF_DATA = ("images", "path", "target", "split", "group", "weight", "time")  # settings that speak of another table


def require_more_labels(job: Job) -> None:
    """Refuse `--more` that is no table of labels, and `--test-of` that is no run with splits; raises DataError."""
    if job.more:
        path = Path(job.more).expanduser()
        if not (tables.is_table(path) and path.is_file()):
            message = f"`{format_printable(job.more)}` is no table that is there"
            hint = "a table of files and labels, as `headstart suggest RUN --out next.csv` writes it"
            raise DataError(message, where=format_flag("more"), hint=hint)
        choose_columns(path, tables.read_columns(path), _forget_columns(job))
    if job.test_of:
        path = Path(job.test_of).expanduser()
        if not (path / "job.toml").is_file():
            message = f"`{format_printable(job.test_of)}` is no run folder"
            raise DataError(message, where=format_flag("test_of"), hint="name a run of the same pictures")
        RunReader(path).read(Splits)


def _forget_columns(job: Job) -> Job:
    defaults: dict[str, Any] = dict.fromkeys(_OF_DATA, "")
    return replace(job, **defaults)


@dataclass(frozen=True, slots=True, kw_only=True)
class _MoreLabels:
    source: Path
    records: Mapping[str, Record]  # by uri, below the root of DATA where it is a folder
    unlabelled: Collection[str]  # uris


def add_pictures(listing: Listing, job: Job) -> Listing:
    """The pictures of DATA and those of `--more`; raises DataError, also where no row has a label."""
    source, own_job = Path(job.more).expanduser(), _forget_columns(job)
    annotations = read_annotations(source, choose_columns(source, tables.read_columns(source), own_job), own_job)
    rows = select_records(annotations, own_job)
    uri_of = {uri: _find_uri(os.path.join(rows.root.path, uri), listing.root) for uri in rows.root.uris}  # noqa: PTH118
    if not rows.chosen and rows.unlabelled:
        message = f"no row of `{format_printable(source.name)}` has a label"
        raise DataError(message, where=format_flag("more"), hint="fill in its column of labels")
    more = _MoreLabels(
        source=source,
        records={uri_of[r.uri]: r._replace(uri=uri_of[r.uri], split="") for r in rows.chosen.values()},
        unlabelled=[uri_of[uri] for uri in rows.unlabelled],
    )

    def label_pictures(pictures: Sequence[str], skipped: Sequence[SkippedFile]) -> Labelling:
        labelling = _label_own_pictures(listing, pictures, skipped)
        task = labelling.task if job.task == "auto" else job.task
        if not TASKS[task].has_labels:
            require_single_labels(more.records.values(), source, task)
        return _join_labels(labelling, more, pictures, own_uris=set(listing.uris))

    uris = sort_by_bytes({*listing.uris, *more.records, *more.unlabelled})
    skipped = [*listing.skipped, *(replace(row, uri=uri_of.get(row.uri, row.uri)) for row in rows.skipped)]
    return replace(listing, uris=uris, skipped=skipped, label_pictures=label_pictures)


def _find_uri(path: str, root: str) -> str:
    """A picture relative to a root that is a folder, links followed; below an archive or bucket, or else whole."""
    path = os.path.normpath(path) if path.startswith("/") else path
    if path.startswith(f"{root}/"):
        return path[len(root) + 1 :]
    return os.path.relpath(path, os.path.realpath(root)) if os.path.isdir(root) else path  # noqa: PTH112


def _label_own_pictures(listing: Listing, pictures: Sequence[str], skipped: Sequence[SkippedFile]) -> Labelling:
    own_uris, own_rows = set(listing.uris), set(listing.skipped)
    return listing.label_pictures(
        [uri for uri in pictures if uri in own_uris],
        [file for file in skipped if file.uri in own_uris or file in own_rows],
    )


def _join_labels(labelling: Labelling, more: _MoreLabels, pictures: Sequence[str], *, own_uris: set[str]) -> Labelling:
    """What is said of the pictures in both; one that has a label already gets no other, and none where they differ."""
    records, usable = {record.uri: record for record in labelling.records}, set(pictures)
    classes = {label for record in labelling.records for label in record.labels}.union(labelling.class_names)
    contradicted, repeated = list[str](), 0
    for uri, record in more.records.items():
        if uri in usable and uri not in records:
            records[uri] = record
        elif uri in usable and set(records[uri].labels) != set(record.labels):
            contradicted.append(uri)
        else:
            repeated += uri in usable
    added = [record for uri, record in more.records.items() if records.get(uri) is record]
    for uri in contradicted:
        del records[uri]
    detail = f"`{more.source.name}` gives it another label than DATA"
    left_out = [file for file in labelling.skipped if file.uri not in records]
    return replace(
        labelling,
        records=[records[uri] for uri in pictures if uri in records],
        unlabelled=[
            *(uri for uri in labelling.unlabelled if uri not in records),
            *(uri for uri in more.unlabelled if uri in usable and uri not in own_uris),
        ],
        added=frozenset(record.uri for record in added),
        skipped=left_out + [SkippedFile(uri=uri, reason="two_labels", detail=detail) for uri in contradicted],
        notes=[*labelling.notes, *_format_notes(labelling, more, added, classes, repeated, len(contradicted))],
    )


def _format_notes(
    labelling: Labelling, more: _MoreLabels, added: list[Record], classes: set[str], repeated: int, contradicted: int
) -> list[str]:
    parts = [f"{format_count(len(added), 'more labelled picture')} of `{format_printable(more.source.name)}`"]
    parts += [f"{format_count(len(more.unlabelled), 'row')} without a label"] if more.unlabelled else []
    parts += [f"{repeated:,} that DATA has already"] if repeated else []
    parts += [f"{contradicted:,} of another label than in DATA, not used"] if contradicted else []
    counts = Counter(label for record in added for label in record.labels if label not in classes | {""})
    if counts and not TASKS[labelling.task].has_classes | TASKS[labelling.task].has_labels:
        counts.clear()
    new = f"labels that DATA does not have: {format_names(f'{name} ({n:,})' for name, n in counts.items())}"
    return [", ".join(parts), *([new] if counts else [])]


def keep_earlier_test(labelling: Labelling, digests: Mapping[str, str], run: str) -> Labelling:
    """Records with the splits of an earlier run, by the digests of uris; new pictures and those of `--more` have none.

    Raises:
        DataError: It is no run with splits, or none of the pictures that judged it is here.
    """
    reader, name = RunReader(Path(run).expanduser()), format_printable(Path(run).name)
    splits, earlier = reader.read(Splits), reader.read(Dataset).digests
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    split_of = {earlier[row]: part for part, rows in parts.items() for row in rows.tolist()}
    judging = {digest for digest, part in split_of.items() if part != "train"}
    if not judging:
        note = f"no picture was held out in `{name}`: splits are drawn anew"
        return replace(labelling, notes=[*labelling.notes, note])
    own_records = [record for record in labelling.records if record.uri not in labelling.added]
    gone = len(judging - {digests[record.uri] for record in own_records})
    if gone == len(judging):
        message = f"none of the {gone:,} pictures that judged `{name}` is among these"
        raise DataError(message, where=format_flag("test_of"), hint="name a run of the same pictures")
    splits_of_uris = {record.uri: split_of.get(digests[record.uri], record.split) for record in own_records}
    records = [record._replace(split=splits_of_uris.get(record.uri, "")) for record in labelling.records]
    note = f"the pictures that judged `{name}` judge again" + (f"; {gone:,} of them are gone" if gone else "")
    return replace(labelling, records=records, notes=[*labelling.notes, note])
