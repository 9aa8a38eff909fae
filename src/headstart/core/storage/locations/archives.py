"""Zip and tar archives as folders: `/x/set.zip/cats/1.png` is a path. Members are read in place, never extracted.

The table of an archive's members is made once a process. A member that a faithful extraction would write elsewhere, a
link and a device are put aside with the reason. A compressed tar cannot be read from its middle, so it is unpacked
once into the cache, as a tar. Threads may read at the same time.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import mimetypes
import os
import re
import stat
import tarfile
import threading
import weakref
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

from headstart.core.errors import DataError
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.core.storage.files import format_printable
from headstart.core.storage.hashing import file_digest
from headstart.core.storage.locations.listing import FolderListing, list_names
from headstart.core.storage.locations.names import is_archive
from headstart.core.storage.unpacking import count_allowed_bytes
from headstart.core.types import SkippedFile

_OPENERS: dict[str, Any] = {"gz": gzip.open, "tgz": gzip.open, "bz2": bz2.open, "tbz2": bz2.open, "xz": lzma.open}
# What reading an archive raises where it is damaged.
FAULTS = (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, RuntimeError)
_OPEN_MOST = 32  # archives whose tables stay in memory
_BLOCK = 512  # bytes of a tar
_COPIED = 1 << 20  # bytes at once
_PACK_AGAIN = "copy the archive again, or pack the pictures anew"


class _Archive(Protocol):
    sizes: dict[str, int]  # bytes of each member that can be read
    folders: set[str]
    skipped: list[SkippedFile]

    def open_member(self, name: str) -> IO[bytes]: ...


class _Zip:
    def __init__(self, path: str) -> None:
        self.sizes, self.folders, self.skipped = dict[str, int](), set[str](), list[SkippedFile]()
        self._members: dict[str, zipfile.ZipInfo] = {}
        handle = open(path, "rb")  # noqa: PTH123, SIM115 - closed with the table
        weakref.finalize(self, handle.close)
        try:
            self._zip = zipfile.ZipFile(handle)  # which locks what threads share
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as err:
            raise _make_damage_error(path, f"is no whole zip archive: {err}") from err
        for info in self._zip.infolist():
            self._add_member(info)
        allowed_bytes = count_allowed_bytes(Path(path))
        if sum(self.sizes.values()) > allowed_bytes:
            problem = f"would unpack to more than the {allowed_bytes:,} bytes that an archive of its size may"
            raise _make_damage_error(path, problem)

    def _add_member(self, info: zipfile.ZipInfo) -> None:
        name, mode = info.filename.replace("\\", "/"), info.external_attr >> 16
        if info.flag_bits & 0x1:
            fault = "it is encrypted"
        else:
            fault = "it is a link" if stat.S_ISLNK(mode) else ""
        _add_name(self, name, info.file_size, fault, info.is_dir())
        self._members[_clean_name(name)] = info

    def open_member(self, name: str) -> IO[bytes]:
        return self._zip.open(self._members[name])


class _Tar:
    def __init__(self, path: str, label: str) -> None:
        self.sizes, self.folders, self.skipped = dict[str, int](), set[str](), list[SkippedFile]()
        self._path, self._offsets = path, dict[str, int]()
        end = 0
        try:
            with tarfile.open(path, "r:") as tar:
                archive: Any = tar
                for info in archive:
                    archive.members = []  # left alone, it remembers every one
                    end = archive.offset
                    self._add_member(info)
            _require_end(path, end)
        except tarfile.TarError as err:
            raise self._make_cut_error(label) from err

    def _add_member(self, info: tarfile.TarInfo) -> None:
        if info.issym() or info.islnk():
            fault = "it is a link"
        else:
            fault = "" if info.isfile() or info.isdir() else "it is a device or a pipe"
        _add_name(self, info.name, info.size, "it is a sparse file" if info.issparse() else fault, info.isdir())
        self._offsets[_clean_name(info.name)] = info.offset_data

    def _make_cut_error(self, label: str) -> DataError:
        last = next(reversed(self.sizes), "")
        if last and self._offsets[last] + self.sizes[last] > os.path.getsize(self._path):  # noqa: PTH202
            del self.sizes[last]
            last = next(reversed(self.sizes), "")
        pictures = sum((mimetypes.guess_type(name)[0] or "").startswith("image/") for name in self.sizes)
        after = f"after `{format_printable(last)}`" if last else "before its first member"
        count = f"{pictures:,} {'picture' if pictures == 1 else 'pictures'} before that can be read"
        return _make_damage_error(label, f"is cut short or damaged {after}: {count}")

    def open_member(self, name: str) -> IO[bytes]:
        handle = open(self._path, "rb")  # noqa: PTH123, SIM115 - a handle each, so that threads share none
        handle.seek(self._offsets[name])
        return handle


def _require_end(path: str, end: int) -> None:
    """Python takes a header that is damaged for the end of a tar; a real end is a block of zeros, or the file's."""
    with open(path, "rb") as handle:  # noqa: PTH123
        handle.seek(end)
        if any(handle.read(_BLOCK)):
            raise tarfile.ReadError("the header of a member is damaged")


def _make_damage_error(path: str, problem: str) -> DataError:
    return DataError(
        f"the archive `{format_printable(path)}` {problem}", where=format_printable(path), hint=_PACK_AGAIN
    )


def _clean_name(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _add_name(archive: _Archive, name: str, size_bytes: int, fault: str, is_folder: bool) -> None:
    """Note a member under its clean name; of several with one name the last counts, as when they are extracted."""
    clean = _clean_name(name)
    if name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name):
        fault = "its name leads out of the archive"
    if fault:
        archive.skipped.append(SkippedFile(uri=clean, reason="unreadable", detail=f"{fault}: it is not read"))
    elif is_folder:
        archive.folders.add(clean)
    elif is_archive(clean):
        detail = "it is an archive in an archive: unpack it beside the pictures"
        archive.skipped.append(SkippedFile(uri=clean, reason="not_a_picture", detail=detail))
    else:
        if clean in archive.sizes:
            detail = "a later member of the archive has the same name"
            archive.skipped.append(SkippedFile(uri=clean, reason="unreadable", detail=detail))
        archive.sizes[clean] = size_bytes


_opened: OrderedDict[tuple[object, ...], _Archive] = OrderedDict()
_lock = threading.Lock()


def _open_archive(path: str, label: str) -> _Archive:
    facts = os.stat(path)  # noqa: PTH116 - for each of millions of members
    key = (path, facts.st_mtime_ns, facts.st_size, facts.st_ino, os.getpid())  # a forked process has its own handles
    with _lock:
        if key not in _opened:
            _opened[key] = _read_table(path, label)
            while len(_opened) > _OPEN_MOST:
                _opened.popitem(last=False)
        _opened.move_to_end(key)
        return _opened[key]


def find_opener(name: str) -> Any:
    """What opens a compressed tar of this name as its plain bytes; None for a tar that is not compressed."""
    return _OPENERS.get(name.lower().rpartition(".")[2])


def _read_table(path: str, label: str) -> _Archive:
    if label.lower().endswith(".zip"):
        return _Zip(path)
    opener = find_opener(label)
    return _Tar(path if opener is None else _unpack_tar(path, label, opener), label)


def _unpack_tar(path: str, label: str, opener: Any) -> str:
    """The plain tar of a compressed one, from the cache; where it ends too early, the error of the plain tar."""
    allowed_bytes = count_allowed_bytes(Path(path))

    def write(folder: Path) -> None:
        draft, count = folder / "plain.tar", 0
        try:
            with opener(path, "rb") as packed, draft.open("wb") as plain:
                while block := packed.read1(_COPIED):  # what there is, where the rest is cut off
                    count += len(block)
                    if count > allowed_bytes:
                        problem = f"unpacks to more than the {allowed_bytes:,} bytes that an archive of its size may"
                        raise _make_damage_error(label, problem)
                    plain.write(block)
        except (EOFError, zlib.error, lzma.LZMAError, OSError, ValueError) as err:
            if isinstance(err, OSError) and err.errno is not None:
                raise  # the disk's
            if count:
                _Tar(str(draft), label)  # tells after which member
            raise _make_damage_error(label, f"is cut short or damaged: {err}") from err

    key = {"plain tar of": file_digest(path), "name": os.path.basename(label)}  # noqa: PTH119
    return str(Store(cache_folder()).make_entry("archives", key, write) / "plain.tar")


def list_archive(path: str, inside: str, label: str) -> FolderListing:
    """Members below a folder of an archive, as `list_location` gives files.

    Args:
        path: Where the archive lies.
        inside: The folder in it; empty for all of it.
        label: By which the user knows the archive; its end tells the format.

    Raises:
        DataError: It is damaged, cut short, unpacks to far too much, or has no such folder.
    """
    archive, above = _open_archive(path, label), f"{inside}/" if inside else ""

    def take_below(names: Any) -> list[str]:
        return [name[len(above) :] for name in names if name.startswith(above) and len(name) > len(above)]

    listing = list_names(take_below(archive.sizes), take_below(archive.folders))
    for file in archive.skipped:
        if file.uri.startswith(above):
            listing.skip_file(file.uri[len(above) :], file.reason, file.detail)
    if inside and not listing.uris and not listing.skipped and not listing.folders and inside not in archive.folders:
        raise DataError(
            f"there is no folder `{format_printable(inside)}` in the archive", where=format_printable(label)
        )
    return listing


def read_member(
    path: str, name: str, label: str, accept: Callable[[bytes], object], head_bytes: int, limit_bytes: int
) -> bytes:
    """A member's bytes; raises `OSError` where it is not there or damaged, and what `accept` raises on its head."""
    try:
        archive = _open_archive(path, label)
        size_bytes = archive.sizes.get(name)
        if size_bytes is None:
            raise FileNotFoundError("the archive has no such member")
        if size_bytes > limit_bytes:
            raise OSError(f"{size_bytes:,} bytes are more than {limit_bytes:,}")
        with archive.open_member(name) as handle:
            head = handle.read(min(head_bytes, size_bytes))
            accept(head)
            content = head + handle.read(size_bytes - len(head))
    except OSError:
        raise
    except (*FAULTS, NotImplementedError, ValueError) as err:
        raise OSError(f"the archive does not give it: {str(err).rstrip('.') or type(err).__name__}") from err
    if len(content) != size_bytes:
        raise OSError("the archive ends before it does")
    return content
