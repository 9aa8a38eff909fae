"""Labelled pictures -> a `Dataset` in which every file, or row, is accounted for: used, or skipped with a reason.

A reader lists the files and says what is known of each. Every file is hashed, and decoded once at reduced scale unless
its facts are cached. `read/files.csv` in the run folder lists every file.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.console import format_duration
from headstart.core.errors import DataError, UsageError
from headstart.core.job import write_picture_root
from headstart.core.picture_settings import parse_window
from headstart.core.run.reader import RunReader
from headstart.core.settings import count_threads
from headstart.core.storage.csv_tables import format_csv
from headstart.core.storage.files import format_printable, write_bytes
from headstart.core.storage.hashing import compute_digest
from headstart.core.storage.locations import forget_versions
from headstart.core.storage.serialization import save_value
from headstart.core.types import OWN_RANGES, Dataset, DatasetFacts, PictureReading, PixelRanges, SkippedFile
from headstart.data.reading import band_reading
from headstart.data.reading.file_inspection import FileInspection, FileInspector
from headstart.data.reading.label_texts import SEPARATOR
from headstart.data.reading.records import Labelling, Listing, Record, find_reader, sort_by_bytes
from headstart.data.reading.scenes import find_scenes
from headstart.data.reading.targets import describe_targets, make_targets
from headstart.images.descriptors import ImageDescriptors, format_ranges, from_row, measure_ranges, read_band_count

if TYPE_CHECKING:
    from headstart.core.run.context import Context


def read_dataset(location: Path | str, *, ctx: Context) -> Dataset:
    """Read a labelled set of pictures, in whatever form one of the `readers` recognises.

    Raises:
        DataError: It cannot be read, has no pictures, has fewer than two classes with pictures, or could be read
            as splits or as classes.
    """
    data = read_pictures(location, ctx=ctx)
    require_same_pictures(data, ctx=ctx)
    save_value(replace(data, root=data.name), ctx.make_step_folder("read"))
    write_bytes(ctx.make_step_folder("read") / "files.csv", _format_table(data))
    return data


def require_same_pictures(data: Dataset, *, ctx: Context) -> None:
    """Refuse to go on with a run whose pictures have changed, by a DataError that counts the changes."""
    reader = RunReader(ctx.run.path)
    if ctx.run.find_decision("data") in (None, data.digest) or (earlier := reader.find(Dataset)) is None:
        return
    before, now = (dict(zip(each.uris, each.digests, strict=True)) for each in (earlier, data))
    counts = {
        "new": len(now.keys() - before.keys()),
        "gone": len(before.keys() - now.keys()),
        "of other content": sum(now[uri] != before[uri] for uri in now.keys() & before.keys()),
    }
    changes = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count) or "other splits or classes"
    what = f"the pictures in `{ctx.job.data}` changed since the run `{ctx.run.path}` began: {changes}"
    hint = "`--out` with another folder keeps this run, `--again` does it anew; what is unchanged comes from the cache"
    raise DataError(what, hint=hint)


def read_pictures(location: Path | str, *, ctx: Context) -> Dataset:
    """The same without a trace in the run folder."""
    started = time.monotonic()
    leave_out = frozenset({os.path.realpath(ctx.run.path), os.path.realpath(ctx.store.root)})
    forget_versions()
    listing = find_reader(str(location)).list_pictures(str(location), ctx.job, leave_out)
    write_picture_root(listing.root, ctx.run.path)
    rules = PixelRanges(window=parse_window(ctx.job.window), slice=ctx.job.slice, bands=ctx.job.chosen_bands)
    inspector = FileInspector(listing.root, ctx.store, rules)
    with ctx.console.show_progress("read", len(listing.uris), "files") as progress:
        answers = list(inspector.inspect_files(listing.uris, count_threads(), progress))
    labelling = _label_pictures(listing, answers)
    of_one_count, ranges = _read_bands_alike(listing.root, labelling, answers, ctx)
    if of_one_count is not answers:
        labelling, answers = _label_pictures(listing, of_one_count), of_one_count
    if not ranges.n_bands:
        answers, ranges = _scale_alike(listing.root, labelling, answers, rules, ctx)
        if ranges != rules:
            labelling = _label_pictures(listing, answers)  # a picture may have vanished meanwhile
    labelling = _group_by_scene(listing.root, labelling, ctx)
    if ctx.job.task != "auto":
        labelling.task = ctx.job.task
    data = replace(_build_dataset(listing, labelling, answers), reading=_make_reading(ctx.job.resize, ranges))
    summary = _format_summary(data, labelling.split_names)
    ctx.console.print_line("read", f"{summary}, {format_duration(time.monotonic() - started)}")
    for note in [*labelling.notes, *describe_targets(data.targets, data.task, data.output_names[0])]:
        ctx.console.print_line("read", note)
    if ranges.precise and not ranges.n_bands:
        ctx.console.print_line("read", f"values beyond 8 bits a channel, none lost: {format_ranges(ranges)}")
    if data.groups and not any(record.group for record in labelling.records):
        ctx.console.print_line("read", _format_own_groups(data))
    return data


def _label_pictures(listing: Listing, answers: Sequence[FileInspection | SkippedFile]) -> Labelling:
    pictures = [answer.uri for answer in answers if isinstance(answer, FileInspection)]
    skipped = [answer for answer in answers if isinstance(answer, SkippedFile)]
    return listing.label_pictures(pictures, listing.skipped + skipped)


def _group_by_scene(root: str, labelling: Labelling, ctx: Context) -> Labelling:
    """GeoTIFF pictures without groups of their own are grouped by where they lie on the ground."""
    if any(record.group for record in labelling.records):
        return labelling
    scenes = find_scenes(root, [record.uri for record in labelling.records])
    if scenes is None:
        return labelling
    ctx.console.print_line("read", scenes.reason)
    pairs = zip(labelling.records, scenes.groups, strict=True)
    return replace(labelling, records=[record._replace(group=group) for record, group in pairs])


def _make_reading(resize: str, ranges: PixelRanges) -> PictureReading:
    if resize == "auto":
        return PictureReading(ranges=ranges)
    return PictureReading(resize=resize, reason="as asked for", ranges=ranges)


def _read_bands_alike(
    root: str, labelling: Labelling, answers: list[FileInspection | SkippedFile], ctx: Context
) -> tuple[list[FileInspection | SkippedFile], PixelRanges]:
    """Pictures of many bands are described anew in the bands and ranges of the set; other counts are skipped."""
    rows = {answer.uri: answer.row for answer in answers if isinstance(answer, FileInspection)}
    counts = {uri: read_band_count(row) for uri, row in rows.items()}
    if not any(counts.values()) and not ctx.job.chosen_bands:
        return answers, OWN_RANGES
    n_bands = band_reading.find_band_count({record.uri: counts[record.uri] for record in labelling.records})
    again: dict[str, FileInspection | SkippedFile] = {
        file.uri: file for file in band_reading.skip_other_counts(counts, n_bands)
    }
    ranges = OWN_RANGES
    if n_bands:
        uris = [uri for uri, count in counts.items() if count == n_bands]
        measured = [r.uri for r in labelling.records if r.split != "test" and counts[r.uri] == n_bands]
        ranges = band_reading.choose_bands(root, measured or uris, n_bands, ctx.job.chosen_bands, ctx.console)
        with ctx.console.show_progress("read", len(uris), "files") as progress:
            inspections = FileInspector(root, ctx.store, ranges).inspect_files(uris, count_threads(), progress)
            again |= {answer.uri: answer for answer in inspections}
    elif ctx.job.chosen_bands:
        raise UsageError("the pictures are grey or colour: there are no bands to choose", where="--bands")
    return [again.get(answer.uri, answer) for answer in answers], ranges


def _scale_alike(
    root: str, labelling: Labelling, answers: list[FileInspection | SkippedFile], rules: PixelRanges, ctx: Context
) -> tuple[list[FileInspection | SkippedFile], PixelRanges]:
    """Pictures beyond 8 bits a channel get one range, measured on all of them, and are described anew in it."""
    labelled = {record.uri for record in labelling.records}
    pictures = [answer for answer in answers if isinstance(answer, FileInspection) and answer.uri in labelled]
    facts = {picture.uri: from_row(picture.row) for picture in pictures}
    deep = {uri for uri, fact in facts.items() if fact.value_range}
    ranges = measure_ranges(list(facts.values()), rules)
    if not deep:
        return answers, ranges
    with ctx.console.show_progress("read", len(deep), "files") as progress:
        inspections = FileInspector(root, ctx.store, ranges).inspect_files(sorted(deep), count_threads(), progress)
        again = {answer.uri: answer for answer in inspections}
    return [again.get(answer.uri, answer) for answer in answers], ranges


def _build_dataset(listing: Listing, labelling: Labelling, answers: Sequence[FileInspection | SkippedFile]) -> Dataset:
    pictures = {answer.uri: answer for answer in answers if isinstance(answer, FileInspection)}
    skipped = [*listing.skipped, *(answer for answer in answers if isinstance(answer, SkippedFile)), *labelling.skipped]
    used = [pictures[record.uri] for record in labelling.records]
    entries = len(used) + len(skipped) + len(labelling.unlabelled)
    assert entries == len(listing.uris) + len(listing.skipped), "a file is not accounted for"
    uris, digests = tuple(picture.uri for picture in used), tuple(picture.digest for picture in used)
    targets, names = make_targets(labelling)
    split = tuple(record.split for record in labelling.records)
    facts = [from_row(picture.row) for picture in used]
    of_records = _gather_columns(labelling.records, facts)
    return Dataset(
        name=listing.name,
        root=listing.root,
        modality="image",
        task=labelling.task,
        target_name="" if names else labelling.target_name or listing.name,
        uris=uris,
        digests=digests,
        targets=targets,
        split=split,
        class_names=names,
        facts=_gather_facts(used, facts),
        excused=tuple(sorted(skipped, key=lambda file: os.fsencode(file.uri))),
        digest=compute_dataset_digest(uris, digests, targets, split, names, **of_records),
        unlabelled=tuple(sort_by_bytes(labelling.unlabelled)),
        **of_records,
    )


def _gather_columns(records: Sequence[Record], facts: Sequence[ImageDescriptors]) -> dict[str, Any]:
    """Groups, times and weights of the records, where any has one; else the groups that the files themselves tell."""
    groups = tuple(record.group for record in records)
    if not any(groups):
        groups = tuple(f"{fact.group:016x}" if fact.group else "" for fact in facts)
    times, weights = (np.array([getattr(record, name) for record in records]) for name in ("time_s", "weight"))
    return {
        "groups": groups if any(groups) else (),
        "times": times if np.isfinite(times).any() else None,
        "weights": weights / weights.mean() if (weights != weights[0]).any() else None,
    }


def compute_dataset_digest(
    uris: Sequence[str],
    digests: Sequence[str],
    targets: np.ndarray,
    split: Sequence[str],
    class_names: Sequence[str],
    *,
    groups: Sequence[str] = (),
    times: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> str:
    """What a data set is known by: groups, times (N,) and weights (N,) change it only where there are any."""
    values: list[Any] = [uris, digests, targets.tolist(), split, class_names]
    columns: dict[str, Any] = {"groups": list(groups)} if groups else {}
    for name, values_of_rows in (("times", times), ("weights", weights)):
        if values_of_rows is not None:  # a missing time is NaN
            columns[name] = [value if np.isfinite(value) else None for value in values_of_rows.tolist()]
    return compute_digest([*values, columns] if columns else values)


def _format_own_groups(data: Dataset) -> str:
    inside = [group for group in data.groups if group]
    which = "all pictures" if len(inside) == len(data.uris) else f"{len(inside):,} of {len(data.uris):,} pictures"
    return (
        f"{which} are grouped by what their files say: {len(set(inside)):,} patients; each stays on one side of a split"
    )


def _gather_facts(pictures: Sequence[FileInspection], facts: Sequence[ImageDescriptors]) -> DatasetFacts:
    return DatasetFacts(
        width_px=np.array([fact.width_px for fact in facts], dtype=np.int32),
        height_px=np.array([fact.height_px for fact in facts], dtype=np.int32),
        file_bytes=np.array([picture.file_bytes for picture in pictures], dtype=np.int64),
        phash=np.array([fact.phash for fact in facts], dtype=np.uint64),
        histogram=np.stack([fact.histogram for fact in facts]),
        grey_std=np.array([fact.grey_std for fact in facts], dtype=np.float32),
        notes=tuple(fact.note for fact in facts),
    )


def _format_summary(data: Dataset, split_names: Mapping[str, str]) -> str:
    parts = [f"{len(data.uris):,} pictures {_format_targets(data)}"]
    if any(data.split):
        counts = Counter(data.split)
        named = {split: f" (`{format_printable(name)}`)" for split, name in split_names.items() if name != split}
        splits = [f"{split} {counts[split]:,}{named.get(split, '')}" for split in ("train", "val", "test")]
        parts.append(f"given splits {', '.join(splits)}")
    if data.unlabelled:
        parts.append(f"{len(data.unlabelled):,} without a label kept apart")
    if data.excused:
        reasons = Counter(file.reason for file in data.excused).most_common()
        why = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in reasons)
        parts.append(f"{len(data.excused):,} {'file' if len(data.excused) == 1 else 'files'} skipped ({why})")
    return ", ".join(parts)


def _format_targets(data: Dataset) -> str:
    if not data.class_names:
        return f"with a number each, {data.output_names[0]} from {data.targets.min():g} to {data.targets.max():g}"
    if data.learning_task.has_labels:
        counts = data.targets.sum(axis=1)
        blank = f", {int((counts == 0).sum()):,} with none" if not counts.all() else ""
        return f"with any of {len(data.class_names):,} labels, {counts.mean():.2g} a picture{blank}"
    filled = len(set(data.targets.tolist()))
    empty = len(data.class_names) - filled
    return f"in {filled:,} classes" + (f" ({empty:,} more without any)" if empty else "")


def list_labels(data: Dataset) -> list[Any]:
    """What each picture is said to be: its class, its labels with `|` between them, or its number."""
    targets = data.targets.tolist()
    if data.learning_task.has_labels:
        return [SEPARATOR.join(compress(data.class_names, row)) for row in targets]
    return [data.class_names[target] for target in targets] if data.class_names else targets


def _format_table(data: Dataset) -> bytes:
    header = (
        "file",
        "use",
        "labels" if data.learning_task.has_labels else "class" if data.class_names else data.output_names[0],
        "split",
        "width_px",
        "height_px",
        "bytes",
        "sha256",
        "note",
    )
    facts = data.facts
    measures = zip(facts.width_px, facts.height_px, facts.file_bytes, data.digests, facts.notes, strict=True)
    labels = list_labels(data)
    rows: list[tuple[Any, ...]] = [
        (uri, "used", name, split, *measured)
        for uri, name, split, measured in zip(data.uris, labels, data.split, measures, strict=True)
    ]
    rows += [(file.uri, file.reason, "", "", "", "", "", "", file.detail) for file in data.excused]
    rows += [(uri, "unlabelled", "", "", "", "", "", "", "kept apart, not learnt from") for uri in data.unlabelled]
    rows.sort(key=lambda row: os.fsencode(row[0]))
    return format_csv([header, *rows])
