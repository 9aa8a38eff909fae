"""An opened picture file of any format, and how its values become black to white.

A format (a file in `headstart.images.formats`) gives what the sensor saw; here it becomes an 8-bit RGB picture, or
levels 0..255 with fractions for a set whose pictures are deeper than 8 bits. Deep values are scaled by the range that
was measured on the whole set; without one by the file's own: values up to 4095 count as 12 bits, up to 65535 as 16;
floats as 0..1 or 0..255, others from their smallest to their largest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from headstart.core.types import OWN_RANGES, PixelRanges
from headstart.images.file_formats import HEAD_BYTES, PictureError, detect_format

MAX_PIXELS = 100_000_000
MAX_BYTES = 1_000_000_000
OUTSIDE = 0.5  # of a picture's values may lie outside the range
_SAMPLED = 1_000_000  # values whose range is measured
STRAY = 0.001  # of a picture's values have no say in the range: hot pixels

# what was done to a picture; the order is part of the cached facts
NOTES = (
    "alpha on white",
    "CMYK to RGB",
    "more than 8 bits a channel",
    "floats",
    "EXIF data unreadable, orientation not applied",
)
ALPHA, CMYK, BITS_16, FLOAT, NO_EXIF = range(len(NOTES))
DEEP = (BITS_16, FLOAT)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """What a sensor saw: `values` (H, W, B) of any number type, of one band (grey) or three (RGB).

    `kind` is empty for 8 bits, which are levels already, else `integers` or `floats`. `ends` are the file's own black
    and white, the larger first where the small values are bright; None leaves them to the range of the set.
    """

    values: np.ndarray
    kind: str = ""
    ends: tuple[float, float] | None = None


class Origin(NamedTuple):
    """What a file tells of how its picture was taken and saved."""

    camera: int = 0  # 64-bit digest of maker, model and software; 0 where it says nothing
    taken_day: float = 0.0  # days since 1970; 0 where it says nothing
    jpeg_quality: float = 0.0  # 1 to 100; 0 for no JPEG


class Picture:
    """An opened file, nothing decoded yet; a format derives from it and gives `decode_samples`.

    Attributes:
        format: Its name: `JPEG`, `DICOM`, …
        size: Width and height in px as stored, before EXIF orientation.
        extent: Width and height of the picture in pixels of what was decoded; a reduced scale may not be whole.
        notes: Positions in `NOTES` of what was done so far.
        frame: Which of several frames or slices is decoded, from 0.
        group: What the file says that it belongs to (a patient), as a 64-bit digest; 0 where it says nothing.
        n_bands: Bands of a file of many; 0 for grey and colour.
        deep_values: Values beyond 8 bits that take the set's range, once decoded.
    """

    format: str
    size: tuple[int, int]
    frame: int = 0
    group: int = 0
    n_bands: int = 0

    def __init__(self, ranges: PixelRanges) -> None:
        self.ranges = ranges
        self.notes: set[int] = set()
        self.deep_values: np.ndarray | None = None
        self.extent: tuple[float, float] = (0.0, 0.0)

    def decode_samples(self, least: int = 0) -> Samples:
        """What the sensor saw, not yet upright; perhaps at a reduced scale, its shorter side at least `least` px."""
        raise NotImplementedError

    def count_frames(self) -> int:
        """How many frames, pages or slices the file has."""
        return 1

    def read_orientation(self) -> int:
        """The EXIF orientation, 1 to 8; 1 where none can be read. Right only after decoding."""
        return 1

    def read_origin(self) -> Origin:
        """How the picture was taken and saved, as far as the file tells. Right only after decoding."""
        return Origin()

    def turn_upright(self, image: Image.Image) -> Image.Image:
        """Apply the EXIF orientation to a picture that was decoded (resized or not)."""
        turn = _TURN.get(self.read_orientation())
        return image if turn is None else image.transpose(turn)

    def decode_rgb(self, least: int = 0) -> Image.Image:
        """8-bit RGB, not yet upright, perhaps at a reduced scale as `decode_samples`."""
        samples = self.decode_samples(least)
        values = samples.values if not samples.kind else fit_to_uint8(samples.values, *self._require_ends(samples))
        return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).convert("RGB")

    def decode_levels(self, least: int = 0) -> np.ndarray:
        """(H, W, B) float32 levels 0..255 with fractions, not yet upright; what is no number becomes black."""
        samples = self.decode_samples(least)
        if not samples.kind:
            return samples.values.astype(np.float32)
        low, high = self.find_ends(samples)
        inside = samples.ends is None and require_inside(samples.values, low, high)
        return fit_to_levels(samples.values, low, high, inside=inside)

    def _require_ends(self, samples: Samples) -> tuple[float, float]:
        """Black and white; what a window cuts away is meant to go, what lies outside of the set's range is not."""
        low, high = self.find_ends(samples)
        if samples.ends is None:
            require_inside(samples.values, low, high)
        return low, high

    def find_ends(self, samples: Samples) -> tuple[float, float]:
        """Black and white of samples beyond 8 bits."""
        if samples.ends is not None:
            return samples.ends
        self.deep_values = samples.values
        if samples.kind == "floats":
            return self.ranges.floats or _own_float_range(samples.values)
        return self.ranges.integers or _own_integer_range(samples.values)

    def measure_range(self) -> tuple[float, float] | None:
        """The smallest and largest value beyond 8 bits but for a stray few; None without such. After decoding."""
        if self.deep_values is None:
            return None
        sample = self.deep_values.ravel()[:: max(1, self.deep_values.size // _SAMPLED)]
        values = np.sort(sample[np.isfinite(sample)])
        if not len(values):
            return None
        stray = int(STRAY * len(values))
        return float(values[stray]), float(values[-1 - stray])


_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def digest_camera(texts: Iterable[str]) -> int:
    """64 bits of the SHA-256 of maker, model and software: the same for all pictures of one, and no name."""
    stripped = [text.strip() for text in texts]
    return int.from_bytes(hashlib.sha256("\0".join(stripped).encode()).digest()[:8], "big") if any(stripped) else 0


def open_picture(content: bytes, max_pixels: int = MAX_PIXELS, ranges: PixelRanges = OWN_RANGES) -> Picture:
    """Open a file by the format that its first bytes announce; its size is checked before anything is decoded.

    Raises:
        PictureError: It is not a readable picture, or has more than `max_pixels`.
    """
    picture: Picture = detect_format(content[:HEAD_BYTES]).open(content, max_pixels, ranges)
    if ranges != OWN_RANGES and picture.n_bands != ranges.n_bands and not (ranges.bands and not ranges.n_bands):
        kinds = [f"of {count} bands" if count else "grey or colour" for count in (picture.n_bands, ranges.n_bands)]
        raise PictureError("unreadable", f"it is {kinds[0]}, the training pictures are {kinds[1]}")
    return picture


def require_few_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse, by a PictureError, what a header announces to be too large."""
    if width * height > max_pixels:
        detail = f"{width:,} x {height:,} px is more than {max_pixels / 1_000_000:g} megapixels"
        raise PictureError("too_many_pixels", detail)


def require_finite_value(values: np.ndarray) -> None:
    """Refuse, by a PictureError, a picture without any number in it."""
    if values.dtype.kind == "f" and not np.isfinite(values).any():
        raise PictureError("unreadable", "no value in it is a finite number")


def _own_float_range(values: np.ndarray) -> tuple[float, float]:
    finite = np.isfinite(values)
    low, high = float(values[finite].min()), float(values[finite].max())
    return (0.0, 1.0 if high <= 1 else 255.0) if low >= 0 and high <= 255 else (low, high)


def _own_integer_range(values: np.ndarray) -> tuple[float, float]:
    low, high = int(values.min()), int(values.max())
    return (0, 4095 if high <= 4095 else 65535) if low >= 0 and high <= 65535 else (low, high)


def require_inside(values: np.ndarray, low: float, high: float) -> bool:
    """Whether all values lie inside, NaN does not; refuses, by a PictureError, a picture of quite another range."""
    if low <= values.min() and values.max() <= high:
        return True
    if np.mean(np.isfinite(values) & ((values < low) | (values > high))) > OUTSIDE:
        detail = f"more than half of its values lie outside {low:,g} to {high:,g}, the range of the training pictures"
        raise PictureError("unreadable", detail)
    return False


def fit_to_uint8(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scaled, rounded and clipped to uint8; what is no number becomes black."""
    finite = np.isfinite(values)
    factor = 255.0 / (high - low) if high != low else 0.0
    levels = (np.where(finite, values, low).astype(np.float32) - np.float32(low)) * np.float32(factor) + 0.5
    return np.asarray(np.clip(levels, 0, 255), np.uint8)


def fit_to_levels(values: np.ndarray, low: float, high: float, *, inside: bool = False) -> np.ndarray:
    """Scaled and clipped to float32 0..255, one rounding a value; what is no number becomes black.

    Where all values are known to lie `inside`, they are clipped only if rounding may lift the largest above 255.
    """
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, low)
    levels: Any = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    if low:
        levels -= low
    factor = 255.0 / (high - low) if high != low else 0.0
    levels *= factor
    if not inside or levels.dtype.type(high - low) * levels.dtype.type(factor) > 255:
        np.clip(levels, 0, 255, out=levels)
    return np.asarray(levels, np.float32)
