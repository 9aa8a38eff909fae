"""Every file below a folder, in the order of its bytes: to be looked at, or excused with a reason.

Links are followed; one that leads back to a folder above it is a loop. Hidden files and folders (names that begin with
a dot, and what file managers leave behind) are listed one by one and excused. Devices and pipes are never opened.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from headstart.core.types import SkippedFile

_LEFT_BEHIND = frozenset({"thumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information"})


@dataclass(slots=True)
class Walked:
    """What is below a folder.

    Attributes:
        uris: Files to be looked at, `/` between parts, sorted by their bytes.
        excused: The other files.
        folders: Folders that are not hidden.
    """

    uris: list[str] = field(default_factory=list)
    excused: list[SkippedFile] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def excuse(self, uri: str, reason: str, detail: str) -> None:
        """Put a file aside."""
        self.excused.append(SkippedFile(uri=uri, reason=reason, detail=detail))


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    uri: str  # empty for the root, else with a slash at its end
    above: frozenset[tuple[int, int]]  # device and inode of this folder and those it was reached through
    hidden: bool


def walk(root: str, leave_out: frozenset[str] = frozenset()) -> Walked:
    """List everything below a folder.

    Args:
        root: The folder; it must be readable.
        leave_out: Real paths of folders that are not entered, such as the run's own.
    """
    found = Walked()
    waiting = [_Folder(root, "", frozenset({_identity(root)}), False)]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder.path), key=lambda entry: os.fsencode(entry.name))
        except OSError as err:
            if not folder.uri:
                raise
            found.excuse(folder.uri.rstrip("/"), *_told(err, "the folder cannot be listed"))
            continue
        for entry in entries:
            below = _entry(folder, entry, leave_out, found)
            if below is not None:
                waiting.append(below)
    found.uris.sort(key=os.fsencode)
    found.folders.sort(key=os.fsencode)
    return found


def _entry(folder: _Folder, entry: os.DirEntry[str], leave_out: frozenset[str], found: Walked) -> _Folder | None:
    """Note one entry; a folder to be entered is returned."""
    uri = folder.uri + entry.name
    hidden = folder.hidden or entry.name.startswith(".") or entry.name.lower() in _LEFT_BEHIND
    try:
        mode = entry.stat().st_mode if entry.is_symlink() else _mode(entry)
    except OSError as err:
        found.excuse(uri, *_told(err, "the link leads nowhere"))
        return None
    if stat.S_ISDIR(mode) and not (hidden and entry.is_symlink()):
        return _enter(folder, entry, uri, hidden, leave_out, found)
    if hidden:
        found.excuse(uri, "hidden", "hidden files and folders are not read")
    elif stat.S_ISREG(mode):
        found.uris.append(uri)
    else:
        found.excuse(uri, "not_a_picture", "it is a device, a socket or a pipe")
    return None


def _enter(
    folder: _Folder, entry: os.DirEntry[str], uri: str, hidden: bool, leave_out: frozenset[str], found: Walked
) -> _Folder | None:
    if leave_out and os.path.realpath(entry.path) in leave_out:
        found.excuse(uri, "hidden", "the folder is headstart's own")
        return None
    identity = _identity(entry.path)
    if identity in folder.above:
        found.excuse(uri, "symlink_loop", "the link leads to a folder above it")
        return None
    if not hidden:
        found.folders.append(uri)
    return _Folder(entry.path, uri + "/", folder.above | {identity}, hidden)


def _mode(entry: os.DirEntry[str]) -> int:
    """The file type, from the folder's listing where that tells it."""
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return entry.stat(follow_symlinks=False).st_mode


def _identity(path: str) -> tuple[int, int]:
    told = Path(path).stat()
    return told.st_dev, told.st_ino


def _told(err: OSError, otherwise: str) -> tuple[str, str]:
    """Reason and detail of a failed look at the file system."""
    if err.errno == errno.ELOOP:
        return "symlink_loop", "the link leads back to itself"
    if err.errno in (errno.EACCES, errno.EPERM):
        return "permission", "reading it is not permitted"
    return "unreadable", f"{otherwise}: {err.strerror}"
