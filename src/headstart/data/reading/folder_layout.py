"""Which class and which given split a file belongs to, from the folders it lies in.

One sub-folder is a class. Folders named for splits (`train`, `Testing`, `val_set`, …) are given splits when all
top-level folders with pictures have such names and hold class folders of their own. What could be meant either way is
refused: a class must never be learnt that is really a split.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headstart.core.errors import DataError
from headstart.core.storage.files import format_printable
from headstart.core.types import SkippedFile
from headstart.data.reading.records import NoLabelsError
from headstart.images.file_formats import has_picture_suffix

SPLITS = {
    **dict.fromkeys(("train", "training", "trainval", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "tests", "testing", "tst", "holdout", "heldout"), "test"),
}
_TAIL = re.compile(r"(?<=.)(set|data|dataset|split|images|imgs|pictures|photos)$")
UNLABELLED = frozenset({"unlabeled", "unlabelled", "nolabel"})  # folders of pictures without a class
_NO_CLASS = frozenset({"excluded", "hidden", "not_a_picture"})


def find_split(folder_name: str) -> str | None:
    """`train`, `val` or `test` for a folder named for it, in any case, with any separators: `Test_Set`, `TRAINING`."""
    word = re.sub(r"[\W_]+", "", folder_name).lower()
    return SPLITS.get(word) or SPLITS.get(_TAIL.sub("", word))


def is_unlabelled(folder_name: str) -> bool:
    """Whether a folder is named for pictures that nobody labelled."""
    return re.sub(r"[\W_]+", "", folder_name).lower() in UNLABELLED


def find_judged_folder(folder: Path, class_names: Iterable[str]) -> Path:
    """Where a labelled folder holds what a model is judged on: its `test`, else its `val`, else itself."""
    known = set(class_names)
    below = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in known)  # never a class
    for split in ("test", "val"):
        for path in below:
            named = find_split(path.name) == split and not path.name.startswith(".")
            if named and any(class_folder.is_dir() for class_folder in path.iterdir()):
                return path
    return folder


@dataclass(frozen=True, slots=True)
class FolderLayout:
    """Where class folders lie: below `top` (empty, or ends in `/`), or below its `train/` … if `splits`."""

    splits: bool
    top: str = ""

    def find_place(self, uri: str) -> tuple[str, str] | None:
        """Split (empty when none is given) and class of a file; None outside a class."""
        if not uri.startswith(self.top):
            return None
        parts = uri[len(self.top) :].split("/")
        if self.splits:
            split = find_split(parts[0])
            return (split, parts[1]) if split and len(parts) > 2 else None
        return ("", parts[0]) if len(parts) > 1 else None

    def list_classes(
        self, pictures: Iterable[str], skipped: Sequence[SkippedFile], folders: Iterable[str]
    ) -> tuple[str, ...]:
        """Classes sorted by bytes: folders with a picture, a file that should have been one, or nothing at all."""
        all_uris = [*pictures, *(file.uri for file in skipped)]
        class_uris = [
            *pictures,
            *(file.uri for file in skipped if file.reason not in _NO_CLASS or _is_meant_as_picture(file)),
        ]
        bare = [f"{folder}/" for folder in folders]
        names = {place[1] for place in map(self.find_place, class_uris) if place}
        full = {place[1] for place in map(self.find_place, all_uris) if place}
        names |= {place[1] for place in map(self.find_place, bare) if place and place[1] not in full}
        return tuple(sorted(names, key=os.fsencode))


def _is_meant_as_picture(file: SkippedFile) -> bool:
    return file.reason == "not_a_picture" and has_picture_suffix(file.uri)


def detect_layout(pictures: Sequence[str], *, packed: bool = False) -> FolderLayout:
    """The layout of a data set, from its usable pictures; if `packed`, its folders may lie in one of the archive's.

    Raises:
        DataError: Its top-level folders could be splits or classes.
    """
    first = pictures[0].partition("/")[0] if packed and pictures else ""
    if first and not find_split(first) and all(uri.startswith(f"{first}/") and uri.count("/") > 1 for uri in pictures):
        top = f"{first}/"
        return replace(detect_layout([uri[len(top) :] for uri in pictures]), top=top)
    depth: dict[str, int] = {}
    for uri in pictures:
        top, _, below = uri.partition("/")
        if below:
            depth[top] = max(depth.get(top, 0), 2 + below.count("/"))
    named = {top: split for top in sorted(depth, key=os.fsencode) if (split := find_split(top))}
    others = [top for top in depth if top not in named]
    holding = [top for top in named if depth[top] > 2]
    if not holding and (others or len(named) < 2):
        return FolderLayout(False)
    _require_clear_layout(named, holding, sorted(others, key=os.fsencode))
    return FolderLayout(True)


def _require_clear_layout(named: dict[str, str], holding: Sequence[str], others: Sequence[str]) -> None:
    """Every folder is named for a split of its own and holds class folders, or the reading stops."""
    flat = [top for top in named if top not in holding]
    twice = next(([a, b] for a in named for b in named if a < b and named[a] == named[b]), None)
    error = DataError
    hint = "name each class folder for its class, or move the pictures of each split into class folders below it"
    if others:
        what = f"{_format_folders(holding)} named for a split and hold class folders, {_format_folders(others)} not"
        hint = "move what is no split out of the folder; rename a class that is called like a split"
    elif not holding:
        what = f"{_format_folders(flat)} named for splits, and hold pictures but no class folders"
        error = NoLabelsError
    elif flat:
        what = f"{_format_folders(flat)} named for a split, but hold no class folders as {_format_folders(holding)} do"
        hint = f"give `{format_printable(holding[0])}` as the folder, or move the pictures into class folders"
    elif twice:
        what = f"{_format_folders(twice)} both named for the split `{named[twice[0]]}`"
        hint = "merge them, or rename one: `train`, `val` and `test` are known"
    elif "train" not in named.values():
        what = f"{_format_folders(holding)} named for splits, and there is no `train` to learn from"
        hint = "name that folder `train`, or give the folder of one split, whose class folders are then split anew"
    else:
        return
    raise error(what, hint=hint)


def _format_folders(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(f"`{format_printable(name)}`" for name in names[:3]) + more
