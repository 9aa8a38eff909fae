"""What lies below a location: files to be inspected, and those put aside with a reason."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from headstart.core.types import SkippedFile

HIDDEN = "hidden files and folders are not read"
_LEFT_BEHIND = frozenset({"thumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information"})


@dataclass(slots=True)
class FolderListing:
    """Below a folder: files to be inspected (`/` between parts, sorted by bytes), the others, folders not hidden."""

    uris: list[str] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def skip_file(self, uri: str, reason: str, detail: str) -> None:
        """Put a file aside."""
        self.skipped.append(SkippedFile(uri=uri, reason=reason, detail=detail))

    def sort_names(self) -> None:
        """Put files and folders in the order of their bytes."""
        self.uris.sort(key=os.fsencode)
        self.folders.sort(key=os.fsencode)


def is_hidden_name(name: str) -> bool:
    """Whether a file or folder of this name is hidden: a leading dot, or what file managers leave behind."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def list_names(names: Iterable[str], folders: Iterable[str] = ()) -> FolderListing:
    """A listing of files that are known by their names alone; `folders` are those that may be empty."""
    listing, all_folders = FolderListing(), set(folders)
    for name in names:
        parts = name.split("/")
        if any(map(is_hidden_name, parts)):
            listing.skip_file(name, "hidden", HIDDEN)
            continue
        listing.uris.append(name)
        while (name := name.rpartition("/")[0]) and name not in all_folders:
            all_folders.add(name)
    listing.folders = [folder for folder in all_folders if not any(map(is_hidden_name, folder.split("/")))]
    listing.sort_names()
    return listing
