"""Pictures in archives: members read one by one in their order, never unpacked to disk.

A member's name is only ever shown (`photos.zip!/a/b.jpg`), so one that leads elsewhere (`../../b.jpg`) is harmless.
What unpacks to far more than the archive holds is not read to its end. An archive that is broken costs one row with
the reason, after the rows of what could be read before.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from headstart.images.file_formats import HEAD_BYTES, SUFFIXES, PictureError, sniff
from headstart.runtime.inputs.decoded_batches import Content

MEMBER_BYTES = 100_000_000  # a picture file in an archive may have
GROWTH, GROWN_BYTES = 200, 500_000_000  # an archive may unpack to so many times its size, or to so much
_OPENERS = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".tbz2": bz2.open, ".xz": lzma.open}
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz")
_BROKEN = (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, RuntimeError)
_FAULTS = (*_BROKEN, NotImplementedError, ValueError, KeyError, IndexError, OverflowError, UnicodeError)


class _TooMuch(Exception):
    """The archive unpacks to far more than it holds."""


def is_archive(path: Path) -> bool:
    """Whether a name is that of an archive that is read."""
    return path.name.lower().endswith((".zip", *_TARS))


def members(path: Path) -> Iterator[Content]:
    """The pictures of an archive, told by their suffix, in the order of the archive; hidden ones are left out.

    Args:
        path: A `.zip`, `.tar`, `.tar.gz`, `.tar.bz2` or `.tar.xz` file.

    Yields:
        The pictures; what cannot be read with the reason. Where the archive itself cannot be read to its end, one
        more of the archive's own name.
    """
    found = _zipped(path) if path.name.lower().endswith(".zip") else _tarred(path)
    try:
        yield from found
    except _TooMuch:
        yield _refused(str(path), f"it unpacks to more than {GROWTH} times its size: the rest is not read")
    except _FAULTS as err:
        yield _refused(str(path), f"the archive cannot be read: {_told(err)}")


def _zipped(path: Path) -> Iterator[Content]:
    left = _allowed(path)
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir() or not _is_picture(info.filename):
                continue
            name = _name(path, info.filename)
            try:
                with archive.open(info) as handle:
                    found = _content(name, handle, info.file_size)
            except _FAULTS as err:
                found = _refused(name, f"the archive does not give it: {_told(err)}")
            left -= len(found.content) if isinstance(found.content, bytes) else 0
            yield found
            if left < 0:
                raise _TooMuch


def _tarred(path: Path) -> Iterator[Content]:
    opener: Any = _OPENERS.get(path.suffix.lower(), open)
    with opener(path, "rb") as plain:
        limited: Any = _Limited(plain, _allowed(path))
        with tarfile.open(fileobj=limited, mode="r|") as opened:
            archive: Any = opened
            for info in archive:
                archive.members = []  # left alone, it remembers every one
                if info.isfile() and _is_picture(info.name):
                    handle = archive.extractfile(info)
                    assert handle is not None  # it is a file
                    yield _content(_name(path, info.name), handle, info.size)


class _Limited:
    """A stream that may give only so many bytes."""

    def __init__(self, source: IO[bytes], allowed: int) -> None:
        self._source, self._left = source, allowed

    def read(self, count: int) -> bytes:
        """At most `count` bytes."""
        found = self._source.read(count)
        self._left -= len(found)
        if self._left < 0:
            raise _TooMuch
        return found


def _allowed(path: Path) -> int:
    return max(GROWN_BYTES, GROWTH * path.stat().st_size)


def _content(name: str, handle: IO[bytes], size: int) -> Content:
    """A member's bytes; one that is no picture is not read beyond its first bytes."""
    if size > MEMBER_BYTES:
        return _refused(name, f"{size:,} bytes are more than {MEMBER_BYTES:,}")
    head = handle.read(HEAD_BYTES)
    try:
        sniff(head)
    except PictureError as err:
        return Content(name, err)
    content = head + handle.read(MEMBER_BYTES - len(head) + 1)  # what the archive says of the size may be a lie
    return (
        Content(name, content) if len(content) <= MEMBER_BYTES else _refused(name, f"more than {MEMBER_BYTES:,} bytes")
    )


def _refused(name: str, why: str) -> Content:
    return Content(name, PictureError("unreadable", why))


def _name(path: Path, member: str) -> str:
    return f"{path}!/{member}"


def _is_picture(member: str) -> bool:
    inside = PurePosixPath(member.replace("\\", "/"))
    hidden = any(part.startswith(".") and part.strip(".") for part in inside.parts) or "__MACOSX" in inside.parts
    return inside.suffix.lower() in SUFFIXES and not hidden


def _told(err: BaseException) -> str:
    return (getattr(err, "strerror", None) or str(err) or type(err).__name__).rstrip(".")
