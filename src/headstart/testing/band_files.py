"""GeoTIFF and NumPy files of many bands, of every kind that a data set may hold, and what must become of each.

The sound ones show the scene of `headstart.testing.image_files` in `N_BANDS` bands: mixes of red, green and blue, each
in units of its own. Writing needs the extra `geo`.
"""

from __future__ import annotations

import io
import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart.images.quiet_reading import silence_readers
from headstart.testing.image_files import encode_picture, make_scene, put_file

N_BANDS = 5
_TILE: dict[str, Any] = {"tiled": True, "blockxsize": 16, "blockysize": 16}


def make_bands(rgb: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 as (5, H, W) uint16: blue, green, red, near infrared and short-wave infrared."""
    red, green, blue = np.moveaxis(rgb.astype(np.uint16), -1, 0)
    return np.stack([blue * 12 + 300, green * 10 + 200, red * 9 + 100, (red + green) * 8, (255 - blue) * 20 + 50])


def write_geotiff(bands: np.ndarray, *, origin: tuple[float, float] | None = None, **profile: Any) -> bytes:
    """Bands (B, H, W) as the bytes of a GeoTIFF; `origin` is its left and top in EPSG:32633, 10 m a pixel."""
    import rasterio
    from affine import Affine
    from rasterio.io import MemoryFile

    left, top = origin or (0, 0)
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, left, 0, -10, top)} if origin else {}
    count, height, width = bands.shape
    form = {"width": width, "height": height, "count": count, "dtype": bands.dtype, **place, **profile}
    with silence_readers(), rasterio.Env(), MemoryFile() as memory:
        with memory.open(driver="GTiff", **form) as dataset:
            dataset.write(bands)
        return bytes(memory.getbuffer())


def encode_array(values: np.ndarray) -> bytes:
    """An array as the bytes of a `.npy` file."""
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def make_sound_band_files() -> dict[str, bytes]:
    """File name -> bytes of every layout of a multi-band picture that shows the scene."""
    from affine import Affine

    bands = make_bands(make_scene())
    hole = bands.copy()
    hole[:, :8, :8] = 0
    floats = bands.astype(np.float32)
    floats[:, :8, :8] = np.nan
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    rotated = Affine(10 * cos, 10 * sin, 500_000, 10 * sin, -10 * cos, 5_000_000)
    return {
        "plain.tif": write_geotiff(bands, origin=(500_000, 5_000_000)),
        "no place.tif": write_geotiff(bands),
        "planar.tif": write_geotiff(bands, interleave="band"),
        "pixel.tif": write_geotiff(bands, interleave="pixel"),
        "tiled.tif": write_geotiff(bands, **_TILE),
        "deflate.tif": write_geotiff(bands, compress="deflate", predictor=2),
        "lzw.tif": write_geotiff(bands, compress="lzw", **_TILE),
        "zstd.tif": write_geotiff(bands, compress="zstd"),
        "big.tif": write_geotiff(bands, BIGTIFF="YES"),
        "big endian.tif": write_geotiff(bands, ENDIANNESS="BIG"),
        "rotated.tif": write_geotiff(bands, crs="EPSG:32633", transform=rotated),
        "degrees.tif": write_geotiff(bands, crs="EPSG:4326", transform=Affine(1e-4, 0, 14, 0, -1e-4, 51)),
        "nodata.tif": write_geotiff(hole, nodata=0),
        "nan.tif": write_geotiff(floats, nodata=float("nan")),
        "int32.tif": write_geotiff(bands.astype(np.int32)),
        "float64.tif": write_geotiff(bands.astype(np.float64)),
        "without suffix": write_geotiff(bands),
        "array.npy": encode_array(np.moveaxis(bands, 0, -1)),
        "float array.npy": encode_array(np.moveaxis(floats, 0, -1)),
        "columns first.npy": encode_array(np.asfortranarray(np.moveaxis(bands, 0, -1))),
    }


def make_broken_band_files() -> dict[str, tuple[bytes, str]]:
    """File name -> bytes and the reason for which a set of `N_BANDS` bands must excuse them."""
    bands = make_bands(make_scene())
    plain = write_geotiff(bands)
    empty = bands.copy()
    empty[3] = 0
    huge = write_geotiff(np.ones((N_BANDS, 16, 16), np.uint8), **_TILE)
    return {
        "two bands.tif": (write_geotiff(bands[:2]), "unreadable"),
        "thirteen bands.tif": (write_geotiff(np.tile(bands, (3, 1, 1))[:13]), "unreadable"),
        "many bands.tif": (write_geotiff(np.ones((80, 4, 4), np.uint8)), "unreadable"),
        "one band.npy": (encode_array(bands[0]), "unreadable"),
        "empty band.tif": (write_geotiff(empty, nodata=0), "unreadable"),
        "all nodata.tif": (write_geotiff(np.zeros_like(bands), nodata=0), "unreadable"),
        "all nan.npy": (encode_array(np.full((8, 8, N_BANDS), np.nan)), "unreadable"),
        "complex.tif": (write_geotiff(bands.astype(np.complex64)), "unreadable"),
        "unequal types.tif": (_set_bits(plain, 8), "truncated"),
        "cut.tif": (plain[: len(plain) * 2 // 3], "truncated"),
        "cut in header.tif": (plain[:100], "unreadable"),
        "announces too much.tif": (_set_side(huge, 200_000), "too_many_pixels"),
        "objects.npy": (encode_array_of_objects(), "unreadable"),
        "cut.npy": (encode_array(np.moveaxis(bands, 0, -1))[:5000], "truncated"),
        "four axes.npy": (encode_array(np.zeros((2, 2, 2, 2))), "unreadable"),
        "words.npy": (encode_array(np.array([["a", "b"]])), "unreadable"),
    }


def encode_array_of_objects() -> bytes:
    """A `.npy` that would run code if it were read as pickle."""
    out = io.BytesIO()
    np.save(out, np.array([{}, []], object))
    return out.getvalue()


def _find_entry(content: bytes, tag: int) -> int:
    """Where the value of a tag of a little-endian TIFF's first directory stands."""
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    entries = range(at + 2, at + 2 + 12 * count, 12)
    return int(next(entry + 8 for entry in entries if struct.unpack_from("<H", content, entry)[0] == tag))


def _set_bits(content: bytes, bits: int) -> bytes:
    """The same TIFF, whose last band claims other bits a sample than the rest."""
    changed = bytearray(content)
    (at,) = struct.unpack_from("<I", content, _find_entry(content, 258))
    struct.pack_into("<H", changed, at + 2 * (N_BANDS - 1), bits)
    return bytes(changed)


def _set_side(content: bytes, side: int) -> bytes:
    """The same TIFF, which claims to be that wide and high."""
    changed = bytearray(content)
    for tag in (256, 257):
        at = _find_entry(content, tag)
        struct.pack_into("<HI", changed, at - 6, 4, 1)
        struct.pack_into("<I", changed, at, side)
    return bytes(changed)


def write_band_files(folder: Path) -> dict[str, str]:
    """Write them all into the classes `field` and `broken`, and two plain pictures' worth of `other`.

    Gives path below the folder -> reason for which it must be excused, empty for those to be used.
    """
    expected: dict[str, str] = {}
    put = partial(put_file, folder, expected)
    for name, content in make_sound_band_files().items():
        put(f"field/{name}", content)
    for name, (content, reason) in make_broken_band_files().items():
        put(f"broken/{name}", content, reason)
    flipped = make_bands(255 - make_scene())
    put("other/one.tif", write_geotiff(flipped, origin=(900_000, 5_000_000)))
    put("other/two.tif", write_geotiff(flipped[:, ::-1], origin=(901_000, 5_000_000)))
    put("other/colour.png", encode_picture(Image.fromarray(make_scene()), "PNG"), "unreadable")
    return expected
