"""JPEG, PNG, BMP, GIF, WebP and TIFF, read by Pillow.

The first frame counts; transparency is laid on white; CMYK and other colour spaces become RGB without their ICC
profile. Of 16-bit colour Pillow keeps the high bytes: the low ones are read by a second pass with the other byte order.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
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

from headstart.core.types import PixelRanges
from headstart.images.codecs import (
    ALPHA,
    BITS_16,
    CMYK,
    FLOAT,
    NO_EXIF,
    Origin,
    Picture,
    Samples,
    digest_camera,
    fit_to_uint8,
    require_few_pixels,
    require_finite_value,
    require_inside,
)
from headstart.images.file_formats import HEAD_BYTES, PictureError, PictureFormat, count_passes, is_cut_short
from headstart.images.formats.geotiff import GeotiffPicture
from headstart.images.quiet_reading import silence_readers

_EXIF, _TAKEN, _CHANGED = 0x8769, 36867, 306
_CAMERA = (271, 272, 305)  # maker, model, software
# Luminance table of Annex K of ITU-T T.81, row by row.
_USUAL_TABLE = bytes.fromhex(
    "100b0a1018283339" "0c0c0e131a3a3c37" "0e0d101828394538" "0e11161d33575038"
    "1216253844 6d674d" "182337405168715c" "31404e5767797865" "485c5f6270646763"
)  # fmt: skip
MAX_PASSES = 50  # of a progressive JPEG; encoders make about ten

_SIGNATURES = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"GIF8[79]a", "GIF"),
    (rb"RIFF....WEBP", "WebP"),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", "BMP"),
)
_READERS: dict[str, Any] = {
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}


class RasterPicture(Picture):
    """An opened file; see `Picture`."""

    def __init__(self, content: bytes, max_pixels: int, ranges: PixelRanges) -> None:
        super().__init__(ranges)
        self.format = find_name(content[:HEAD_BYTES])
        self._content = content
        self._max_pixels = max_pixels
        with self._translate_errors():
            self._image = self._open_image()
            self.size = self._image.size
        self.extent = self.size

    def _open_image(self) -> ImageFile.ImageFile:
        image: ImageFile.ImageFile = _READERS[self.format](io.BytesIO(self._content))
        require_few_pixels(*image.size, self._max_pixels)
        many = "progressive" in image.info and self._content.count(b"\xff\xda") > MAX_PASSES  # quick, and seldom
        if many and count_passes(self._content, MAX_PASSES) > MAX_PASSES:
            raise PictureError("unreadable", f"its data go over the picture more than {MAX_PASSES} times")
        return image

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turn whatever a reader raises on bad bytes (Pillow has no common class for it) into a PictureError."""
        try:
            with silence_readers():
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
                detail = "the TIFF has bits a channel that are not read; 8, 16 and 32 are"
            if "12-bit layers" in detail:
                detail = "the JPEG has 12 bits a channel, and 8 are read: convert it to PNG or TIFF of 16 bits"
            raise PictureError("unreadable", detail.replace("\n", " ")) from err

    @property
    def tags(self) -> Any:
        """Those of a TIFF's first page."""
        return getattr(self._image, "tag_v2", {})

    def count_frames(self) -> int:
        """How many frames or pages the file has."""
        with self._translate_errors():
            return int(getattr(self._image, "n_frames", 1))

    def decode_rgb(self, least: int = 0) -> Image.Image:
        """8-bit RGB, not yet upright; a JPEG perhaps at 1/2, 1/4 or 1/8, its shorter side at least `least` px."""
        with self._translate_errors():
            raw_mode = self._load(least)
            if self._image.mode.startswith(("I", "F")):
                samples = self._read_deep_grey()
                grey = fit_to_uint8(samples.values[..., 0], *self._require_ends(samples))
                return Image.fromarray(grey).convert("RGB")
            image = self._flatten_transparency(self._image)
            return self._recover_low_bytes(image, raw_mode) if _has_low_bytes(raw_mode) else image

    def decode_samples(self, least: int = 0) -> Samples:
        """See `Picture.decode_samples`; a JPEG is reduced as by `decode_rgb`."""
        with self._translate_errors():
            raw_mode = self._load(least)
            if self._image.mode.startswith(("I", "F")):
                return self._read_deep_grey()
            if _has_low_bytes(raw_mode) and not raw_mode.startswith("LA") and self._image.mode in ("RGB", "RGBA"):
                return self._read_deep_colour()
            return Samples(values=np.asarray(self._flatten_transparency(self._image)))

    def _load(self, least: int) -> str:
        """Decode, and tell how a pixel is laid out in the file."""
        if least and self.format == "JPEG":
            drafted = self._image.draft(None, (least, least))
            self.extent = drafted[1][2:] if drafted else self.size
        args = self._image.tile[0].args if self._image.tile else ""
        self._image.load()
        return str(args[0] if isinstance(args, tuple) else args)

    def read_orientation(self) -> int:
        """The EXIF orientation, 1 to 8; 1 where none can be read. Right only after `decode_rgb`."""
        try:
            with silence_readers():
                return int(self._image.getexif().get(0x0112, 1))
        except Exception:  # broken metadata of a sound picture: told as a note
            self.notes.add(NO_EXIF)
            return 1

    def read_origin(self) -> Origin:
        """See `Picture.read_origin`; what broken metadata say counts as nothing."""
        tables = getattr(self._image, "quantization", {})  # by their numbers, which need not begin at 0
        quality = estimate_jpeg_quality(tuple(tables[min(tables)])) if tables else 0.0
        try:
            with silence_readers():
                if not (exif := self._image.getexif()):
                    return Origin(jpeg_quality=quality)
                day = _parse_day(exif.get_ifd(_EXIF).get(_TAKEN) or exif.get(_CHANGED))
                texts = [str(exif.get(tag, "")) for tag in _CAMERA]
        except Exception:
            day, texts = 0.0, [""]
        return Origin(digest_camera(texts), day, quality)

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
        ends = self.ranges.integers or (0, 4095 if values.max(initial=0) < 4096 else 65535)
        if ends == (0, 65535):
            return high
        values += np.asarray(self._flatten_transparency(self._load_low()))
        require_inside(values, *ends)
        return Image.fromarray(fit_to_uint8(values, *ends))

    def _load_low(self) -> Image.Image:
        """The low bytes of 16-bit colour."""
        again = self._open_image()
        again.tile = [tile._replace(args=_swap_byte_order(tile.args)) for tile in again.tile]
        again.load()
        return again

    def _read_deep_colour(self) -> Samples:
        self.notes.add(BITS_16)
        values = np.asarray(self._image).astype(np.uint16) * 256 + np.asarray(self._load_low())
        if not self._image.has_transparency_data:
            return Samples(values=values, kind="integers")
        if self._image.mode == "RGB":  # one colour stands for transparency
            share = np.asarray(self._image.convert("RGBA"))[..., 3:] / np.float32(255)
        else:
            values, share = values[..., :-1], values[..., -1:] / np.float32(65535)
        if share.min() < 1:
            self.notes.add(ALPHA)
            white = (self.ranges.integers or (0, 65535))[1]
            values = white + (values - np.float32(white)) * share
        return Samples(values=values, kind="integers")

    def _read_deep_grey(self) -> Samples:
        values = np.asarray(self._image)
        require_finite_value(values)
        is_float = values.dtype.kind == "f"
        self.notes.add(FLOAT if is_float else BITS_16)
        return Samples(values=values[..., None], kind="floats" if is_float else "integers")


def _read_tags(content: bytes) -> Any:
    """The tags of a TIFF's first page, also where Pillow does not open it; none of damaged ones."""
    stream = io.BytesIO(content)
    try:
        with silence_readers():
            tags = TiffImagePlugin.ImageFileDirectory_v2(stream.read(16 if content[2:3] == b"+" else 8))
            stream.seek(tags.next)
            tags.load(stream)
        return tags
    except Exception:  # whatever bad bytes make Pillow raise; opening it tells the reason
        return {}


def _has_many_bands(tags: Any) -> bool:
    """Whether a TIFF has a band that is no grey, no colour and no transparency: Pillow would drop it, or take it so."""
    try:
        count, extra = tags.get(277, 1), tags.get(338, ())
        colours = {2: 3, 5: 4, 6: 3, 8: 3}.get(tags.get(262, 1), 1)
        return bool(count > colours and not (count == colours + 1 and extra in ((1,), (2,))))
    except Exception:  # a damaged tag, which Pillow takes apart only now
        return False


def _has_low_bytes(raw_mode: str) -> bool:
    return ";16" in raw_mode and not raw_mode.startswith("I")


def _swap_byte_order(args: Any) -> Any:
    """The same layout read with the other byte order, which makes Pillow keep the low byte."""
    if isinstance(args, tuple):
        return (_swap_byte_order(args[0]), *args[1:])
    layout, _, order = str(args).rpartition(";16")
    return f"{layout};16{'L' if order == 'B' else 'B'}"


@functools.lru_cache(maxsize=64)
def estimate_jpeg_quality(table: tuple[int, ...]) -> float:
    """1 to 100 by the first quantisation table (64), as the Independent JPEG Group scales its own (ITU-T T.81, K.1)."""
    unclipped = [(q, usual) for q, usual in zip(table, _USUAL_TABLE, strict=True) if 1 < q < 255]
    if not unclipped:
        return 100.0 if max(table) <= 1 else 1.0
    scale = 100 * sum(q for q, _ in unclipped) / sum(usual for _, usual in unclipped)
    return float(min(100, max(1, round(5000 / scale if scale > 100 else (200 - scale) / 2))))


def _parse_day(text: Any) -> float:
    """Days since 1970 of `2024:05:31 12:00:00`; 0 of anything else."""
    try:
        return datetime.strptime(str(text)[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp() / 86_400
    except ValueError:
        return 0.0


def find_name(head: bytes) -> str:
    """The format that the first bytes announce; empty for none of these."""
    return next((name for pattern, name in _SIGNATURES if re.match(pattern, head, re.DOTALL)), "")


def open_raster(content: bytes, max_pixels: int, ranges: PixelRanges) -> Picture:
    """A picture of grey or colour, or a TIFF of many bands; with `ranges.bands` any TIFF is read as its bands."""
    is_tiff = find_name(content[:HEAD_BYTES]) == "TIFF"
    if is_tiff and ranges.bands:
        return GeotiffPicture(content, max_pixels, ranges)
    try:
        picture = RasterPicture(content, max_pixels, ranges)
    except PictureError:
        if is_tiff and _has_many_bands(_read_tags(content)):
            return GeotiffPicture(content, max_pixels, ranges)
        raise
    return GeotiffPicture(content, max_pixels, ranges) if is_tiff and _has_many_bands(picture.tags) else picture


PLUGIN = PictureFormat(
    names=tuple(name for _, name in _SIGNATURES), recognises=lambda head: bool(find_name(head)), open=open_raster
)
