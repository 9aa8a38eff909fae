"""A folder with a file of every kind that a data set may hold, sound and broken, and what must become of each.

Two classes, every format and colour mode, every EXIF orientation, damage of every sort, links, odd names. All sound
pictures of the folder `scene` show the same scene.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart.testing.medical_files import make_medical_files

WIDTH, HEIGHT = 96, 64


def make_scene() -> np.ndarray:
    """The picture that all sound files of the class `scene` show: (HEIGHT, WIDTH, 3) uint8, nothing symmetrical."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    blue = np.where((x < WIDTH // 3) & (y < HEIGHT // 3), 230.0, 40.0)
    return np.stack([255 * x / (WIDTH - 1), 255 * y / (HEIGHT - 1), blue], axis=-1).round().astype(np.uint8)


def encode_picture(image: Image.Image, kind: str, **settings: Any) -> bytes:
    """A picture as the bytes of a file of one format."""
    out = io.BytesIO()
    image.save(out, kind, **settings)
    return out.getvalue()


def store_turned(image: Image.Image, orientation: int) -> tuple[Image.Image, Image.Exif]:
    """The stored picture and its EXIF data that show `image` once the orientation (1 to 8) is applied."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    return (image.transpose(undo[orientation]) if orientation in undo else image), exif


def make_png(width: int, height: int, *, bits: int, colour: int, rows: bytes | None = None) -> bytes:
    """A PNG made by hand: any depth, and as large as wanted at hardly any size.

    `colour` is PNG's type: 0 grey, 2 RGB, 6 RGBA. `rows` are unfiltered, each with a leading 0; None for a handful of
    zeros.
    """
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    packed = zlib.compress(b"\0" * 1000 if rows is None else rows)
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def make_deep_png(values: np.ndarray) -> bytes:
    """A 16-bit PNG of (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA uint16 values."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    colour = {2: 0, 3: 2, 4: 6}[values.ndim if values.ndim == 2 else values.shape[2]]
    return make_png(width, height, bits=16, colour=colour, rows=rows)


def make_sound_files() -> dict[str, bytes]:
    """File name -> bytes of every format and colour mode that shows the scene (some in grey)."""
    image = Image.fromarray(make_scene())
    grey = image.convert("L")
    half = image.convert("RGBA")
    half.putalpha(Image.new("L", image.size, 255))
    wide = make_scene().astype(np.uint16)
    frames = [image.transpose(Image.Transpose.ROTATE_180), grey.convert("RGB")]
    files = {
        "plain.jpg": encode_picture(image, "JPEG", quality=95),
        "progressive.JPG": encode_picture(image, "JPEG", quality=95, progressive=True),
        "plain.png": encode_picture(image, "PNG"),
        "plain.bmp": encode_picture(image, "BMP"),
        "plain.gif": encode_picture(image, "GIF"),
        "animated.gif": encode_picture(image, "GIF", save_all=True, append_images=frames),
        "plain.webp": encode_picture(image, "WebP", quality=95),
        "animated.webp": encode_picture(image, "WebP", save_all=True, append_images=frames, lossless=True),
        "plain.tif": encode_picture(image, "TIFF"),
        "packed.tiff": encode_picture(image, "TIFF", compression="tiff_lzw"),
        "pages.tif": encode_picture(image, "TIFF", save_all=True, append_images=frames),
        "cmyk.jpg": encode_picture(image.convert("CMYK"), "JPEG", quality=95),
        "cmyk.tif": encode_picture(image.convert("CMYK"), "TIFF"),
        "grey.jpg": encode_picture(grey, "JPEG", quality=95),
        "grey.png": encode_picture(grey, "PNG"),
        "palette.png": encode_picture(image.quantize(256), "PNG"),
        "opaque.png": encode_picture(half, "PNG"),
        "grey16.png": make_deep_png(np.asarray(grey).astype(np.uint16) * 257),
        "grey12.png": make_deep_png(np.asarray(grey).astype(np.uint16) * 16),
        "rgb16.png": make_deep_png(wide * 257),
        "rgb12.png": make_deep_png(wide * 16),
        "grey16.tif": encode_picture(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "TIFF"),
        "float.tif": encode_picture(Image.fromarray(np.asarray(grey).astype(np.float32) / 255), "TIFF"),
        "name without suffix": encode_picture(image, "PNG"),
        "line\nbreak.png": encode_picture(image, "PNG"),
        os.fsdecode(b"not-utf8-\xff\xe9.png"): encode_picture(image, "PNG"),
        "a picture called.txt": encode_picture(image, "JPEG", quality=95),
    }
    for orientation in range(1, 9):
        stored, exif = store_turned(image, orientation)
        files[f"exif{orientation}.jpg"] = encode_picture(stored, "JPEG", quality=95, exif=exif)
    return files


def make_broken_files() -> dict[str, tuple[bytes, str]]:
    """File name -> bytes and the reason for which they must be excused."""
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (200, 300, 3), dtype=np.uint8))
    encoded = {kind: encode_picture(photo, kind) for kind in ("JPEG", "PNG", "BMP", "GIF", "WebP", "TIFF")}
    cut = {f"cut.{kind.lower()}": (data[: len(data) * 2 // 3], "truncated") for kind, data in encoded.items()}
    return cut | {
        "cut-in-header.jpg": (encoded["JPEG"][:100], "truncated"),
        "empty.jpg": (b"", "empty_file"),
        "text.jpg": (b"this is no picture, whatever its name says\n", "not_a_picture"),
        "notes.txt": (b"notes\n", "not_a_picture"),
        "garbage.png": (b"\x89PNG\r\n\x1a\n" + bytes(200) + b"IEND\xaeB`\x82", "unreadable"),
        "bomb.png": (make_png(30_000, 30_000, bits=8, colour=2), "too_many_pixels"),
        "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(100), "unreadable"),
    }


def _write_links(folder: Path) -> dict[str, str]:
    links = {
        "scene/to-the-top": ("..", "symlink_loop"),
        "scene/to-itself": ("to-itself", "symlink_loop"),
        "scene/to-nothing.jpg": ("gone.jpg", "missing"),
        "scene/to-a-file.png": ("plain.png", ""),
    }
    for name, (target, _) in links.items():
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "scene" / "pipe.jpg")
    return {name: reason for name, (_, reason) in links.items()} | {"scene/pipe.jpg": "not_a_picture"}


def _write_hidden(folder: Path, put: Callable[[str, bytes], None]) -> dict[str, str]:
    content = (folder / "scene" / "plain.png").read_bytes()
    names = ("scene/.DS_Store", "scene/Thumbs.db", "scene/.hidden.png", "__MACOSX/scene/._plain.png", ".git/objects/x")
    for name in names:
        put(name, content)
    return dict.fromkeys(names, "hidden")


def put_file(folder: Path, expected: dict[str, str], name: str, content: bytes, reason: str = "") -> None:
    """Write a file below a folder, and the reason for which it must be excused among those that are expected."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    expected[name] = reason


def write_image_files(folder: Path) -> dict[str, str]:
    """Write the zoo with its classes `scene`, `scans`, `other` and `broken`, the last without a usable picture.

    Gives path below the folder -> reason for which it must be excused, empty for those to be used; every file on disk.
    """
    expected: dict[str, str] = {}

    put = partial(put_file, folder, expected)
    for name, content in make_sound_files().items():
        put(f"scene/{name}", content)
    for name, (content, reason) in make_broken_files().items():
        put(f"broken/{name}", content, reason)
    grey = np.asarray(Image.fromarray(make_scene()).convert("L"))
    for name, (content, reason) in make_medical_files(grey).items():
        put(f"{'broken' if reason else 'scans'}/{name}", content, reason)
    other = Image.fromarray(255 - make_scene())
    put("other/deep/er/one.png", encode_picture(other, "PNG"))
    put("other/two.jpg", encode_picture(other, "JPEG"))
    put("loose.png", encode_picture(other, "PNG"), "outside_a_class")
    put("README.md", b"# A data set\n", "not_a_picture")
    return expected | _write_links(folder) | _write_hidden(folder, put)
