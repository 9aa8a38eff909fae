"""What one cheap decode tells about a picture: size, perceptual hash, colour histogram, blankness.

The whole file is decoded, so that a truncated one is found. `to_row` and `from_row` are exact both ways.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from headstart.images.codecs import NOTES, Picture

REVISION = 1
BINS = 64
ROW_WIDTH = BINS + 4 + 5
_SMALL = 64
_HASH_SIDE = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageDescriptors:
    """Facts of one picture; sizes are those after EXIF orientation.

    Attributes:
        phash: 64-bit perceptual hash.
        histogram: (64,) float32, 4 x 4 x 4 RGB colour histogram, sums to 1.
        grey_std: Standard deviation of the grey levels 0..255.
        frames: Frames or pages in the file; the first one is used.
        notes: Bit `i` set: `codecs.NOTES[i]` was done.
    """

    width_px: int
    height_px: int
    phash: int
    histogram: np.ndarray
    grey_std: float
    frames: int
    notes: int

    @property
    def note(self) -> str:
        """What was done to read the picture; empty when nothing."""
        parts = [text for bit, text in enumerate(NOTES) if self.notes >> bit & 1]
        return "; ".join(parts + ([f"first of {self.frames} frames"] if self.frames > 1 else []))


def describe_picture(content: bytes) -> ImageDescriptors:
    """Facts of a picture from the bytes of its file; PictureError where it cannot be read to its end."""
    picture = Picture(content)
    image = picture.decode_rgb(least=_SMALL)
    factor = min(image.size) // _SMALL
    small = picture.turn_upright(image.reduce(factor) if factor > 1 else image)
    width, height = picture.size[::-1] if picture.read_orientation() >= 5 else picture.size
    grey = small.convert("L")
    return ImageDescriptors(
        width_px=width,
        height_px=height,
        phash=perceptual_hash(grey),
        histogram=colour_histogram(np.asarray(small)),
        grey_std=float(np.asarray(grey).std(dtype=np.float64)),
        frames=picture.count_frames(),
        notes=sum(1 << bit for bit in picture.notes),
    )


def colour_histogram(pixels: np.ndarray) -> np.ndarray:
    """Share of the pixels (H, W, 3) uint8 in each of 4 x 4 x 4 colour cells, red slowest: (64,) float32."""
    cells = pixels >> 6
    flat = (cells[..., 0] << 4 | cells[..., 1] << 2 | cells[..., 2]).ravel()
    return (np.bincount(flat, minlength=BINS) / flat.size).astype(np.float32)


@functools.cache
def _dct_rows() -> np.ndarray:
    """The 8 lowest rows of the orthonormal DCT-II of 32 points: (8, 32) float64."""
    k, n = np.mgrid[0:8, 0:_HASH_SIDE]
    rows: np.ndarray = np.sqrt(2 / _HASH_SIDE) * np.cos(np.pi * k * (2 * n + 1) / (2 * _HASH_SIDE))
    rows[0] /= np.sqrt(2)
    return rows


def perceptual_hash(grey: Image.Image) -> int:
    """64 bits: which of the 8 x 8 lowest cosine coefficients of the 32 x 32 picture lie above their median.

    The constant coefficient takes no part in the median, so that brightness does not matter (Zauner 2010).
    """
    small = np.asarray(grey.resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.BILINEAR), dtype=np.float64)
    # a blank picture's coefficients are rounding noise: rounding makes them exactly zero
    coefficients = np.round(_dct_rows() @ small @ _dct_rows().T, 6).ravel()
    return int.from_bytes(np.packbits(coefficients > np.median(coefficients[1:])).tobytes(), "big")


def cache_key() -> str:
    """SHA-256 hex of what a picture's facts depend on besides its bytes."""
    import PIL

    return hashlib.sha256(f"facts {REVISION} pillow {PIL.__version__}".encode()).hexdigest()


def to_row(facts: ImageDescriptors) -> np.ndarray:
    """Facts as (ROW_WIDTH,) float32; integers in parts of 16 bits, which float32 holds exactly."""
    parts = [facts.phash >> shift & 0xFFFF for shift in (48, 32, 16, 0)]
    numbers = [facts.width_px, facts.height_px, facts.grey_std, facts.frames, facts.notes]
    return np.concatenate([facts.histogram, np.array(parts + numbers, dtype=np.float32)])


def from_row(row: np.ndarray) -> ImageDescriptors:
    """The facts that `to_row` wrote."""
    p3, p2, p1, p0, width, height, grey_std, frames, notes = row[BINS:].tolist()
    return ImageDescriptors(
        width_px=int(width),
        height_px=int(height),
        phash=int(p3) << 48 | int(p2) << 32 | int(p1) << 16 | int(p0),
        histogram=np.array(row[:BINS], dtype=np.float32),
        grey_std=grey_std,
        frames=int(frames),
        notes=int(notes),
    )
