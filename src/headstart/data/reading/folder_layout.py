"""Which class and which given split a file belongs to, from the folders it lies in.

One sub-folder is a class; what lies deeper belongs to it. Folders named `train`, `val` (`valid`, `validation`) and
`test` are given splits when all top-level folders with pictures have such names and hold class folders of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headstart.core.types import SkippedFile
from headstart.data.reading.file_inspection import suffix
from headstart.images.file_formats import SUFFIXES

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NO_CLASS = frozenset({"hidden", "not_a_picture"})


@dataclass(frozen=True, slots=True)
class Layout:
    """Where class folders lie.

    Attributes:
        splits: Whether `train/` … stand above them.
    """

    splits: bool

    def place(self, uri: str) -> tuple[str, str] | None:
        """Split (empty when none is given) and class of a file; None outside a class."""
        parts = uri.split("/")
        if self.splits:
            return (SPLITS[parts[0].lower()], parts[1]) if parts[0].lower() in SPLITS and len(parts) > 2 else None
        return ("", parts[0]) if len(parts) > 1 else None

    def classes(
        self, pictures: Iterable[str], excused: Sequence[SkippedFile], folders: Iterable[str]
    ) -> tuple[str, ...]:
        """Names of all classes, sorted by their bytes.

        A folder is a class when it has a picture, a file that should have been one, or nothing at all.
        """
        filled = [*pictures, *(e.uri for e in excused)]
        wanted = [*pictures, *(e.uri for e in excused if e.reason not in _NO_CLASS or _meant(e))]
        bare = [f"{folder}/" for folder in folders]
        names = {place[1] for place in map(self.place, wanted) if place}
        full = {place[1] for place in map(self.place, filled) if place}
        names |= {place[1] for place in map(self.place, bare) if place and place[1] not in full}
        return tuple(sorted(names, key=os.fsencode))


def _meant(excused: SkippedFile) -> bool:
    return excused.reason == "not_a_picture" and suffix(excused.uri) in SUFFIXES


def layout(pictures: Iterable[str]) -> Layout:
    """The layout of a data set, from its usable pictures."""
    depth: dict[str, int] = {}
    for uri in pictures:
        top, _, rest = uri.partition("/")
        if rest:
            depth[top] = max(depth.get(top, 0), 2 + rest.count("/"))
    return Layout(bool(depth) and all(top.lower() in SPLITS and levels > 2 for top, levels in depth.items()))
