"""Which class and which given split a file belongs to, from the folders it lies in.

One sub-folder is a class. Folders named `train`, `val` (`valid`, `validation`) and `test` are given splits when all
top-level folders with pictures have such names and hold class folders of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headstart.core.types import SkippedFile
from headstart.data.reading.file_inspection import lower_suffix
from headstart.images.file_formats import SUFFIXES

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NO_CLASS = frozenset({"hidden", "not_a_picture"})


@dataclass(frozen=True, slots=True)
class FolderLayout:
    """Where class folders lie: at the top, or below `train/` … if `splits`."""

    splits: bool

    def find_place(self, uri: str) -> tuple[str, str] | None:
        """Split (empty when none is given) and class of a file; None outside a class."""
        parts = uri.split("/")
        if self.splits:
            return (SPLITS[parts[0].lower()], parts[1]) if parts[0].lower() in SPLITS and len(parts) > 2 else None
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
    return file.reason == "not_a_picture" and lower_suffix(file.uri) in SUFFIXES


def detect_layout(pictures: Iterable[str]) -> FolderLayout:
    """The layout of a data set, from its usable pictures."""
    depth: dict[str, int] = {}
    for uri in pictures:
        top, _, below = uri.partition("/")
        if below:
            depth[top] = max(depth.get(top, 0), 2 + below.count("/"))
    return FolderLayout(bool(depth) and all(top.lower() in SPLITS and levels > 2 for top, levels in depth.items()))
