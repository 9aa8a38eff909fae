"""Bytes of a picture file -> an 8-bit RGB picture, or a `PictureError` with the reason.

The size in the header is checked before anything is decoded. The first frame counts; transparency is laid on white;
CMYK and other colour spaces become RGB without their ICC profile. Deeper grey and colour is scaled by the range that
was measured on the whole set; without one by the file's own: values up to 4095 count as 12 bits, up to 65535 as 16;
floats as 0..1 or 0..255, others from their smallest to their largest.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from headstart.core.types import OWN_RANGES, PixelRanges
from headstart.images.file_formats import HEAD_BYTES, PictureError, count_passes, detect_format, is_cut_short

MAX_PIXELS = 100_000_000
MAX_BYTES = 1_000_000_000
OUTSIDE = 0.5  # of a picture's values may lie outside the range
_SAMPLED = 1_000_000  # values whose range is measured
STRAY = 0.001  # of a picture's values have no say in the range: hot pixels
MAX_PASSES = 50  # of a progressive JPEG; encoders make about ten

_BANDS = "grey, RGB, RGB with transparency and CMYK are read"

# what was done to a picture; the order is part of the cached facts
NOTES = (
    "alpha on white",
    "CMYK to RGB",
    "16 bits a channel and more scaled to 8",
    "floats scaled to 8 bits",
    "EXIF data unreadable, orientation not applied",
)
ALPHA, CMYK, BITS_16, FLOAT, NO_EXIF = range(len(NOTES))

_READERS: dict[str, Any] = {
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Picture:
    """An opened file, nothing decoded yet.

    Attributes:
        size: Width and height in px as stored, before EXIF orientation.
        extent: Width and height of the picture in pixels of what `decode_rgb` gave; a reduced scale may not be whole.
        notes: Positions in `NOTES` of what was done so far.
        deep_values: What `decode_rgb` scaled to 8 bits, (H, W) or (H, W, 3); of 16-bit colour the high bytes tell.

    Raises:
        PictureError: It is not a readable picture, or has more than `max_pixels`.
    """

    def __init__(self, content: bytes, max_pixels: int = MAX_PIXELS, ranges: PixelRanges = OWN_RANGES) -> None:
        self.format = detect_format(content[:HEAD_BYTES])
        self.notes: set[int] = set()
        self.deep_values: np.ndarray | None = None
        self._ranges = ranges
        self._content = content
        self._max_pixels = max_pixels
        with self._translate_errors():
            self._image = self._open_image()
            self.size: tuple[int, int] = self._image.size
        self.extent: tuple[float, float] = self.size

    def _open_image(self) -> ImageFile.ImageFile:
        image: ImageFile.ImageFile = _READERS[self.format](io.BytesIO(self._content))
        width, height = image.size
        if width * height > self._max_pixels:
            detail = f"{width:,} x {height:,} px is more than {self._max_pixels / 1_000_000:g} megapixels"
            raise PictureError("too_many_pixels", detail)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            _require_known_bands(image)
        many = "progressive" in image.info and self._content.count(b"\xff\xda") > MAX_PASSES  # quick, and seldom
        if many and count_passes(self._content, MAX_PASSES) > MAX_PASSES:
            raise PictureError("unreadable", f"its data go over the picture more than {MAX_PASSES} times")
        return image

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turn whatever a reader raises on bad bytes (Pillow has no common class for it) into a PictureError."""
        try:
            with _silence_pillow():
                yield
        except PictureError:
            raise
        except Image.DecompressionBombError as err:
            raise PictureError("too_many_pixels", str(err)) from err
        except Exception as err:
            if "truncated" in str(err).lower() or isinstance(err, EOFError) or is_cut_short(self._content, self.format):
                raise PictureError("truncated", f"the {self.format} data ends early") from err
            detail = f"damaged {self.format}: {err or type(err).__name__}"
            if "unknown pixel mode" in detail:
                detail = f"the TIFF has bands or bits that are not read; {_BANDS}"
            raise PictureError("unreadable", detail.replace("\n", " ")) from err

    def count_frames(self) -> int:
        """How many frames or pages the file has."""
        with self._translate_errors():
            return int(getattr(self._image, "n_frames", 1))

    def decode_rgb(self, least: int = 0) -> Image.Image:
        """8-bit RGB, not yet upright; a JPEG perhaps at 1/2, 1/4 or 1/8, its shorter side at least `least` px."""
        with self._translate_errors():
            if least and self.format == "JPEG":
                drafted = self._image.draft(None, (least, least))
                self.extent = drafted[1][2:] if drafted else self.size
            args = self._image.tile[0].args if self._image.tile else ""
            raw_mode = str(args[0] if isinstance(args, tuple) else args)
            self._image.load()
            if self._image.mode.startswith(("I", "F")):
                return self._scale_grey(np.asarray(self._image))
            image = self._flatten_transparency(self._image)
            has_low_bytes = ";16" in raw_mode and not raw_mode.startswith("I")
            return self._recover_low_bytes(image, raw_mode) if has_low_bytes else image

    def turn_upright(self, image: Image.Image) -> Image.Image:
        """Apply the EXIF orientation to a picture that `decode_rgb` gave (resized or not)."""
        turn = _TURN.get(self.read_orientation())
        return image if turn is None else image.transpose(turn)

    def read_orientation(self) -> int:
        """The EXIF orientation, 1 to 8; 1 where none can be read. Right only after `decode_rgb`."""
        try:
            with _silence_pillow():
                return int(self._image.getexif().get(0x0112, 1))
        except Exception:  # broken metadata of a sound picture: told as a note
            self.notes.add(NO_EXIF)
            return 1

    def _flatten_transparency(self, image: Image.Image) -> Image.Image:
        if image.mode == "RGB" and "transparency" not in image.info:
            return image
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            alpha = rgba.getchannel("A")
            if alpha.getextrema()[0] == 255:
                return rgba.convert("RGB")
            self.notes.add(ALPHA)
            white = Image.new("RGB", rgba.size, "white")
            white.paste(rgba, mask=alpha)
            return white
        if image.mode == "CMYK":
            self.notes.add(CMYK)
        return image.convert("RGB")

    def _recover_low_bytes(self, high: Image.Image, raw_mode: str) -> Image.Image:
        """Pillow keeps the high byte of 16-bit colour, which is enough where black to white are all 16 bits."""
        self.notes.add(BITS_16)
        if raw_mode.startswith("LA") or ALPHA in self.notes:
            return high
        values = np.asarray(high).astype(np.uint16) * 256
        self.deep_values = values + 255
        ends = self._ranges.integers or (0, 4095 if values.max(initial=0) < 4096 else 65535)
        if ends == (0, 65535):
            return high
        again = self._open_image()
        again.tile = [tile._replace(args=_swap_byte_order(tile.args)) for tile in again.tile]
        again.load()
        return Image.fromarray(_scale_to_uint8(values + np.asarray(self._flatten_transparency(again)), *ends))

    def _scale_grey(self, values: np.ndarray) -> Image.Image:
        if not np.isfinite(values).any():
            raise PictureError("unreadable", "no value in it is a finite number")
        is_float, self.deep_values = values.dtype.kind == "f", values
        self.notes.add(FLOAT if is_float else BITS_16)
        ends = (self._ranges.floats or _own_float_range(values)) if is_float else self._ranges.integers
        return Image.fromarray(_scale_to_uint8(values, *(ends or _own_integer_range(values)))).convert("RGB")

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


def _require_known_bands(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse a TIFF with a band that is no grey, no colour and no transparency: Pillow would drop it, or take it so."""
    tags = image.tag_v2
    count, colours, extra = tags.get(277, 1), {2: 3, 5: 4, 6: 3, 8: 3}.get(tags.get(262, 1), 1), tags.get(338, ())
    if count > colours and not (count == colours + 1 and extra in ((1,), (2,))):
        kinds = "a 4th band whose meaning it does not say" if count == 4 else f"{count} bands"
        raise PictureError("unreadable", f"the TIFF has {kinds}; {_BANDS}")


def _own_float_range(values: np.ndarray) -> tuple[float, float]:
    finite = np.isfinite(values)
    low, high = float(values[finite].min()), float(values[finite].max())
    return (0.0, 1.0 if high <= 1 else 255.0) if low >= 0 and high <= 255 else (low, high)


def _own_integer_range(values: np.ndarray) -> tuple[float, float]:
    low, high = int(values.min()), int(values.max())
    return (0, 4095 if high <= 4095 else 65535) if low >= 0 and high <= 65535 else (low, high)


def _scale_to_uint8(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scaled and clipped; what is no number becomes black."""
    finite = np.isfinite(values)
    if np.mean(finite & ((values < low) | (values > high))) > OUTSIDE:
        what = f"more than half of its values lie outside {low:,g} to {high:,g}, the range of the training pictures"
        raise PictureError("unreadable", what)
    factor = 255.0 / (high - low) if high > low else 0.0
    levels = (np.where(finite, values, low).astype(np.float32) - np.float32(low)) * np.float32(factor) + 0.5
    return np.asarray(np.clip(levels, 0, 255), np.uint8)


def _swap_byte_order(args: Any) -> Any:
    """The same layout read with the other byte order, which makes Pillow keep the low byte."""
    if isinstance(args, tuple):
        return (_swap_byte_order(args[0]), *args[1:])
    layout, _, order = str(args).rpartition(";16")
    return f"{layout};16{'L' if order == 'B' else 'B'}"


_quiet_lock = threading.Lock()
_quiet_threads: list[int] = []
_QUIET: Any = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


@contextlib.contextmanager
def _silence_pillow() -> Iterator[None]:
    """Pillow's warnings off the terminal while any thread reads; `warnings.catch_warnings` is not safe with threads."""
    with _quiet_lock:
        if not _quiet_threads:
            warnings.filters.insert(0, _QUIET)  # type: ignore[attr-defined]
        _quiet_threads.append(threading.get_ident())
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_threads.pop()
            if not _quiet_threads:
                with contextlib.suppress(ValueError):
                    warnings.filters.remove(_QUIET)  # type: ignore[attr-defined]
