"""The values of pictures of many bands, by rasterio or NumPy, and how they become red, green and blue.

Nothing of headstart is needed here: exports carry this file's text in their `predict.py`.
"""

import contextlib
import io
from typing import Any

import numpy as np

CACHE_MB = 256  # of decoded blocks that GDAL holds
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ARRAY = b"\x93NUMPY"


class BandError(ValueError):
    """A file that cannot be read; `reason` is one of the words of `SkippedFile.reason`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def is_tiff(head: bytes) -> bool:
    """Whether a file's first bytes are those of a TIFF, classic or big."""
    return head[:4] in _TIFF


def is_array(head: bytes) -> bool:
    """Whether a file's first bytes are those of a `.npy` file."""
    return head.startswith(_ARRAY)


@contextlib.contextmanager
def open_geotiff(source: bytes | str) -> Any:
    """A TIFF's bytes or path as an opened `rasterio` data set; BandError where it cannot be read."""
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.io import MemoryFile

    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_MB, GDAL_PAM_ENABLED=False))
            if isinstance(source, str):
                yield stack.enter_context(rasterio.open(source, driver="GTiff"))
            else:
                yield stack.enter_context(stack.enter_context(MemoryFile(source)).open(driver="GTiff"))
    except RasterioError as err:
        cause = str(err.__cause__ or err.__context__ or err)
        if "IReadBlock failed" in cause or "ReadDirectory" in cause:
            raise BandError("truncated", "the TIFF data ends early, or is damaged") from err
        raise BandError("unreadable", f"damaged TIFF: {cause}".replace("\n", " ")) from err


def read_geotiff(dataset: Any, bands: Any, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Bands (from 1) at a width and height: values (h, w, B), and whether each is data.

    Reduced by the mean of the pixels that are data, through overviews where there are any.
    """
    from rasterio.enums import MaskFlags, Resampling

    width, height = size
    how = Resampling.nearest if size == (dataset.width, dataset.height) else Resampling.average
    values = dataset.read(list(bands), out_shape=(len(bands), height, width), resampling=how)
    valid = np.isfinite(values)
    for at, band in enumerate(bands):
        if not {MaskFlags.all_valid, MaskFlags.alpha} & set(dataset.mask_flag_enums[band - 1]):
            valid[at] &= dataset.read_masks(band, out_shape=(height, width), resampling=how) > 0
    return np.moveaxis(values, 0, -1), np.moveaxis(valid, 0, -1)


def load_array(content: bytes) -> np.ndarray:
    """The picture (H, W, B) in a `.npy` file; BandError where it is none."""
    try:
        values = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as err:
        reason = "truncated" if "EOF" in str(err) or "reshape" in str(err) else "unreadable"
        raise BandError(reason, f"damaged NumPy file: {err}".replace("\n", " ")) from err
    if values.ndim not in (2, 3) or 0 in values.shape or values.dtype.kind not in "iufb":
        what = f"an array {values.shape} of {values.dtype} is no picture: real numbers (H, W) or (H, W, B) are"
        raise BandError("unreadable", what)
    return np.asarray(values.reshape(*values.shape[:2], -1))


def reduce_array(picture: np.ndarray, bands: Any, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Bands (from 1) of a picture (H, W, B) at a width and height by every so many pixels; whether each is data."""
    (height, width), (wide, high) = picture.shape[:2], size
    rows, columns = np.arange(high) * height // high, np.arange(wide) * width // wide
    values = picture[np.ix_(rows, columns, np.array(bands) - 1)]
    return values, np.isfinite(values)


def reduce_size(size: tuple[int, int], least: int) -> tuple[int, int]:
    """Width and height by a whole factor, the shorter at least `least` px; as they are where that is 0."""
    factor = max(1, min(size) // least) if least else 1
    return size[0] // factor, size[1] // factor


def mix_bands(values: np.ndarray, valid: np.ndarray, ends: Any, mix: Any) -> np.ndarray:
    """Bands (H, W, B) as (H, W, 3 V) float32 levels 0..255; `ends` are B pairs, `mix` has 3 V rows of B weights."""
    exact = (np.int8, np.uint8, np.int16, np.uint16, np.float32)
    kind = np.float32 if values.dtype in exact else np.float64
    low, high = np.nan_to_num(np.array(ends, np.float64)).T
    factor = np.divide(255.0, high - low, out=np.zeros_like(low), where=high > low)
    levels: Any = np.array(values, kind, order="C")
    if not valid.all():
        np.copyto(levels, low.astype(kind), where=~valid)
    levels -= low.astype(kind)
    levels *= factor.astype(kind)
    np.clip(levels, 0, 255, out=levels)
    mixed = levels.astype(np.float32, copy=False) @ np.array(mix, np.float32).T
    return np.asarray(np.clip(mixed, 0, 255, out=mixed), np.float32)


def stack_views(bands: Any) -> np.ndarray:
    """3 V bands (h, w) as (V * h, w, 3): three are a view, and one view lies below the other."""
    return np.concatenate([np.stack(bands[at : at + 3], axis=-1) for at in range(0, len(bands), 3)])
