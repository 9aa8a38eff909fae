"""GeoTIFF and other TIFF of many bands, read by rasterio: any integer or float type, tiled or not, with its nodata.

A large file is read at a reduced size, through its overviews where it has them, so that memory stays bounded. Values
are as stored: orientation, map projection and units are left alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import SetupError
from headstart.core.extras import require_extra
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.core.types import PixelRanges
from headstart.images import band_values
from headstart.images.bands import BandPicture, translate_errors
from headstart.images.file_formats import PictureError

REDUCED_PX = 4096  # the longer side of a file that is too large to be held
REVISION = 1  # raise it when `read_reduced` gives other values
_FILE = "reduced.tif"


class GeotiffPicture(BandPicture):
    """An opened TIFF; see `BandPicture`."""

    format = "TIFF"

    def __init__(self, content: bytes, max_pixels: int, ranges: PixelRanges) -> None:
        super().__init__(ranges)
        self._content = content
        with open_geotiff(content) as dataset:
            self.size, self.n_bands = (dataset.width, dataset.height), dataset.count
            types = set(dataset.dtypes)
        self.require_limits(max_pixels)
        if any(kind.startswith("complex") for kind in types):
            raise PictureError("unreadable", "its values are complex numbers; write their amplitude, or two real bands")

    def read_bands(self, bands: Sequence[int], width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """See `BandPicture.read_bands`."""
        with open_geotiff(self._content) as dataset:
            return band_values.read_geotiff(dataset, bands, (width, height))


def read_place(source: bytes | str) -> tuple[str, tuple[float, float, float, float]] | None:
    """Coordinate system, and left, bottom, right and top in it, of a TIFF's bytes or path; None without a place."""
    with open_geotiff(source) as dataset:
        if dataset.crs is None or dataset.transform.is_identity:
            return None
        a, b, left, d, e, top = tuple(dataset.transform)[:6]
        x, y = np.array([[0, dataset.width, 0, dataset.width], [0, 0, dataset.height, dataset.height]])
        across, down = a * x + b * y + left, d * x + e * y + top
        return str(dataset.crs), (float(across.min()), float(down.min()), float(across.max()), float(down.max()))


def load_reduced(path: str, facts: os.stat_result) -> bytes:
    """As `read_reduced`, once for a file of these facts: the cache keeps it, where it has room."""
    state = [os.path.abspath(path), facts.st_size, facts.st_mtime_ns, facts.st_ino]  # noqa: PTH100 - any bytes
    key = {"reduced": state, "side": REDUCED_PX, "revision": REVISION}

    def write(folder: Path) -> None:
        (folder / _FILE).write_bytes(read_reduced(path))

    try:
        return (Store(cache_folder()).make_entry("pictures", key, write) / _FILE).read_bytes()
    except SetupError:  # the disk is full or may not be written
        return read_reduced(path)


def read_reduced(path: str) -> bytes:
    """A TIFF too large to be held, as the bytes of one whose longer side has `REDUCED_PX`; memory stays bounded.

    Through the overviews where it has them, else by the mean of the pixels that are data.
    """
    from rasterio.enums import Resampling
    from rasterio.io import MemoryFile

    with open_geotiff(path) as dataset, MemoryFile() as memory:
        factor = max(1.0, max(dataset.width, dataset.height) / REDUCED_PX)
        width, height = max(1, round(dataset.width / factor)), max(1, round(dataset.height / factor))
        a, b, left, d, e, top = tuple(dataset.transform)[:6]
        across, down = dataset.width / width, dataset.height / height
        profile = {
            "driver": "GTiff",
            "width": width,
            "height": height,
            "count": dataset.count,
            "dtype": dataset.dtypes[0],
            "nodata": dataset.nodata,
            "crs": dataset.crs,
            "transform": type(dataset.transform)(a * across, b * down, left, d * across, e * down, top),
            "photometric": dataset.photometric.value if dataset.photometric else None,
        }
        with memory.open(**{name: value for name, value in profile.items() if value is not None}) as reduced:
            for band in dataset.indexes:
                values = dataset.read(band, out_shape=(height, width), resampling=Resampling.average)
                reduced.write(values, band)
        return bytes(memory.getbuffer())


@contextlib.contextmanager
def open_geotiff(source: bytes | str) -> Iterator[Any]:
    """A TIFF's bytes or path as an opened `rasterio` data set.

    Raises:
        PictureError: It cannot be read, or rasterio is not installed.
    """
    try:
        require_extra("geo", "reading pictures of many bands")
    except SetupError as err:
        raise PictureError("unreadable", f"{err.what}: {err.hint}") from err
    with translate_errors(), band_values.open_geotiff(source) as dataset:
        yield dataset
