"""What the first and last bytes of a file tell: its picture format, whatever its suffix, and whether its end is
missing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from headstart.core import registry
from headstart.images.medical_values import MEDICAL_HEAD

HEAD_BYTES = MEDICAL_HEAD
SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".dcm": "DICOM",
    ".dicom": "DICOM",
    ".ima": "DICOM",
    ".nii": "NIfTI",
    ".npy": "NumPy",
}  # each with the format that it promises

_OTHERS = (
    (rb"....ftyp(hei|hev|mif1|msf1)", "HEIC"),
    (rb"....ftyp(avif|avis)", "AVIF"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"8BPS", "Photoshop"),
    (rb"\0\0\x01\0", "icon"),
    (rb"P[1-6]\s", "netpbm"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
)

_MARKER = re.compile(rb"\xff+[^\x00\x01\xd0-\xd7\xff]")  # of a JPEG, with a length after it but for the last
_LAST, _PASS = 0xD9, 0xDA


class PictureError(Exception):
    """A file that cannot be used as a picture; `reason` is one of the words of `SkippedFile.reason`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def has_picture_suffix(name: str) -> bool:
    """Whether a file is called as a picture."""
    return PurePath(name).suffix.lower() in SUFFIXES or name.lower().endswith(".nii.gz")


def is_bare_name(name: str) -> bool:
    """Whether a file has no suffix, as scanners call DICOM: `IM0001`, or a UID."""
    suffix = PurePath(name).suffix[1:]
    return not suffix or suffix.isdecimal()


@dataclass(frozen=True, kw_only=True)
class PictureFormat:
    """A file of `headstart.images.formats`: which files it reads, and how one is opened.

    `recognises(head)` says whether a file's first `HEAD_BYTES` bytes announce it.
    `open(content, max_pixels, ranges)` gives a `headstart.images.codecs.Picture`, its header checked and nothing
    decoded; it raises PictureError. `settings` are those of a job that say how it is read.
    """

    names: tuple[str, ...]
    recognises: Callable[[bytes], bool]
    open: Callable[[bytes, int, Any], Any]
    settings: frozenset[str] = frozenset()


@functools.cache
def list_formats() -> tuple[PictureFormat, ...]:
    """All formats, those of other packages too."""
    names = registry.list_plugins("picture_formats")
    return tuple(registry.load_plugin("picture_formats", name) for name in names)


def detect_format(head: bytes) -> PictureFormat:
    """The format that a file's first `HEAD_BYTES` bytes announce.

    Raises:
        PictureError: `empty_file`, `not_a_picture`, or `unreadable` for picture formats that are not read.
    """
    if not head:
        raise PictureError("empty_file", "the file has no bytes")
    for picture_format in list_formats():
        if picture_format.recognises(head):
            return picture_format
    for pattern, name in _OTHERS:
        if re.match(pattern, head, re.DOTALL):
            raise PictureError("unreadable", f"{name} is not read; convert it to JPEG or PNG")
    names = ", ".join(name for picture_format in list_formats() for name in picture_format.names)
    raise PictureError("not_a_picture", f"the content is none of {names}")


def is_cut_short(content: bytes, kind: str) -> bool:
    """Whether the end that the format promises is missing."""
    if kind == "JPEG":
        return b"\xff\xd9" not in content[-1024:]
    if kind == "PNG":
        return b"IEND" not in content[-1024:]
    if kind == "GIF":
        return b";" not in content[-16:]
    if kind == "WebP":
        return int.from_bytes(content[4:8], "little") + 8 > len(content)
    return kind == "BMP" and int.from_bytes(content[2:6], "little") > len(content)


def count_passes(content: bytes, most: int) -> int:
    """How often a JPEG's data go over the picture, to `most` + 1: a small file could keep its reader busy for hours."""
    count, place = 0, 2
    while count <= most and (marker := _MARKER.search(content, place)) and marker[0][-1] != _LAST:
        count += marker[0][-1] == _PASS
        place = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2], "big")
    return count
