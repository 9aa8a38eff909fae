"""What the first and last bytes of a file tell: its picture format, whatever its suffix, and whether its end is
missing.
"""

from __future__ import annotations

import re

HEAD_BYTES = 32
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WebP", "TIFF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})

_SIGNATURES = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"GIF8[79]a", "GIF"),
    (rb"RIFF....WEBP", "WebP"),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", "BMP"),
)
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


def detect_format(head: bytes) -> str:
    """The format that a file's first `HEAD_BYTES` bytes announce.

    Raises:
        PictureError: `empty_file`, `not_a_picture`, or `unreadable` for picture formats that are not read.
    """
    if not head:
        raise PictureError("empty_file", "the file has no bytes")
    for pattern, name in _SIGNATURES:
        if re.match(pattern, head, re.DOTALL):
            return name
    for pattern, name in _OTHERS:
        if re.match(pattern, head, re.DOTALL):
            raise PictureError("unreadable", f"{name} is not read; convert it to JPEG or PNG")
    raise PictureError("not_a_picture", f"the content is none of {', '.join(FORMATS)}")


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
