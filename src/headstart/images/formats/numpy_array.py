"""NumPy files (`.npy`) that hold one picture: (H, W) or (H, W, B) numbers, its bands last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.types import PixelRanges
from headstart.images import band_values
from headstart.images.bands import BandPicture, translate_errors
from headstart.images.file_formats import PictureFormat


class ArrayPicture(BandPicture):
    """An opened array; see `BandPicture`."""

    format = "NumPy"

    def __init__(self, content: bytes, max_pixels: int, ranges: PixelRanges) -> None:
        super().__init__(ranges)
        with translate_errors():
            self._values = band_values.load_array(content)
        height, width, self.n_bands = self._values.shape
        self.size = width, height
        self.require_limits(max_pixels)

    def read_bands(self, bands: Sequence[int], width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """See `BandPicture.read_bands`."""
        return band_values.reduce_array(self._values, bands, (width, height))


PLUGIN = PictureFormat(names=("NumPy",), recognises=band_values.is_array, open=ArrayPicture)
