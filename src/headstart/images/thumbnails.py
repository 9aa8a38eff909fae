"""Small copies of pictures as JPEG: for pages, and for what a run keeps."""

from __future__ import annotations

import io

from PIL import Image

from headstart.core.types import PixelRanges
from headstart.images.codecs import open_picture
from headstart.images.file_formats import PictureError
from headstart.images.preprocessing import read_bytes


def make_jpeg_thumbnail(path: str, most: int, quality: int, ranges: PixelRanges) -> bytes:
    """A picture file as upright JPEG of at most `most` px; empty where the file cannot be read any more."""
    image = read_thumbnail(path, most, ranges)
    return encode_jpeg(image, quality) if image else b""


def read_thumbnail(path: str, most: int, ranges: PixelRanges) -> Image.Image | None:
    """A picture file, upright, RGB, at most `most` px; None where the file cannot be read any more."""
    try:
        picture = open_picture(read_bytes(path), ranges=ranges)
        image = picture.decode_rgb(least=most)
        image.thumbnail((most, most), Image.Resampling.BICUBIC)
        return picture.turn_upright(image)
    except PictureError:
        return None


def encode_jpeg(image: Image.Image, quality: int) -> bytes:
    """A picture as JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, subsampling=2)
    return out.getvalue()
