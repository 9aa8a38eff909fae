"""Labelled pictures -> a `Dataset` in which every file, or row, is accounted for: used, or skipped with a reason.

A reader lists the files and says what is known of each. Every file is hashed, and decoded once at reduced scale unless
its facts are cached. `read/files.csv` in the run folder lists every file.
"""

from __future__ import annotations

import heapq
import os
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from headstart.core.console import format_duration
from headstart.core.errors import DataError, HeadstartError, UsageError
from headstart.core.job import Job, TaskName, format_flag, write_picture_root
from headstart.core.picture_settings import parse_group_pattern, parse_window
from headstart.core.run.folder import PROBLEMS
from headstart.core.run.reader import RunReader
from headstart.core.storage.csv_tables import format_csv
from headstart.core.storage.files import format_printable, write_bytes
from headstart.core.storage.hashing import compute_digest
from headstart.core.storage.locations import forget_versions
from headstart.core.storage.serialization import save_value
from headstart.core.types import OWN_RANGES, TASKS, UNLABELLED, Dataset, PictureReading, PixelRanges, SkippedFile
from headstart.data.fix_list import exclude_files, read_fix_list
from headstart.data.reading import band_reading
from headstart.data.reading.annotations import SHOWN
from headstart.data.reading.file_inspection import FileInspector, Inspections
from headstart.data.reading.label_texts import SEPARATOR
from headstart.data.reading.more_labels import add_pictures, keep_earlier_test
from headstart.data.reading.records import Labelling, Listing, Record, find_reader, list_pictures, sort_by_bytes
from headstart.data.reading.scenes import find_scenes
from headstart.data.reading.targets import describe_targets, make_targets
from headstart.images.descriptors import (
    find_deep,
    format_ranges,
    from_row,
    has_notes,
    measure_ranges,
    read_band_counts,
    read_columns,
)
from headstart.images.medical_picture import SETTINGS

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
    """Refuse to go on with a run whose pictures have changed since it drew splits: a DataError counts the changes."""
    require_unchanged(data, RunReader(ctx.run.path).find(Dataset), "data", ctx=ctx)


def require_unchanged(data: Dataset, earlier: Dataset | None, setting: str, *, ctx: Context) -> None:
    """The same of the pictures of a setting, `data` or `unlabeled`; `earlier` are those that the run has of it."""
    if ctx.run.find_decision(setting) in (None, data.digest) or earlier is None:
        return
    place = format_printable(getattr(ctx.job, setting))
    if not (ctx.run.path / "splits").is_dir():  # it was looked at, no more: begun anew
        what = f"the pictures in `{place}` changed since `{ctx.run.path}` was begun: it begins anew"
        ctx.console.print_line("read", what)
        ctx.run.forget_decisions()
        return
    before, now = (dict(zip(each.uris, each.digests, strict=True)) for each in (earlier, data))
    counts = {
        "new": len(now.keys() - before.keys()),
        "gone": len(before.keys() - now.keys()),
        "of other content": sum(now[uri] != before[uri] for uri in now.keys() & before.keys()),
    }
    changes = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count) or "other labels or splits"
    what = f"the pictures in `{place}` changed since the run `{ctx.run.path}` began: {changes}"
    hint = "`--out` with another folder keeps this run, `--again` does it anew; what is unchanged comes from the cache"
    raise DataError(what, hint=hint)


def read_pictures(location: Path | str, *, ctx: Context) -> Dataset:
    """The same without a trace in the run folder; refused for more problems than are told, it gets a list of them."""
    path = ctx.run.path / PROBLEMS
    path.unlink(missing_ok=True)
    try:
        return _read_pictures(location, ctx)
    except HeadstartError as err:
        if err.problems:
            for uri, reason, detail in err.problems[:SHOWN]:
                name = format_printable(uri)
                ctx.console.print_line("read", f"{reason.replace('_', ' ')}: `{name}`: {format_printable(detail)}")
        if len(err.problems) > SHOWN:
            write_bytes(path, format_csv([("file", "reason", "detail"), *err.problems]))
            count = f"`{path}` lists all {len(err.problems):,}"
            err.hint = f"{err.hint}; {count}" if err.hint else count
        raise


def read_unlabelled(location: str, *, ctx: Context) -> tuple[Dataset, dict[str, tuple[str, ...]]]:
    """All pictures of a location without regard to classes, and the labels that a table gives some, by uri.

    Raises:
        DataError: It cannot be read, or has no usable picture.
    """
    started, job = time.monotonic(), replace(ctx.job, task=cast(TaskName, UNLABELLED.name))
    listing = find_reader(location).list_pictures(location, job, _list_own_folders(ctx))
    data = _read_listing(listing, replace(ctx, job=job), started)
    records = listing.label_pictures(data.uris, ()).records
    return data, {record.uri: record.labels for record in records if record.labels}


def _list_own_folders(ctx: Context) -> frozenset[str]:
    return frozenset({os.path.realpath(ctx.run.path), os.path.realpath(ctx.store.root)})


def _read_pictures(location: Path | str, ctx: Context) -> Dataset:
    started = time.monotonic()
    forget_versions()
    listing = list_pictures(str(location), ctx.job, _list_own_folders(ctx), needs_labels=not ctx.only_audits)
    if ctx.job.more:
        listing = add_pictures(listing, ctx.job)
    if ctx.job.exclude:
        ctx.console.print_line("read", exclude_files(listing, read_fix_list(Path(ctx.job.exclude))))
    write_picture_root(listing.root, ctx.run.path)
    return _read_listing(listing, ctx, started)


def _read_listing(listing: Listing, ctx: Context, started: float) -> Dataset:
    rules = PixelRanges(window=parse_window(ctx.job.window), slice=ctx.job.slice, bands=ctx.job.chosen_bands)
    inspector = FileInspector(listing.root, ctx.store, rules)
    inspected = inspector.inspect_all(listing.uris, ctx.console)
    labelling = _label_pictures(listing, inspected)
    if not labelling.records:  # a reader that needs no label has nothing against it
        raise DataError(
            f"there is no usable picture in `{format_printable(listing.name)}`: {_format_reasons(inspected.skipped)}",
            where=format_printable(listing.root),
            hint="give a folder or an archive of pictures, or a table of their paths",
        )
    _require_useful_settings(ctx.job, inspector.settings)
    count = len(inspected.uris)
    ranges = _read_bands_alike(listing.root, labelling, inspected, ctx)
    if not ranges.n_bands:
        ranges = _scale_alike(listing.root, labelling, inspected, rules, ctx)
    if len(inspected.uris) < count:  # of other bands, or a picture has vanished meanwhile
        labelling = _label_pictures(listing, inspected)
    pattern = parse_group_pattern(ctx.job.group)
    labelling = _group_by_name(labelling, pattern, ctx) if pattern else _group_by_scene(listing.root, labelling, ctx)
    if ctx.job.test_of:
        digests = dict(zip(inspected.uris, inspected.digests, strict=True))
        labelling = keep_earlier_test(labelling, digests, ctx.job.test_of)
    if ctx.job.task != "auto" and TASKS[labelling.task].is_learnt:
        labelling.task, labelling.order = ctx.job.task, ctx.job.order
    data = replace(_build_dataset(listing, labelling, inspected), reading=_make_reading(ctx.job.resize, ranges))
    summary = _format_summary(data, labelling.split_names, is_new_domain=ctx.job.task == UNLABELLED.name)
    ctx.console.print_line("read", f"{summary}, {format_duration(time.monotonic() - started)}")
    for note in [*labelling.notes, *describe_targets(data.targets, data.task, data.output_names)]:
        ctx.console.print_line("read", note)
    if ranges.precise and not ranges.n_bands:
        ctx.console.print_line("read", f"values beyond 8 bits a channel, none lost: {format_ranges(ranges)}")
    if data.groups and not any(record.group for record in labelling.records):
        ctx.console.print_line("read", _format_own_groups(data))
    return data


def _label_pictures(listing: Listing, inspected: Inspections) -> Labelling:
    return listing.label_pictures(inspected.uris, listing.skipped + inspected.skipped)


def _require_useful_settings(job: Job, settings: Collection[str]) -> None:
    """Refuse what no format among the pictures looks at; `settings` are those that one does."""
    flags = [format_flag(name) for name in sorted(SETTINGS) if getattr(job, name) and name not in settings]
    if flags:
        sentence = f"{' and '.join(flags)} would do nothing: no picture is DICOM or NIfTI"
        raise UsageError(sentence, where=flags[0], hint=f"leave out {' and '.join(flags)}")


def _group_by_name(labelling: Labelling, pattern: re.Pattern[str], ctx: Context) -> Labelling:
    """What the first bracket of `pattern` finds in each path is its group."""
    matches = [pattern.search(record.uri) for record in labelling.records]
    groups = [(match[1] or "") if match else "" for match in matches]
    if not any(groups):
        first = f"`{format_printable(labelling.records[0].uri)}`"
        raise UsageError(f"`{ctx.job.group}` finds a group in no path, such as {first}", where="--group")
    count = sum(map(bool, groups))
    ctx.console.print_line(
        "read", f"{count:,} of {len(groups):,} pictures are in {len(set(filter(None, groups))):,} groups by their paths"
    )
    pairs = zip(labelling.records, groups, strict=True)
    return replace(labelling, records=[record._replace(group=group) for record, group in pairs])


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


def _read_bands_alike(root: str, labelling: Labelling, inspected: Inspections, ctx: Context) -> PixelRanges:
    """Pictures of many bands are described anew in the bands and ranges of the set; other counts are skipped."""
    counts = read_band_counts(inspected.rows)
    if not counts.any() and ctx.job.bands == "auto":
        return OWN_RANGES
    labelled = _find_positions(labelling.records, inspected)
    n_bands = band_reading.find_band_count(counts[labelled].tolist())
    fits = counts == n_bands
    others = np.flatnonzero(~fits)
    skipped = band_reading.skip_other_counts([inspected.uris[at] for at in others], counts[others].tolist(), n_bands)
    measured = [r.uri for r, at in zip(labelling.records, labelled, strict=True) if r.split != "test" and fits[at]]
    inspected.skipped += skipped
    inspected.take(np.flatnonzero(fits))
    if n_bands:
        uris = measured or inspected.uris
        ranges = band_reading.choose_bands(root, uris, n_bands, ctx.job, ctx.console)
        inspected.update(FileInspector(root, ctx.store, ranges), np.arange(len(inspected.uris)), ctx.console)
        return ranges
    if ctx.job.bands != "auto":
        raise UsageError("the pictures are grey or colour: there are no bands to choose", where="--bands")
    return OWN_RANGES


def _scale_alike(
    root: str, labelling: Labelling, inspected: Inspections, rules: PixelRanges, ctx: Context
) -> PixelRanges:
    """Pictures beyond 8 bits a channel get one range, measured on all of them, and are described anew in it."""
    noted = np.flatnonzero(has_notes(inspected.rows))
    if not len(noted):
        return rules
    labelled = np.zeros(len(inspected.uris), bool)
    labelled[_find_positions(labelling.records, inspected)] = True
    noted = noted[labelled[noted]]
    ranges = measure_ranges((from_row(inspected.rows[at]) for at in noted), rules)
    inspected.update(FileInspector(root, ctx.store, ranges), noted[find_deep(inspected.rows[noted])], ctx.console)
    return ranges


def _find_positions(records: Sequence[Record], inspected: Inspections) -> np.ndarray:
    """(M,) int64: where the pictures of records stand."""
    positions = dict(zip(inspected.uris, range(len(inspected.uris)), strict=True))
    return np.fromiter((positions[record.uri] for record in records), np.int64, len(records))


def _build_dataset(listing: Listing, labelling: Labelling, inspected: Inspections) -> Dataset:
    positions = _find_positions(labelling.records, inspected)
    skipped = [*listing.skipped, *inspected.skipped, *labelling.skipped]
    entries = len(positions) + len(skipped) + len(labelling.unlabelled)
    assert entries == len(listing.uris) + len(listing.skipped), "a file is not accounted for"
    inspected.take(positions)
    uris, digests = tuple(inspected.uris), tuple(inspected.digests)
    targets, names = make_targets(labelling)
    split = tuple(record.split for record in labelling.records)
    facts, own_groups = read_columns(inspected.rows, inspected.file_bytes)
    of_records = _gather_columns(labelling.records, own_groups)
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
        facts=facts,
        excused=tuple(sorted(skipped, key=lambda file: os.fsencode(file.uri))),
        digest=compute_dataset_digest(uris, digests, targets, split, names, **of_records),
        unlabelled=tuple(sort_by_bytes(labelling.unlabelled)),
        **of_records,
    )


def _gather_columns(records: Sequence[Record], own_groups: tuple[str, ...]) -> dict[str, Any]:
    """Groups, times and weights of the records, where any has one; else the groups that the files themselves tell."""
    groups = tuple(record.group for record in records)
    if not any(groups):
        groups = own_groups
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


def _format_summary(data: Dataset, split_names: Mapping[str, str], *, is_new_domain: bool = False) -> str:
    parts = [f"{len(data.uris):,} pictures {'of the new domain' if is_new_domain else _format_targets(data)}"]
    if any(data.split):
        counts = Counter(data.split)
        named = {split: f" (`{format_printable(name)}`)" for split, name in split_names.items() if name != split}
        splits = [f"{split} {counts[split]:,}{named.get(split, '')}" for split in ("train", "val", "test")]
        more = f", {counts['']:,} without" if counts[""] else ""
        parts.append(f"given splits {', '.join(splits)}{more}")
    if data.unlabelled:
        parts.append(f"{len(data.unlabelled):,} without a label kept apart")
    if data.excused:
        files = "file" if len(data.excused) == 1 else "files"
        parts.append(f"{len(data.excused):,} {files} skipped ({_format_reasons(data.excused)})")
    return ", ".join(parts)


def _format_reasons(skipped: Sequence[SkippedFile]) -> str:
    reasons = Counter(file.reason for file in skipped).most_common()
    return ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in reasons) or "it is empty"


def _format_targets(data: Dataset) -> str:
    if not data.learning_task.is_learnt:
        return "without labels: what needs none is checked"
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
    if not data.learning_task.is_learnt:
        return [""] * len(targets)
    if data.learning_task.has_labels:
        return [SEPARATOR.join(compress(data.class_names, row)) for row in targets]
    return [data.class_names[target] for target in targets] if data.class_names else targets


def _format_table(data: Dataset) -> bytes:
    header = (
        "file",
        "use",
        data.output_names[0]
        if data.learning_task.is_number
        else "labels"
        if data.learning_task.has_labels
        else "class",
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
    used = (
        (uri, "used", name, split, *measured)
        for uri, name, split, measured in zip(data.uris, labels, data.split, measures, strict=True)
    )
    excused = ((file.uri, file.reason, "", "", "", "", "", "", file.detail) for file in data.excused)
    unlabelled = ((uri, "unlabelled", "", "", "", "", "", "", "kept apart, not learnt from") for uri in data.unlabelled)
    rows: list[Iterator[tuple[Any, ...]]] = [used, excused, unlabelled]
    merged = heapq.merge(*rows, key=lambda row: os.fsencode(row[0]))
    return format_csv(chain([header], merged))
