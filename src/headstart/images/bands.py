"""Pictures of many bands, each scaled by a range of its own, mixed into the three channels of a trunk.

A band's 2nd to 98th percentile over the training pictures becomes 0..255; what lies beyond is clipped, and what is no
data becomes the low end. The channels are sums of bands: the same numbers as inflating the first convolution gives,
for that is linear too, and the trunk stays as it is. The default weights are the best measured ones
(`benchmarks/bands.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from headstart.images.band_values import BandError, mix_bands, reduce_size
from headstart.images.codecs import Picture, require_few_pixels
from headstart.images.file_formats import PictureError
from headstart.images.quiet_reading import silence_readers

MAX_BANDS = 64
PERCENTILES = (2.0, 98.0)
_SAMPLE_SIDE = 64  # px of the grid on which a picture's values are measured
Range = tuple[float, float]


class BandPicture(Picture):
    """An opened file of many bands; a format derives from it and gives `read_bands`."""

    def read_bands(self, bands: Sequence[int], width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Bands (from 1) reduced to a size: values (height, width, B) of any real type; whether each is data, bool."""
        raise NotImplementedError

    def require_limits(self, max_pixels: int) -> None:
        """Refuse, by a PictureError, more pixels, or more bands than `MAX_BANDS`."""
        require_few_pixels(*self.size, max_pixels)
        if self.n_bands > MAX_BANDS:
            raise PictureError("unreadable", f"{self.n_bands:,} bands are more than {MAX_BANDS}")

    def decode_levels(self, least: int = 0) -> np.ndarray:
        """See `Picture.decode_levels`: (H, W, 3 V), its shorter side at least `least` px if it is reduced."""
        bands = self._list_bands()
        self.extent = width, height = reduce_size(self.size, least)
        values, valid = self.read_bands(bands, width, height)
        for at, band in enumerate(bands):
            if self.ranges.bands and not valid[..., at].any():
                raise PictureError("unreadable", f"no value of band {band} is data")
        ends = self.ranges.band_ranges or measure_ranges([np.where(valid, values, np.nan).reshape(-1, len(bands))])
        return mix_bands(values, valid, ends, self.ranges.mix or make_mix(len(bands)))

    def decode_rgb(self, least: int = 0) -> Image.Image:
        """The mix, of several views their mean, as an 8-bit picture."""
        levels = self.decode_levels(least)
        return Image.fromarray(np.asarray(levels.reshape(*levels.shape[:2], -1, 3).mean(axis=2) + 0.5, np.uint8))

    def sample_values(self, bands: Sequence[int]) -> np.ndarray:
        """(n, B) float64 values on a coarse grid; what is no data is NaN."""
        values, valid = self.read_bands(bands, *(min(side, _SAMPLE_SIDE) for side in self.size))
        return np.where(valid, values, np.nan).reshape(-1, len(bands))

    def _list_bands(self) -> tuple[int, ...]:
        bands = self.ranges.bands or tuple(range(1, self.n_bands + 1))
        if max(bands) > self.n_bands:
            raise PictureError("unreadable", f"it has {format_count(self.n_bands)}, band {max(bands)} is asked for")
        return bands


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Turn a `BandError` into a PictureError, warnings held back."""
    try:
        with silence_readers():
            yield
    except BandError as err:
        raise PictureError(err.reason, str(err)) from err


def format_count(n_bands: int) -> str:
    """`1 band`, `13 bands`."""
    return f"{n_bands} band{'' if n_bands == 1 else 's'}"


def measure_ranges(samples: Sequence[np.ndarray]) -> tuple[Range, ...]:
    """Low and high end of each band of samples (n, B) float64, NaN what is no data; NaN both of a band without any.

    Both ends are the same where a band is of one value.
    """
    values = np.concatenate(samples)
    ends = []
    for band in values.T:
        data = band[~np.isnan(band)]
        ends.append(tuple(np.percentile(data, PERCENTILES).tolist()) if len(data) else (float("nan"),) * 2)
    return tuple((low, high) for low, high in ends)


def make_mix(n_bands: int) -> tuple[tuple[float, ...], ...]:
    """Weights of bands in red, green and blue, three rows of B that sum to 1.

    Bands take turns in red, green and blue, as timm inflates a first convolution (Wightman 2019), and each channel is
    the mean of its own; one without any is the mean of all.
    """
    turns = np.arange(n_bands) % 3 == np.arange(3)[:, None]
    mix = np.where(turns.any(axis=1, keepdims=True) & (n_bands > 1), turns, True).astype(float)
    return tuple(map(tuple, (mix / mix.sum(axis=1, keepdims=True)).tolist()))


def make_triples(n_bands: int) -> tuple[tuple[float, ...], ...]:
    """Weights (3 V rows of B) of V views: three neighbouring bands each, the last filled up from the first band on."""
    rows = np.eye(n_bands)[np.arange(-(-n_bands // 3) * 3) % n_bands]
    return tuple(map(tuple, rows.tolist()))
