"""Every file below a folder, in the order of its bytes: to be inspected, or skipped with a reason.

Links are followed, but not back to a folder above. Hidden files and folders (a leading dot, and what file managers
leave behind) are listed one by one and skipped. Devices and pipes are never opened.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from headstart.core.storage.locations.listing import HIDDEN, FolderListing, is_hidden_name


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    uri: str  # empty for the root, else with a slash at its end
    above: frozenset[tuple[int, int]]  # device and inode of this folder and those it was reached through
    hidden: bool


def list_folder(root: str, leave_out: frozenset[str] = frozenset()) -> FolderListing:
    """List everything below a readable folder, but for folders whose real paths are in `leave_out` (the run's own)."""
    listing = FolderListing()
    waiting = [_Folder(root, "", frozenset({_read_identity(root)}), False)]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder.path), key=lambda entry: os.fsencode(entry.name))
        except OSError as err:
            if not folder.uri:
                raise
            listing.skip_file(folder.uri.rstrip("/"), *_explain_error(err, "the folder cannot be listed"))
            continue
        for entry in entries:
            below = _note_entry(folder, entry, leave_out, listing)
            if below is not None:
                waiting.append(below)
    listing.sort_names()
    return listing


def _note_entry(
    folder: _Folder, entry: os.DirEntry[str], leave_out: frozenset[str], listing: FolderListing
) -> _Folder | None:
    """Note one entry; a folder to be entered is returned."""
    uri = folder.uri + entry.name
    hidden = folder.hidden or is_hidden_name(entry.name)
    try:
        mode = entry.stat().st_mode if entry.is_symlink() else _read_mode(entry)
    except OSError as err:
        listing.skip_file(uri, *_explain_error(err, "the link leads nowhere"))
        return None
    if stat.S_ISDIR(mode) and not (hidden and entry.is_symlink()):
        return _enter_folder(folder, entry, uri, hidden, leave_out, listing)
    if hidden:
        listing.skip_file(uri, "hidden", HIDDEN)
    elif stat.S_ISREG(mode):
        listing.uris.append(uri)
    else:
        listing.skip_file(uri, "not_a_picture", "it is a device, a socket or a pipe")
    return None


def _enter_folder(
    folder: _Folder, entry: os.DirEntry[str], uri: str, hidden: bool, leave_out: frozenset[str], listing: FolderListing
) -> _Folder | None:
    if leave_out and os.path.realpath(entry.path) in leave_out:
        listing.skip_file(uri, "hidden", "the folder is headstart's own")
        return None
    identity = _read_identity(entry.path)
    if identity in folder.above:
        listing.skip_file(uri, "symlink_loop", "the link leads to a folder above it")
        return None
    if not hidden:
        listing.folders.append(uri)
    return _Folder(entry.path, uri + "/", folder.above | {identity}, hidden)


def _read_mode(entry: os.DirEntry[str]) -> int:
    """The file type, from the folder's listing where that tells it."""
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return entry.stat(follow_symlinks=False).st_mode


def _read_identity(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_dev, status.st_ino


def _explain_error(err: OSError, otherwise: str) -> tuple[str, str]:
    if err.errno == errno.ELOOP:
        return "symlink_loop", "the link leads back to itself"
    if err.errno in (errno.EACCES, errno.EPERM):
        return "permission", "reading it is not permitted"
    return "missing" if err.errno == errno.ENOENT else "unreadable", f"{otherwise}: {err.strerror}"
