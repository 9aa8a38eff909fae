"""A folder with one sub-folder a class, or `train/` `val/` `test/` above them; `unlabeled/` is kept apart."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from headstart.core.errors import DataError, format_nearest
from headstart.core.job import Job
from headstart.core.storage.files import format_printable
from headstart.core.storage.locations import list_location, require_address
from headstart.core.storage.locations.listing import FolderListing
from headstart.core.storage.locations.names import is_archive, is_reachable, is_remote, split_archive
from headstart.core.storage.tables import is_table
from headstart.core.types import UNLABELLED, SkippedFile
from headstart.data.check_base import format_count
from headstart.data.reading.file_inspection import lower_suffix
from headstart.data.reading.folder_layout import FolderLayout, detect_layout, find_split, is_unlabelled
from headstart.data.reading.records import FOLDERS, Labelling, Listing, NoLabelsError, Record

_FORM = "give the folder that holds one sub-folder a class, or train/ val/ test/ above them"
_FORM_UNLABELLED = "give a folder or an archive of pictures, or a table of their paths"


class ClassFolders:
    """Folders tell class and given split."""

    name = FOLDERS
    settings = frozenset[str]()

    def recognises(self, location: str) -> bool:
        """Any folder or archive may be one."""
        return is_reachable(location)

    def require_readable(self, location: str, job: Job) -> None:
        """Refuse what is no folder that can be listed."""
        _require_root(location, job)

    def list_pictures(self, location: str, job: Job, leave_out: frozenset[str]) -> Listing:
        """All files below the folder; their place tells class and split."""
        root = _require_root(location, job)
        listing = list_location(root, leave_out)
        return Listing(
            name=os.path.basename(os.path.realpath(root)),  # noqa: PTH119
            root=root,
            uris=listing.uris,
            skipped=listing.skipped,
            label_pictures=partial(_label_pictures, root, listing, job.task),
        )


def _require_root(location: str, job: Job) -> str:
    """The whole location of a folder, an archive or a bucket; a `HeadstartError` where it cannot be listed."""
    if is_remote(location):
        return require_address(location)
    path = Path(os.path.abspath(Path(location).expanduser()))  # noqa: PTH100 - links stay as they are given
    name, where = format_printable(location), format_printable(str(path))
    form = _FORM_UNLABELLED if job.task == UNLABELLED.name else _FORM
    try:
        if split_archive(str(path)):
            return str(path)
        if not path.exists():
            around = path.parent.iterdir() if path.parent.is_dir() else ()
            hint = format_nearest(path.name, [p.name for p in around if p.is_dir() or _is_file_name(p)]) or form
            kind = "file" if _is_file_name(path) else "folder"
            raise DataError(f"there is no {kind} `{name}`", where=where, hint=hint)
        if not path.is_dir():
            raise DataError(f"`{name}` is a file, not a folder or an archive", where=where, hint=form)
        os.scandir(path).close()
    except OSError as err:
        what, hint = f"the folder `{name}` cannot be listed: {err.strerror}", "let this user read it"
        raise DataError(what, where=where, hint=hint) from err
    return str(path)


def _is_file_name(path: Path) -> bool:
    return is_archive(path.name) or is_table(path)


def _label_pictures(
    root: str, listing: FolderListing, task: str, pictures: Sequence[str], skipped: Sequence[SkippedFile]
) -> Labelling:
    if task == UNLABELLED.name:
        sides = [find_split(uri.partition("/")[0]) or "" if "/" in uri else "" for uri in pictures]
        splits = sides if all(sides) and "train" in sides else [""] * len(sides)
        return Labelling(records=[Record(uri, (), side) for uri, side in zip(pictures, splits, strict=True)], task=task)
    layout = detect_layout(pictures, packed=split_archive(root) is not None)
    places = {uri: place for uri in pictures if (place := layout.find_place(uri)) is not None}
    outside = [_skip_outside(uri, layout) for uri in pictures if uri not in places]
    unlabelled = [uri for uri, (_, class_name) in places.items() if is_unlabelled(class_name)]
    places = {uri: place for uri, place in places.items() if not is_unlabelled(place[1])}
    _require_classes(root, listing, pictures, skipped, [class_name for _, class_name in places.values()])
    return Labelling(
        records=[Record(uri, (class_name,), split) for uri, (split, class_name) in places.items()],
        class_names=tuple(
            name
            for name in layout.list_classes(places, [*skipped, *outside], listing.folders)
            if not is_unlabelled(name)
        ),
        skipped=outside,
        unlabelled=unlabelled,
        split_names={split: uri[len(layout.top) :].partition("/")[0] for uri, (split, _) in places.items() if split},
    )


def _skip_outside(uri: str, layout: FolderLayout) -> SkippedFile:
    place = "in a class folder below train/, val/ or test/" if layout.splits else "in a class folder"
    return SkippedFile(uri=uri, reason="outside_a_class", detail=f"the picture does not lie {place}")


def _require_classes(
    root: str,
    listing: FolderListing,
    pictures: Sequence[str],
    skipped: Sequence[SkippedFile],
    picture_classes: Sequence[str],
) -> None:
    folder, hint, error = format_printable(root), _FORM, DataError
    if not pictures:
        problem = f"there is no usable picture in `{folder}`: {_format_contents(listing, skipped)}"
    elif not picture_classes:
        error = NoLabelsError
        problem = f"all {len(pictures):,} pictures lie directly in `{folder}`, none in a sub-folder named for its class"
    elif len(set(picture_classes)) < 2:
        name, hint = format_printable(picture_classes[0]), f"at least two are needed; {_FORM}"
        problem = f"only one class has usable pictures: `{name}` with {len(picture_classes):,}"
        problem = f"{problem}; {_format_contents(listing, skipped)}"
        below = [folder for folder in listing.folders if os.path.dirname(folder) == picture_classes[0]]  # noqa: PTH120
        hint = f"at least two are needed; give `{folder}/{name}` if its sub-folders are classes" if below else hint
    else:
        return
    raise error(problem, where=folder, hint=hint, problems=[file.cells for file in skipped])


def _format_contents(listing: FolderListing, skipped: Sequence[SkippedFile]) -> str:
    suffixes = Counter(lower_suffix(uri) or "without a suffix" for uri in listing.uris)
    files = ", ".join(
        f"{n:,} {format_printable(name)}" for name, n in sorted(suffixes.items(), key=lambda x: (-x[1], x[0]))[:6]
    )
    reasons = Counter(file.reason for file in skipped)
    why = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in reasons.most_common())
    top = [format_printable(name) for name in listing.folders if "/" not in name]
    more = f" and {len(top) - 8:,} more" if len(top) > 8 else ""
    folders = f"{format_count(len(top), 'sub-folder')} ({', '.join(top[:8])}{more})" if top else "no sub-folders"
    return f"it holds {f'files: {files}' if files else 'no files'}; {folders}" + (f"; {why}" if why else "")


PLUGIN = ClassFolders()
