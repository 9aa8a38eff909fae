"""A folder of pictures -> a `Dataset` in which every file on disk is accounted for: used, or excused with a reason.

The folder is walked in the order of its bytes, every file is hashed and decoded once at reduced scale in parallel
(facts come from the cache when the same bytes were seen before), and its folders tell class and given split.
`read/files.csv` in the run folder lists every file.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.console import format_duration
from headstart.core.errors import DataError, format_nearest
from headstart.core.settings import count_threads
from headstart.core.storage.files import format_printable, write_text
from headstart.core.storage.hashing import compute_digest
from headstart.core.storage.serialization import save_value
from headstart.core.types import Dataset, DatasetFacts, SkippedFile
from headstart.data.reading.file_inspection import FileInspection, FileInspector, suffix
from headstart.data.reading.file_walk import Walked, walk
from headstart.data.reading.folder_layout import Layout, layout
from headstart.images.descriptors import from_row

if TYPE_CHECKING:
    from headstart.core.run.context import Context

_FORM = "give the folder that holds one sub-folder a class, or train/ val/ test/ above them"


def read_dataset(folder: Path | str, *, ctx: Context) -> Dataset:
    """Read a folder.

    Args:
        folder: One sub-folder a class, or `train/` `val/` `test/` above them.
        ctx: Run folder, store and output.

    Raises:
        DataError: It cannot be read, has no pictures, or has fewer than two classes with pictures.
    """
    started = time.monotonic()
    root = require_folder(Path(folder))
    walked = walk(root, frozenset({os.path.realpath(ctx.run.path), os.path.realpath(ctx.store.root)}))
    with ctx.console.show_progress("read", len(walked.uris), "files") as progress:
        answers = list(FileInspector(root, ctx.store).look(walked.uris, count_threads(), progress))
    data = _dataset(root, walked, answers)
    save_value(data, ctx.make_step_folder("read"))
    write_text(ctx.make_step_folder("read") / "files.csv", _table(data))
    ctx.console.print_line("read", f"{_summary(data)}, {format_duration(time.monotonic() - started)}")
    return data


def require_folder(folder: Path) -> str:
    """The folder's absolute path.

    Raises:
        DataError: It is not there, is a file, or cannot be listed.
    """
    path = Path(os.path.abspath(folder.expanduser()))  # noqa: PTH100 - links stay as they are given
    try:
        if not path.exists():
            beside = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
            what = f"there is no folder `{format_printable(str(folder))}`"
            raise DataError(what, where=format_printable(str(path)), hint=format_nearest(path.name, beside) or _FORM)
        if not path.is_dir():
            what = f"`{format_printable(str(folder))}` is a file, not a folder"
            raise DataError(what, where=format_printable(str(path)), hint=_FORM)
        os.scandir(path).close()
    except OSError as err:
        what = f"the folder `{format_printable(str(folder))}` cannot be listed: {err.strerror}"
        raise DataError(what, where=format_printable(str(path))) from err
    return str(path)


def _dataset(root: str, walked: Walked, answers: list[FileInspection | SkippedFile]) -> Dataset:
    pictures = [one for one in answers if isinstance(one, FileInspection)]
    plan = layout(one.uri for one in pictures)
    excused = walked.excused + [one for one in answers if isinstance(one, SkippedFile)]
    excused += [_outside(one.uri, plan) for one in pictures if plan.place(one.uri) is None]
    used = [(one, place) for one in pictures if (place := plan.place(one.uri)) is not None]
    names = plan.classes([one.uri for one, _ in used], excused, walked.folders)
    _require_classes(root, walked, answers, [place[1] for _, place in used])
    assert len(used) + len(excused) == len(walked.uris) + len(walked.excused), "a file is not accounted for"
    number = {name: i for i, name in enumerate(names)}
    targets = np.array([number[name] for _, (_, name) in used], dtype=np.int64)
    uris, digests = tuple(one.uri for one, _ in used), tuple(one.digest for one, _ in used)
    split = tuple(word for _, (word, _) in used)
    return Dataset(
        name=os.path.basename(os.path.realpath(root)),  # noqa: PTH119
        root=root,
        modality="image",
        task="classification",
        uris=uris,
        digests=digests,
        targets=targets,
        split=split,
        class_names=names,
        facts=_facts([one for one, _ in used]),
        excused=tuple(sorted(excused, key=lambda one: os.fsencode(one.uri))),
        digest=compute_digest([uris, digests, targets.tolist(), split, names]),
    )


def _outside(uri: str, plan: Layout) -> SkippedFile:
    where = "in a class folder below train/, val/ or test/" if plan.splits else "in a class folder"
    return SkippedFile(uri=uri, reason="outside_a_class", detail=f"the picture does not lie {where}")


def _facts(pictures: Sequence[FileInspection]) -> DatasetFacts:
    told = [from_row(one.row) for one in pictures]
    return DatasetFacts(
        width_px=np.array([one.width_px for one in told], dtype=np.int32),
        height_px=np.array([one.height_px for one in told], dtype=np.int32),
        file_bytes=np.array([one.file_bytes for one in pictures], dtype=np.int64),
        phash=np.array([one.phash for one in told], dtype=np.uint64),
        histogram=np.stack([one.histogram for one in told]),
        grey_std=np.array([one.grey_std for one in told], dtype=np.float32),
        notes=tuple(one.note for one in told),
    )


# ---------------------------------------------------------------- what is missing


def _require_classes(
    root: str, walked: Walked, answers: Sequence[FileInspection | SkippedFile], classes: Sequence[str]
) -> None:
    pictures = sum(isinstance(one, FileInspection) for one in answers)
    if not pictures:
        raise DataError(
            f"there is no usable picture in `{format_printable(root)}`: {_there(walked, answers)}",
            where=format_printable(root),
            hint=_FORM,
        )
    if not classes:
        what = (
            f"all {pictures:,} pictures lie directly in `{format_printable(root)}`, none in a sub-folder named "
            "for its class"
        )
        raise DataError(what, where=format_printable(root), hint=_FORM)
    if len(set(classes)) < 2:
        what = f"only one class has usable pictures: `{format_printable(classes[0])}` with {len(classes):,}"
        raise DataError(
            f"{what}; {_there(walked, answers)}", where=format_printable(root), hint=f"at least two are needed; {_FORM}"
        )


def _there(walked: Walked, answers: Sequence[FileInspection | SkippedFile]) -> str:
    """What a folder holds, for someone who gave the wrong one."""
    suffixes = Counter(suffix(uri) or "without a suffix" for uri in walked.uris)
    files = ", ".join(
        f"{n:,} {format_printable(name)}" for name, n in sorted(suffixes.items(), key=lambda x: (-x[1], x[0]))[:6]
    )
    reasons = Counter(one.reason for one in (*walked.excused, *answers) if isinstance(one, SkippedFile))
    why = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in reasons.most_common())
    top = [format_printable(name) for name in walked.folders if "/" not in name]
    more = f" and {len(top) - 8:,} more" if len(top) > 8 else ""
    folders = f"{len(top):,} sub-folders ({', '.join(top[:8])}{more})" if top else "no sub-folders"
    return f"it holds {f'files: {files}' if files else 'no files'}; {folders}" + (f"; {why}" if why else "")


# ---------------------------------------------------------------- what is told


def _summary(data: Dataset) -> str:
    filled = len(set(data.targets.tolist()))
    empty = len(data.class_names) - filled
    parts = [f"{len(data.uris):,} pictures in {filled:,} classes" + (f" ({empty:,} more without any)" if empty else "")]
    if any(data.split):
        counts = Counter(data.split)
        parts.append("given splits " + ", ".join(f"{word} {counts[word]:,}" for word in ("train", "val", "test")))
    if data.excused:
        reasons = Counter(one.reason for one in data.excused).most_common()
        why = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in reasons)
        parts.append(f"{len(data.excused):,} {'file' if len(data.excused) == 1 else 'files'} excused ({why})")
    return ", ".join(parts)


def _table(data: Dataset) -> str:
    """Every file on disk as CSV, sorted by name."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["file", "use", "class", "split", "width_px", "height_px", "bytes", "sha256", "note"])
    facts = data.facts
    measures = zip(facts.width_px, facts.height_px, facts.file_bytes, data.digests, facts.notes, strict=True)
    classes = (data.class_names[target] for target in data.targets.tolist())
    rows: list[tuple[Any, ...]] = [
        (uri, "used", name, split, *measured)
        for uri, name, split, measured in zip(data.uris, classes, data.split, measures, strict=True)
    ]
    rows += [(one.uri, one.reason, "", "", "", "", "", "", one.detail) for one in data.excused]
    rows.sort(key=lambda row: os.fsencode(row[0]))
    table.writerows(rows)
    return out.getvalue()
