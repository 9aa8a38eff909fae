"""A folder of pictures -> a `Dataset` in which every file on disk is accounted for: used, or skipped with a reason.

Every file is hashed, and decoded once at reduced scale unless its facts are cached; its folders tell class and given
split. `read/files.csv` in the run folder lists every file.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.console import format_duration
from headstart.core.errors import DataError, format_nearest
from headstart.core.run.reader import RunReader
from headstart.core.settings import count_threads
from headstart.core.storage.csv_tables import format_csv
from headstart.core.storage.files import format_printable, write_bytes
from headstart.core.storage.hashing import compute_digest
from headstart.core.storage.serialization import save_value
from headstart.core.types import OWN_RANGES, Dataset, DatasetFacts, PictureReading, PixelRanges, SkippedFile
from headstart.data.reading.file_inspection import FileInspection, FileInspector, lower_suffix
from headstart.data.reading.file_walk import FolderListing, list_files
from headstart.data.reading.folder_layout import FolderLayout, detect_layout
from headstart.images.descriptors import format_ranges, from_row, measure_ranges

if TYPE_CHECKING:
    from headstart.core.run.context import Context

_FORM = "give the folder that holds one sub-folder a class, or train/ val/ test/ above them"


def read_dataset(folder: Path | str, *, ctx: Context) -> Dataset:
    """Read a folder with one sub-folder a class, or `train/` `val/` `test/` above them.

    Raises:
        DataError: It cannot be read, has no pictures, has fewer than two classes with pictures, or could be read
            as splits or as classes.
    """
    data = read_pictures(folder, ctx=ctx)
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


def read_pictures(folder: Path | str, *, ctx: Context) -> Dataset:
    """The same without a trace in the run folder."""
    started = time.monotonic()
    root = require_folder(Path(folder))
    listing = list_files(root, frozenset({os.path.realpath(ctx.run.path), os.path.realpath(ctx.store.root)}))
    with ctx.console.show_progress("read", len(listing.uris), "files") as progress:
        answers = list(FileInspector(root, ctx.store).inspect_files(listing.uris, count_threads(), progress))
    answers, ranges = _scale_alike(root, answers, ctx)
    data = replace(_build_dataset(root, listing, answers), reading=_make_reading(ctx.job.resize, ranges))
    ctx.console.print_line("read", f"{_format_summary(data)}, {format_duration(time.monotonic() - started)}")
    if ranges != OWN_RANGES:
        ctx.console.print_line(
            "read", f"values beyond 8 bits a channel: {format_ranges(ranges)}, in all pictures alike"
        )
    return data


def _make_reading(resize: str, ranges: PixelRanges) -> PictureReading:
    if resize == "auto":
        return PictureReading(ranges=ranges)
    return PictureReading(resize=resize, reason="as asked for", ranges=ranges)


def _scale_alike(
    root: str, answers: list[FileInspection | SkippedFile], ctx: Context
) -> tuple[list[FileInspection | SkippedFile], PixelRanges]:
    """Pictures beyond 8 bits a channel get one range, measured on all of them, and are described anew in it."""
    pictures = [answer for answer in answers if isinstance(answer, FileInspection)]
    layout = detect_layout(picture.uri for picture in pictures)
    facts = {p.uri: from_row(p.row) for p in pictures if layout.find_place(p.uri) is not None}
    deep = {uri for uri, fact in facts.items() if fact.value_range}
    ranges = measure_ranges(list(facts.values()))
    if not deep:
        return answers, ranges
    with ctx.console.show_progress("read", len(deep), "files") as progress:
        inspections = FileInspector(root, ctx.store, ranges).inspect_files(sorted(deep), count_threads(), progress)
        again = {answer.uri: answer for answer in inspections}
    return [again.get(answer.uri, answer) for answer in answers], ranges


def require_folder(folder: Path) -> str:
    """The folder's absolute path; a `DataError` where it is not there, is a file, or cannot be listed."""
    path = Path(os.path.abspath(folder.expanduser()))  # noqa: PTH100 - links stay as they are given
    name, where = format_printable(str(folder)), format_printable(str(path))
    try:
        if not path.exists():
            beside = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
            hint = format_nearest(path.name, beside) or _FORM
            raise DataError(f"there is no folder `{name}`", where=where, hint=hint)
        if not path.is_dir():
            raise DataError(f"`{name}` is a file, not a folder", where=where, hint=_FORM)
        os.scandir(path).close()
    except OSError as err:
        raise DataError(f"the folder `{name}` cannot be listed: {err.strerror}", where=where) from err
    return str(path)


def _build_dataset(root: str, listing: FolderListing, answers: list[FileInspection | SkippedFile]) -> Dataset:
    pictures = [answer for answer in answers if isinstance(answer, FileInspection)]
    layout = detect_layout(picture.uri for picture in pictures)
    skipped = listing.skipped + [answer for answer in answers if isinstance(answer, SkippedFile)]
    skipped += [_skip_outside(picture.uri, layout) for picture in pictures if layout.find_place(picture.uri) is None]
    placed = [(picture, place) for picture in pictures if (place := layout.find_place(picture.uri)) is not None]
    used, split, classes = [p for p, _ in placed], [part for _, (part, _) in placed], [name for _, (_, name) in placed]
    uris, digests = tuple(picture.uri for picture in used), tuple(picture.digest for picture in used)
    names = layout.list_classes(uris, skipped, listing.folders)
    _require_classes(root, listing, answers, classes)
    assert len(used) + len(skipped) == len(listing.uris) + len(listing.skipped), "a file is not accounted for"
    positions = {name: position for position, name in enumerate(names)}
    targets = np.array([positions[name] for name in classes], dtype=np.int64)
    return Dataset(
        name=os.path.basename(os.path.realpath(root)),  # noqa: PTH119
        root=root,
        modality="image",
        task="classification",
        uris=uris,
        digests=digests,
        targets=targets,
        split=tuple(split),
        class_names=names,
        facts=_gather_facts(used),
        excused=tuple(sorted(skipped, key=lambda file: os.fsencode(file.uri))),
        digest=compute_dataset_digest(uris, digests, targets, split, names),
    )


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
    columns = {"groups": list(groups)} if groups else {}
    columns |= {n: v.tolist() for n, v in (("times", times), ("weights", weights)) if v is not None}
    return compute_digest([*values, columns] if columns else values)


def _skip_outside(uri: str, layout: FolderLayout) -> SkippedFile:
    place = "in a class folder below train/, val/ or test/" if layout.splits else "in a class folder"
    return SkippedFile(uri=uri, reason="outside_a_class", detail=f"the picture does not lie {place}")


def _gather_facts(pictures: Sequence[FileInspection]) -> DatasetFacts:
    facts = [from_row(picture.row) for picture in pictures]
    return DatasetFacts(
        width_px=np.array([fact.width_px for fact in facts], dtype=np.int32),
        height_px=np.array([fact.height_px for fact in facts], dtype=np.int32),
        file_bytes=np.array([picture.file_bytes for picture in pictures], dtype=np.int64),
        phash=np.array([fact.phash for fact in facts], dtype=np.uint64),
        histogram=np.stack([fact.histogram for fact in facts]),
        grey_std=np.array([fact.grey_std for fact in facts], dtype=np.float32),
        notes=tuple(fact.note for fact in facts),
    )


def _require_classes(
    root: str, listing: FolderListing, answers: Sequence[FileInspection | SkippedFile], picture_classes: Sequence[str]
) -> None:
    pictures = sum(isinstance(answer, FileInspection) for answer in answers)
    folder, hint = format_printable(root), _FORM
    if not pictures:
        what = f"there is no usable picture in `{folder}`: {_format_contents(listing, answers)}"
    elif not picture_classes:
        what = f"all {pictures:,} pictures lie directly in `{folder}`, none in a sub-folder named for its class"
    elif len(set(picture_classes)) < 2:
        name, hint = format_printable(picture_classes[0]), f"at least two are needed; {_FORM}"
        what = f"only one class has usable pictures: `{name}` with {len(picture_classes):,}"
        what = f"{what}; {_format_contents(listing, answers)}"
        below = [folder for folder in listing.folders if os.path.dirname(folder) == picture_classes[0]]  # noqa: PTH120
        hint = f"at least two are needed; give `{folder}/{name}` if its sub-folders are classes" if below else hint
    else:
        return
    raise DataError(what, where=folder, hint=hint)


def _format_contents(listing: FolderListing, answers: Sequence[FileInspection | SkippedFile]) -> str:
    suffixes = Counter(lower_suffix(uri) or "without a suffix" for uri in listing.uris)
    files = ", ".join(
        f"{n:,} {format_printable(name)}" for name, n in sorted(suffixes.items(), key=lambda x: (-x[1], x[0]))[:6]
    )
    reasons = Counter(file.reason for file in (*listing.skipped, *answers) if isinstance(file, SkippedFile))
    why = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in reasons.most_common())
    top = [format_printable(name) for name in listing.folders if "/" not in name]
    more = f" and {len(top) - 8:,} more" if len(top) > 8 else ""
    folders = f"{len(top):,} sub-folders ({', '.join(top[:8])}{more})" if top else "no sub-folders"
    return f"it holds {f'files: {files}' if files else 'no files'}; {folders}" + (f"; {why}" if why else "")


def _format_summary(data: Dataset) -> str:
    filled = len(set(data.targets.tolist()))
    empty = len(data.class_names) - filled
    parts = [f"{len(data.uris):,} pictures in {filled:,} classes" + (f" ({empty:,} more without any)" if empty else "")]
    if any(data.split):
        counts = Counter(data.split)
        folders = {split: uri.partition("/")[0] for uri, split in zip(data.uris, data.split, strict=True)}
        named = {split: "" if name == split else f" (`{format_printable(name)}`)" for split, name in folders.items()}
        splits = [f"{split} {counts[split]:,}{named.get(split, '')}" for split in ("train", "val", "test")]
        parts.append(f"given splits {', '.join(splits)}")
    if data.excused:
        reasons = Counter(file.reason for file in data.excused).most_common()
        why = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in reasons)
        parts.append(f"{len(data.excused):,} {'file' if len(data.excused) == 1 else 'files'} skipped ({why})")
    return ", ".join(parts)


def _format_table(data: Dataset) -> bytes:
    header = ("file", "use", "class", "split", "width_px", "height_px", "bytes", "sha256", "note")
    facts = data.facts
    measures = zip(facts.width_px, facts.height_px, facts.file_bytes, data.digests, facts.notes, strict=True)
    classes = (data.class_names[target] for target in data.targets.tolist())
    rows: list[tuple[Any, ...]] = [
        (uri, "used", name, split, *measured)
        for uri, name, split, measured in zip(data.uris, classes, data.split, measures, strict=True)
    ]
    rows += [(file.uri, file.reason, "", "", "", "", "", "", file.detail) for file in data.excused]
    rows.sort(key=lambda row: os.fsencode(row[0]))
    return format_csv([header, *rows])
