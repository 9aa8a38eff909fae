"""Picture files -> (B, H, W, 3) RGB, as a trunk's `InputSpec` wants them, in parallel and in bounded memory.

`fit` and `predict` both decode here, so a model sees the same numbers in training and in use. A JPEG is decoded at
reduced size as long as its shorter side stays at least twice what the resize needs. Resizing is antialiased; only the
part that the centre crop keeps is computed, with the margin that the filter looks at. A set with pictures beyond 8 bits
is decoded, scaled and resized in float32 from end to end; for all others uint8 is exact and faster.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import PIL
from PIL import Image

from headstart.core.errors import DataError
from headstart.core.storage.files import format_printable
from headstart.core.storage.locations import read_inside
from headstart.core.types import InputSpec
from headstart.images.band_values import is_tiff, stack_views
from headstart.images.codecs import MAX_BYTES, MAX_PIXELS, open_picture
from headstart.images.file_formats import HEAD_BYTES, PictureError, detect_format
from headstart.images.formats import geotiff

REVISION = 1  # raise it when `decode_picture` gives other numbers for the same bytes
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}  # half-width of the filter in pixels of the coarser side
RESIZES = ("crop", "pad", "squash")
CROP_LOSS = 0.15  # of a picture, on average: below that a crop shows nearly what the other ways do
_SLICE = 8  # pictures a task decodes


def decoder_revision() -> str:
    """What the numbers of `decode_picture` depend on besides bytes and spec; part of the key of cached vectors."""
    return f"decode {REVISION} pillow {PIL.__version__}"


def decode_picture(content: bytes, spec: InputSpec, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A picture file's bytes as a trunk's input: (size_px, size_px, 3) RGB of `spec.dtype`, upright; or `spec.shape`.

    Raises:
        PictureError: It cannot be read to its end, or has more than `max_pixels`.
    """
    picture = open_picture(content, max_pixels, spec.ranges)
    side = math.ceil(spec.size_px / spec.crop_fraction) if spec.resize == "crop" else spec.size_px
    if spec.ranges.precise:
        return _fit_levels(picture.decode_levels(least=2 * side), picture.extent, spec, picture.turn_upright)
    image = picture.decode_rgb(least=2 * side)
    return np.asarray(picture.turn_upright(_resize_to_spec(image, picture.extent, spec)))


def fit_array(picture: np.ndarray, spec: InputSpec) -> np.ndarray:
    """A decoded picture (h, w, 3) uint8 RGB as a trunk's input (size_px, size_px, 3)."""
    height, width = picture.shape[:2]
    if spec.ranges.precise:
        return _fit_levels(picture.astype(np.float32), (width, height), spec, lambda image: image)
    return np.asarray(_resize_to_spec(Image.fromarray(picture), (float(width), float(height)), spec))


def _fit_levels(
    levels: np.ndarray, extent: tuple[float, float], spec: InputSpec, turn: Callable[[Image.Image], Image.Image]
) -> np.ndarray:
    """Levels (h, w, 1 or 3 V) float32 as `spec.shape` float32 0..255, each band resized by itself."""
    bands = [
        np.asarray(
            turn(
                _resize_to_spec(
                    Image.fromarray(np.ascontiguousarray(levels[..., at % levels.shape[2]])), extent, spec, at % 3
                )
            )
        )
        for at in range(3 * spec.views)
        if at < levels.shape[2] or spec.resize == "pad"
    ]
    fitted = np.repeat(bands[0][..., None], 3, axis=-1) if len(bands) == 1 else stack_views(bands)
    return np.clip(fitted, 0, 255, out=fitted)


def _resize_to_spec(image: Image.Image, extent: tuple[float, float], spec: InputSpec, band: int = 0) -> Image.Image:
    """Squash, pad, or shorter side to `size_px / crop_fraction` and centre crop; `ratio`: source pixels for one.

    An RGB picture, or one `band` of floats.
    """
    size, (width, height) = spec.size_px, extent
    if spec.resize == "squash":
        return image.resize((size, size), _FILTERS[spec.interpolation], box=(0, 0, width, height))
    if spec.resize == "pad":
        scale = size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = Image.new(image.mode, (size, size), spec.pad_rgb if image.mode == "RGB" else spec.pad_rgb[band])
        small = image.resize(inner, _FILTERS[spec.interpolation], box=(0, 0, width, height))
        canvas.paste(small, ((size - inner[0]) // 2, (size - inner[1]) // 2))
        return canvas
    ratio = min(width, height) * spec.crop_fraction / size
    room = int((size / spec.crop_fraction - size) / 2)
    margin = min(room, math.ceil(_SUPPORT[spec.interpolation] * max(ratio, 1.0) / ratio))
    half = (size + 2 * margin) * ratio / 2
    left, top = max(0.0, width / 2 - half), max(0.0, height / 2 - half)
    box = (left, top, min(width, width / 2 + half), min(height, height / 2 + half))
    wide = image.resize((size + 2 * margin,) * 2, _FILTERS[spec.interpolation], box=box)
    return wide.crop((margin, margin, margin + size, margin + size))


def measure_crop_loss(width_px: np.ndarray, height_px: np.ndarray) -> np.ndarray:
    """(N,) float64 share of each picture that lies outside its centre square."""
    return np.asarray(1 - np.minimum(width_px, height_px) / np.maximum(width_px, height_px))


def visible_box(size: tuple[int, int], spec: InputSpec) -> tuple[float, float, float, float]:
    """The part of an upright picture of a (width, height) that `decode_picture` keeps: left, top, right, bottom.

    A padded input reaches beyond the picture.
    """
    width, height = size
    if spec.resize == "pad":
        beside, above = (max(size) - width) / 2, (max(size) - height) / 2
        return -beside, -above, width + beside, height + above
    if spec.resize == "squash":
        return 0.0, 0.0, float(width), float(height)
    side = min(width, height) * spec.crop_fraction
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def read_bytes(path: str) -> bytes:
    """A picture's bytes, wherever it lies; what is no picture is not read beyond its first bytes.

    A TIFF of more than `MAX_BYTES` is read at a reduced size, as the bytes of a smaller one that the cache keeps.

    Raises:
        PictureError: It cannot be opened or read, is no picture, or has more than `MAX_BYTES`.
        HeadstartError: Its archive is damaged, or its object store does not answer.
    """
    try:
        try:
            with open(path, "rb", opener=_open_without_waiting) as handle:  # no Path object for each of millions
                facts = os.fstat(handle.fileno())
                if not stat.S_ISREG(facts.st_mode):
                    raise PictureError("not_a_picture", "it is not a regular file")
                head = handle.read(HEAD_BYTES)
                detect_format(head)
                handle.seek(0)
                if facts.st_size > MAX_BYTES and is_tiff(head):
                    return geotiff.load_reduced(path, facts)
                if facts.st_size > MAX_BYTES:
                    raise PictureError("unreadable", f"{facts.st_size:,} bytes are more than {MAX_BYTES:,}")
                return handle.read()
        except (NotADirectoryError, FileNotFoundError):  # in an archive or an object store, or nowhere
            return read_inside(path, detect_format, HEAD_BYTES, MAX_BYTES)
    except PermissionError as err:
        raise PictureError("permission", "reading it is not permitted") from err
    except (FileNotFoundError, NotADirectoryError) as err:
        raise PictureError("missing", f"{err.strerror or err}") from err
    except OSError as err:
        raise PictureError("unreadable", f"{err.strerror or err}") from err
    except ValueError as err:
        raise PictureError("unreadable", f"no file can have this name: {err}") from err


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a named pipe is opened at once, not when someone writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def decode_batches(
    root: str,
    uris: Sequence[str],
    rows: np.ndarray,
    spec: InputSpec,
    *,
    batch: int,
    threads: int,
    ahead: int = 2,
    digests: Sequence[str] | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Decode rows (M,) of `uris` below `root` in parallel, in order; at most `ahead` batches wait beside the current.

    Yields:
        Rows (b,) int64 and their pictures (b, *spec.shape) of `spec.dtype`; the last batch may be smaller.

    Raises:
        DataError: A file vanished, changed (by `digests`, SHA-256 hex) or cannot be decoded any more.
    """
    rows = np.asarray(rows, dtype=np.int64)
    waiting: deque[tuple[np.ndarray, np.ndarray, list[Future[None]]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    try:
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            pictures = np.empty((len(part), *spec.shape), dtype=spec.dtype)
            jobs = [
                pool.submit(_decode_into, pictures[at : at + _SLICE], root, uris, part[at : at + _SLICE], spec, digests)
                for at in range(0, len(part), _SLICE)
            ]
            waiting.append((part, pictures, jobs))
            if len(waiting) > ahead:
                yield _await_batch(*waiting.popleft())
        while waiting:
            yield _await_batch(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _await_batch(part: np.ndarray, pictures: np.ndarray, jobs: list[Future[None]]) -> tuple[np.ndarray, np.ndarray]:
    for job in jobs:
        job.result()
    return part, pictures


def _decode_into(
    out: np.ndarray, root: str, uris: Sequence[str], rows: np.ndarray, spec: InputSpec, digests: Sequence[str] | None
) -> None:
    for slot, row in enumerate(rows.tolist()):
        path = os.path.join(root, uris[row])  # noqa: PTH118 - millions of calls
        try:
            content = read_bytes(path)
            if digests is not None and hashlib.sha256(content).hexdigest() != digests[row]:
                raise PictureError("unreadable", "its bytes are not those that were read first")
            out[slot] = decode_picture(content, spec)
        except PictureError as err:
            raise make_change_error(root, uris[row], err.detail) from err


def make_change_error(root: str, uri: str, detail: str) -> DataError:
    """What every step says of a picture that it cannot read although the data set was read before."""
    return DataError(
        f"`{format_printable(uri)}` changed while headstart was working: {detail}",
        where=format_printable(os.path.join(root, uri)),  # noqa: PTH118 - names of any bytes
        hint="run the command again on files that stay as they are",
    )
