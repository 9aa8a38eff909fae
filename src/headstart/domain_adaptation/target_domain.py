"""The pictures of the domain that a model is for: read as the labelled ones are, and kept apart from them.

A picture that is among the labelled ones too is left out: it would make the domains look alike. Labels come from the
folder `labelled` (or `labeled`) below the location, with one sub-folder a class, or from the column of a table: one
that is named for them, or as in the table of the labelled pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.errors import DataError, HeadstartError, UsageError, format_nearest
from headstart.core.job import TABLE_SETTINGS, write_picture_root
from headstart.core.run.reader import RunReader
from headstart.core.storage import serialization
from headstart.core.storage.files import format_printable
from headstart.core.storage.locations.names import is_remote, resolve_location, split_archive
from headstart.core.types import UNLABELLED, Dataset, TargetDomain
from headstart.data.check_base import format_count
from headstart.data.groups import can_judge
from headstart.data.reading.folder_layout import is_unlabelled
from headstart.data.reading.label_tables import find_label_column
from headstart.data.reading.read_dataset import compute_dataset_digest, read_unlabelled, require_unchanged
from headstart.data.reading.records import FOLDERS, TABLE, find_reader
from headstart.data.reading.root_search import MissingPicturesError

if TYPE_CHECKING:
    from headstart.core.job import Job
    from headstart.core.run.context import Context

FLAG = "--unlabeled"
LEAST = 30  # target pictures without which no shift can be told
LABELLED_FOLDERS = ("labelled", "labeled")
_SHOWN = 5
_OF_SOURCE = ("exclude", "more", "test_of", "split", "group", "weight", "time")  # settings that speak of DATA alone


def require_target(job: Job) -> None:
    """Refuse a location that cannot hold another domain, before anything starts.

    Raises:
        DataError: It is not there, cannot be read, or is a folder of too few files.
        UsageError: It is the labelled pictures themselves, or a part of them.
    """
    try:
        own_job, reader = _keep_common_settings(job, job.unlabeled), find_reader(job.unlabeled)
        reader.require_readable(job.unlabeled, own_job)
    except HeadstartError as err:
        err.where = FLAG
        raise
    _require_apart(job)
    if reader.name == FOLDERS and not is_remote(job.unlabeled):
        count = len(reader.list_pictures(job.unlabeled, own_job, frozenset()).uris)
        _require_enough(job.unlabeled, count, "files")


def _require_apart(job: Job) -> None:
    """Refuse the folder DATA, and one in it that would be read as a class; of a table the rows tell."""
    place, source = (resolve_location(location) for location in (job.unlabeled, job.data))
    inside = place.removeprefix(f"{source}/").split("/")
    if not f"{place}/".startswith(f"{source}/") or any(map(is_unlabelled, inside)):
        return
    if find_reader(job.data).name == FOLDERS:
        names = [format_printable(location) for location in (job.unlabeled, job.data)]
        place_there = "is the folder of the labelled ones" if place == source else f"lies in `{names[1]}`"
        what = f"`{names[0]}` {place_there}, so that its pictures are read as labelled"
        hint = "name a folder outside, or move its pictures to `unlabeled` in there, which is no class"
        raise UsageError(what, where=FLAG, hint=hint)


def read_target(location: str, source: Dataset, *, ctx: Context) -> TargetDomain:
    """Read the pictures of another domain; of what is left the run keeps names, digests and labels.

    Raises:
        DataError: As of `read_target_pictures`; or the run began with other pictures.
        UsageError: As of `read_target_pictures`.
    """
    domain = read_target_pictures(location, source, ctx=ctx)
    require_same_target(domain, ctx=ctx)
    _print_summary(domain, ctx)
    write_picture_root(domain.pictures.root, ctx.run.path, "unlabeled")
    nameless = replace(domain, pictures=replace(domain.pictures, root=domain.pictures.name))
    serialization.save_value(nameless, ctx.make_step_folder("domains/target"))
    return domain


def require_same_target(domain: TargetDomain, *, ctx: Context) -> None:
    """Refuse to go on with a run whose target has changed since it drew splits: a DataError counts the changes."""
    earlier = RunReader(ctx.run.path).find(TargetDomain)
    require_unchanged(domain.pictures, None if earlier is None else earlier.pictures, "unlabeled", ctx=ctx)


def read_target_pictures(location: str, source: Dataset, *, ctx: Context) -> TargetDomain:
    """Read the pictures of another domain; nothing is written into the run folder.

    Raises:
        DataError: There are too few pictures, all of them are source pictures, labels name unknown classes, or
            pictures lie beside the class folders of `labelled`.
        UsageError: Too few source pictures have a label, or labels are to be learnt and there are none.
    """
    if not can_judge(source):
        what = "there are too few labelled pictures to judge what is adapted"
        raise UsageError(what, where=FLAG, hint="label more")
    pictures, labels_by_uri = _read_pictures(location, ctx)
    labels_by_uri = labels_by_uri or _find_folder_labels(location, pictures)
    labels = _place_labels(pictures.uris, labels_by_uri, source.class_names)
    is_copy = np.isin(np.array(pictures.digests, object), np.array(source.digests, object))
    copies = tuple(uri for uri, copied in zip(pictures.uris, is_copy.tolist(), strict=True) if copied)
    _require_enough(location, len(pictures.uris) - len(copies), "pictures", copies)
    domain = TargetDomain(
        pictures=_select_rows(pictures, np.flatnonzero(~is_copy), labels[~is_copy], source),
        labels=labels[~is_copy],
        copies=copies,
    )
    if ctx.job.target_labels == "learn" and not len(domain.labelled):
        hint = "put some into NEW/labelled/CLASS, or name the column of a table by --target"
        raise UsageError("no picture of the new domain has a label to learn", where="--target-labels", hint=hint)
    return domain


def _read_pictures(location: str, ctx: Context) -> tuple[Dataset, dict[str, tuple[str, ...]]]:
    """The pictures, and labels of a table by uri.

    `--images` is of the labelled table where there is one: paths then start at the new table's own folder, if they can.

    Raises:
        DataError: As of `read_unlabelled`.
    """
    job = _keep_common_settings(ctx.job, location)
    if is_remote(location) or "images" not in find_reader(ctx.job.data).settings:
        return read_unlabelled(location, ctx=replace(ctx, job=job))
    with suppress(MissingPicturesError):
        return read_unlabelled(location, ctx=replace(ctx, job=replace(job, images="")))
    try:
        return read_unlabelled(location, ctx=replace(ctx, job=job))
    except MissingPicturesError as err:  # another `--images` would lead the labelled pictures astray
        table, place = format_printable(location), format_printable(err.elsewhere)
        err.hint = f"write the paths in `{table}` from its own folder on, or whole"
        if place:
            err.hint = f"move `{table}` into `{place}`, where its paths start"
        raise


def _keep_common_settings(job: Job, location: str) -> Job:
    """The job's settings that also speak of the new pictures, as far as their form has them."""
    reader = find_reader(location)
    foreign = {*_OF_SOURCE, *(name for name in TABLE_SETTINGS if name not in reader.settings)}
    changes: dict[str, Any] = {"data": location, "order": (), "task": UNLABELLED.name, **dict.fromkeys(foreign, "")}
    if reader.name == TABLE and not job.target:
        changes["target"] = find_label_column(job.data, job)
    for idle in ((), ("target",), ("path",), ("target", "path")):  # columns that only the table of DATA has
        own_job = replace(job, **(changes | dict.fromkeys(idle, "")))
        with suppress(DataError):
            reader.require_readable(location, own_job)
            return own_job
    return replace(job, **changes)


def _find_folder_labels(location: str, pictures: Dataset) -> dict[str, tuple[str, ...]]:
    """Labels by uri, of the folder `labelled`; raises DataError where pictures lie beside its class folders."""
    top = _find_archive_folder(pictures)
    parts = {uri: uri.removeprefix(top).split("/") for uri in pictures.uris}
    inside = {uri: places for uri, places in parts.items() if len(places) > 1 and places[0].lower() in LABELLED_FOLDERS}
    loose = [uri for uri, places in inside.items() if len(places) == 2]
    if loose and find_reader(location).name == FOLDERS:
        folder, names = loose[0].rpartition("/")[0], ", ".join(f"`{format_printable(uri)}`" for uri in loose[:_SHOWN])
        place = f"`{format_printable(location)}/{folder}`"
        what = f"{format_count(len(loose), 'picture')} directly in {place}, in no folder of a class: {names}"
        hint = f"move each into a folder named for its class, `{folder}/CLASS`, or out of `{folder}`"
        raise DataError(what, where=FLAG, hint=hint)
    return {uri: (places[1],) for uri, places in inside.items() if len(places) > 2}


def _find_archive_folder(pictures: Dataset) -> str:
    """The folder, with `/`, that holds all of an archive, as when a folder was packed; empty where none does."""
    name = pictures.uris[0].partition("/")[0]
    is_whole = split_archive(pictures.root) is not None and all(uri.startswith(f"{name}/") for uri in pictures.uris)
    return f"{name}/" if is_whole and name.lower() not in LABELLED_FOLDERS else ""


def _place_labels(
    uris: Sequence[str], labels_by_uri: Mapping[str, tuple[str, ...]], class_names: Sequence[str]
) -> np.ndarray:
    """(T,) int64 positions in the classes of the source, -1 without a label; a DataError names unknown classes."""
    position = {name: number for number, name in enumerate(class_names)}
    unknown = Counter(
        "|".join(label) for label in labels_by_uri.values() if len(label) != 1 or label[0] not in position
    )
    if unknown:
        names = ", ".join(f"`{format_printable(name)}` ({count:,})" for name, count in unknown.most_common(_SHOWN))
        what = f"labels of the new domain are no classes of the labelled pictures: {names}"
        nearest = format_nearest(next(iter(unknown)), class_names)
        hint = f"{nearest} known: {', '.join(class_names[:20])}; take pictures of other things out".strip()
        raise DataError(what, where=FLAG, hint=hint)
    return np.array([position[labels_by_uri[uri][0]] if uri in labels_by_uri else -1 for uri in uris], np.int64)


def _require_enough(location: str, count: int, kind: str, copies: Sequence[str] = ()) -> None:
    place = format_printable(location)
    if copies and not count:
        what = f"all {len(copies):,} pictures in `{place}` are among the labelled ones"
        raise DataError(what, where=FLAG, hint="give pictures of the domain that the model is for")
    if count < LEAST:
        besides = f", besides {len(copies):,} that are among the labelled ones" if copies else ""
        what = f"`{place}` has {count:,} {kind}{besides}; fewer than {LEAST} pictures tell nothing of a domain"
        raise DataError(what, where=FLAG, hint="give more pictures of it; they need no label")


def _select_rows(pictures: Dataset, rows: np.ndarray, labels: np.ndarray, source: Dataset) -> Dataset:
    """Some of the pictures, as a set of the source's classes that is read as the source is."""
    chosen = rows.tolist()
    uris, digests = (tuple(names[row] for row in chosen) for names in (pictures.uris, pictures.digests))
    split = ("",) * len(chosen)
    facts: dict[str, Any] = {
        name: values[rows] if isinstance(values, np.ndarray) else tuple(values[row] for row in chosen) if values else ()
        for name, values in ((name, getattr(pictures.facts, name)) for name in pictures.facts.__slots__)
    }
    return replace(
        pictures,
        task=source.task,
        uris=uris,
        digests=digests,
        targets=labels,
        split=split,
        class_names=source.class_names,
        facts=type(pictures.facts)(**facts),
        digest=compute_dataset_digest(uris, digests, labels, split, source.class_names),
        reading=source.reading,
        groups=(),
        times=None,
        weights=None,
    )


def _print_summary(domain: TargetDomain, ctx: Context) -> None:
    count, labelled = len(domain.labels), len(domain.labelled)
    use = {"judge": "judge", "learn": "are learnt, and judge by folds"}[ctx.job.target_labels]
    labels = f"{labelled:,} with a label, which {use}" if labelled else "none with a label"
    skipped = f"; {format_count(len(domain.pictures.excused), 'file')} skipped" if domain.pictures.excused else ""
    ctx.console.print_line("target", f"{count:,} pictures of the new domain, {labels}{skipped}")
    if domain.copies:
        names = ", ".join(f"`{format_printable(uri)}`" for uri in domain.copies[:_SHOWN])
        what = f"{len(domain.copies):,} of them are among the labelled pictures and are left out: {names}"
        ctx.console.print_warning(what)
