"""Pictures in archives: members read one by one in their order, never unpacked to disk.

A member's name is only ever shown (`photos.zip/a/b.jpg`), so one that leads elsewhere (`../../b.jpg`) is harmless.
What unpacks to far more than the archive holds is not read to its end.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from headstart.core.storage.locations.archives import FAULTS, find_opener
from headstart.core.storage.unpacking import GROWTH, count_allowed_bytes
from headstart.images.file_formats import HEAD_BYTES, PictureError, detect_format, has_picture_suffix, is_bare_name
from headstart.runtime.inputs.decoded_batches import Content

MEMBER_BYTES = 100_000_000  # a picture file in an archive may have
_FAULTS = (*FAULTS, NotImplementedError, ValueError, KeyError, IndexError, OverflowError, UnicodeError)


class _ArchiveTooLarge(Exception):
    """The archive unpacks to far more than it holds."""


def read_members(path: Path) -> Iterator[Content]:
    """The pictures of an archive, told by their suffix or as `IM0001`, in its order, without hidden ones.

    What cannot be read comes with the reason; where the archive cannot be read to its end, so does its own name.
    """
    contents = _read_zip(path) if path.name.lower().endswith(".zip") else _read_tar(path)
    try:
        yield from contents
    except _ArchiveTooLarge:
        yield _make_unreadable(str(path), f"it unpacks to more than {GROWTH} times its size: the rest is not read")
    except _FAULTS as err:
        yield _make_unreadable(str(path), f"the archive cannot be read: {_format_error(err)}")


def _read_zip(path: Path) -> Iterator[Content]:
    bytes_left = count_allowed_bytes(path)
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir() or not _is_picture(info.filename):
                continue
            name = f"{path}/{info.filename}"
            try:
                with archive.open(info) as handle:
                    picture = _read_member(name, handle, info.file_size)
            except _FAULTS as err:
                picture = _make_unreadable(name, f"the archive does not give it: {_format_error(err)}")
            if is_bare_name(info.filename) and isinstance(picture.content, PictureError):
                continue
            bytes_left -= len(picture.content) if isinstance(picture.content, bytes) else 0
            yield picture
            if bytes_left < 0:
                raise _ArchiveTooLarge


def _read_tar(path: Path) -> Iterator[Content]:
    opener: Any = find_opener(path.name) or open
    with opener(path, "rb") as stream:
        limited: Any = _LimitedStream(stream, count_allowed_bytes(path))
        with tarfile.open(fileobj=limited, mode="r|") as tar:
            archive: Any = tar
            for info in archive:
                archive.members = []  # left alone, it remembers every one
                if info.isfile() and _is_picture(info.name):
                    handle = archive.extractfile(info)
                    assert handle is not None  # it is a file
                    picture = _read_member(f"{path}/{info.name}", handle, info.size)
                    if not (is_bare_name(info.name) and isinstance(picture.content, PictureError)):
                        yield picture


class _LimitedStream:
    def __init__(self, source: IO[bytes], allowed: int) -> None:
        self._source, self._left = source, allowed

    def read(self, count: int) -> bytes:
        """At most `count` bytes."""
        content = self._source.read(count)
        self._left -= len(content)
        if self._left < 0:
            raise _ArchiveTooLarge
        return content


def _read_member(name: str, handle: IO[bytes], size: int) -> Content:
    if size > MEMBER_BYTES:
        return _make_unreadable(name, f"{size:,} bytes are more than {MEMBER_BYTES:,}")
    head = handle.read(HEAD_BYTES)
    try:
        detect_format(head)  # what is no picture is not read on
    except PictureError as err:
        return Content(name, err)
    content = head + handle.read(MEMBER_BYTES - len(head) + 1)  # what the archive says of the size may be a lie
    if len(content) > MEMBER_BYTES:
        return _make_unreadable(name, f"more than {MEMBER_BYTES:,} bytes")
    return Content(name, content)


def _make_unreadable(name: str, why: str) -> Content:
    return Content(name, PictureError("unreadable", why))


def _is_picture(member: str) -> bool:
    inside = PurePosixPath(member.replace("\\", "/"))
    hidden = any(part.startswith(".") and part.strip(".") for part in inside.parts) or "__MACOSX" in inside.parts
    return (has_picture_suffix(inside.name) or is_bare_name(inside.name)) and not hidden


def _format_error(err: BaseException) -> str:
    return (getattr(err, "strerror", None) or str(err) or type(err).__name__).rstrip(".")
