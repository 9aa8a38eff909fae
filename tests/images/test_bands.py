"""Pictures of many bands, from the file to the trunk's input."""

import os
import resource
import sys

import numpy as np
import pytest

from headstart.core.types import InputSpec, PixelRanges
from headstart.exporting import predict_template
from headstart.exporting.export_source import decoding_rule
from headstart.images import preprocessing
from headstart.images.bands import make_mix, make_triples, mix_bands
from headstart.images.codecs import open_picture
from headstart.images.file_formats import PictureError
from headstart.images.formats import geotiff
from headstart.images.preprocessing import decode_picture, read_bytes
from headstart.images.quiet_reading import silence_readers
from headstart.testing.band_files import encode_array, make_bands, make_sound_band_files, write_geotiff
from headstart.testing.image_files import encode_picture, make_scene

pytest.importorskip("rasterio")
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def ranges(bands, low=0.0, high=255.0, mix=IDENTITY, n_bands=5):
    ends = ((low, high),) * len(bands)
    return PixelRanges(precise=True, n_bands=n_bands, bands=bands, band_ranges=ends, mix=mix)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_values_survive_to_the_tensor_bit_for_bit_where_no_scaling_is_asked(kind):
    values = np.random.default_rng(0).integers(0, 256, (5, 32, 32)).astype(kind)
    spec = InputSpec(size_px=32, crop_fraction=1.0, ranges=ranges((4, 3, 2)))
    seen = decode_picture(write_geotiff(values), spec)
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen, np.moveaxis(values[[3, 2, 1]], 0, -1).astype(np.float32))
    np.testing.assert_array_equal(decode_picture(encode_array(np.moveaxis(values, 0, -1)), spec), seen)


def test_sixteen_bits_keep_neighbouring_values_apart_after_scaling():
    values = np.arange(5 * 32 * 32, dtype=np.uint16).reshape(5, 32, 32) + 20_000
    seen = decode_picture(
        write_geotiff(values), InputSpec(size_px=32, crop_fraction=1.0, ranges=ranges((1, 2, 3), 20_000, 26_000))
    )
    np.testing.assert_allclose(seen, (np.moveaxis(values[:3], 0, -1) - 20_000.0) * 255 / 6000, rtol=1e-6, atol=1e-5)
    assert len(np.unique(seen)) == 3 * 32 * 32


def test_every_layout_of_a_file_gives_the_same_picture():
    spec = InputSpec(size_px=48, ranges=ranges((5, 3, 1), 0, 5200))
    files = make_sound_band_files()
    first = decode_picture(files["plain.tif"], spec)
    assert first.std() > 20
    for name, content in files.items():
        seen = decode_picture(content, spec)
        inner = (
            slice(12, None) if name in ("nodata.tif", "nan.tif", "float array.npy") else slice(None)
        )  # a hole before
        np.testing.assert_allclose(seen[inner, inner], first[inner, inner], atol=2e-4, err_msg=name)


def test_no_data_is_the_low_end_and_a_band_without_any_data_is_refused():
    bands = make_bands(make_scene())
    bands[:, :10] = 0
    levels = open_picture(write_geotiff(bands, nodata=0), ranges=ranges((3, 2, 1), 100, 5000)).decode_levels()
    assert levels[:10].max() == 0 < levels[10:].min(axis=2).max()
    bands[2] = 0
    with pytest.raises(PictureError, match="no value of band 3 is data"):
        open_picture(write_geotiff(bands, nodata=0), ranges=ranges((3, 2, 1), 100, 5000)).decode_levels()
    gaps = np.ones((2, 2, 3))
    mixed = mix_bands(gaps, np.zeros_like(gaps, bool), ((float("nan"),) * 2,) * 3, IDENTITY)
    np.testing.assert_array_equal(mixed, np.zeros((2, 2, 3)))


def test_a_reduced_picture_is_the_mean_of_its_data_alone():
    bands = np.full((5, 400, 600), 100, np.uint16)
    bands[:, ::2] = 0
    seen = decode_picture(write_geotiff(bands, nodata=0), InputSpec(size_px=32, ranges=ranges((1, 2, 3))))
    np.testing.assert_allclose(seen, 100, atol=1e-3)


def test_other_counts_and_other_kinds_of_picture_are_refused_with_the_count():
    from PIL import Image

    colour = encode_picture(Image.fromarray(make_scene()), "PNG")
    with pytest.raises(PictureError, match="it is grey or colour, the training pictures are of 5 bands"):
        open_picture(colour, ranges=ranges((1, 2, 3)))
    with pytest.raises(PictureError, match="it is of 2 bands, the training pictures are of 5 bands"):
        open_picture(write_geotiff(make_bands(make_scene())[:2]), ranges=ranges((1, 2)))
    with pytest.raises(PictureError, match="it is of 5 bands, the training pictures are grey or colour"):
        open_picture(write_geotiff(make_bands(make_scene())), ranges=PixelRanges(integers=(0.0, 65535.0)))


@pytest.mark.parametrize(("resize", "mean"), [("crop", 0.0), ("pad", 100.0)])
def test_triples_are_views_one_below_the_other_and_their_mean_is_shown(resize, mean):
    content = write_geotiff(make_bands(make_scene()))
    settings = {"size_px": 24, "resize": resize, "mean": (mean, 2 * mean, mean / 2)}
    triples = ranges((1, 2, 3, 4, 5), 0, 5200, make_triples(5))
    spec = InputSpec(**settings, ranges=triples)
    views = [InputSpec(**settings, ranges=ranges(bands, 0, 5200)) for bands in ((1, 2, 3), (4, 5, 1))]
    assert (spec.views, spec.shape) == (2, (48, 24, 3))
    seen = decode_picture(content, spec)
    np.testing.assert_allclose(seen, np.concatenate([decode_picture(content, view) for view in views]), atol=1e-4)
    rule = predict_template.decode(content, [decoding_rule(spec)])
    np.testing.assert_array_equal(rule[0], seen)
    shown = [np.asarray(open_picture(content, ranges=each.ranges).decode_rgb(), float) for each in (spec, *views)]
    np.testing.assert_allclose(shown[0], (shown[1] + shown[2]) / 2, atol=1)
    assert make_triples(3) == IDENTITY and len(make_triples(13)) == 15 and make_triples(1) == ((1.0,),) * 3


def test_a_mix_weighs_every_band_and_inflating_the_first_convolution_is_the_same():
    for count in range(1, 20):
        mix = np.array(make_mix(count))
        assert mix.shape == (3, count) and (mix.sum(axis=0) > 0).all()
        np.testing.assert_allclose(mix.sum(axis=1), 1)
    assert make_mix(3) == IDENTITY and make_mix(1) == ((1.0,),) * 3 and make_mix(2)[2] == (0.5, 0.5)
    assert make_mix(6)[1] == (0, 0.5, 0, 0, 0.5, 0)
    rng = np.random.default_rng(1)
    kernel, x = rng.normal(size=(3, 3, 3, 8)), rng.normal(size=(16, 16, 6))
    mix = np.array(make_mix(6))

    def convolve(pixels, weights):
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3), axis=(0, 1))  # (14, 14, C, 3, 3)
        return np.einsum("xychw,hwcd->xyd", windows, weights)

    inflated = np.einsum("hwcd,cb->hwbd", kernel, mix)
    np.testing.assert_allclose(convolve(x, inflated), convolve(x @ mix.T, kernel), atol=1e-12)


def test_a_geotiff_of_twenty_gigabytes_is_read_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    import rasterio

    path = tmp_path / "huge.tif"
    form = {"width": 16_384, "height": 8_192, "count": 4, "dtype": "uint16", "tiled": True, "BIGTIFF": "YES"}
    form |= {"driver": "GTiff", "SPARSE_OK": True, "nodata": 0, "crs": "EPSG:32633"}
    with silence_readers(), rasterio.open(path, "w", **form) as dataset:
        for band in range(1, 5):
            dataset.write(np.full((1024, 1024), band * 1000, np.uint16), band, window=((0, 1024), (0, 1024)))
    os.truncate(path, 20_000_000_000)  # sparse: nothing is on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    content = read_bytes(str(path))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    picture = open_picture(content)
    assert picture.size == (4096, 2048) and picture.n_bands == 4
    values, valid = picture.read_bands((1, 2, 3, 4), *picture.size)
    assert valid[:256, :256].all() and not valid[256:].any()
    np.testing.assert_array_equal(values[0, 0], [1000, 2000, 3000, 4000])
    assert grown < 700e6


def test_a_large_geotiff_is_reduced_once_for_each_state_of_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(preprocessing, "MAX_BYTES", 1_000)
    monkeypatch.setattr(geotiff, "REDUCED_PX", 16)
    path = tmp_path / "large.tif"
    path.write_bytes(write_geotiff(make_bands(make_scene())))
    facts, first = path.stat(), read_bytes(str(path))
    assert max(open_picture(first).size) == 16
    path.write_bytes(write_geotiff(255 - make_bands(make_scene())))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert read_bytes(str(path)) == first  # nothing tells that it changed: it was not looked at
    os.utime(path)
    assert read_bytes(str(path)) != first
    (tmp_path / "cache").rename(tmp_path / "moved")
    (tmp_path / "cache").touch()  # no place for a cache
    assert max(open_picture(read_bytes(str(path))).size) == 16


def test_without_the_extra_the_file_says_what_to_install(monkeypatch):
    from headstart.core import extras

    monkeypatch.setattr(extras, "_is_installed", lambda name: name != "rasterio")
    with pytest.raises(PictureError, match=r"extra `geo`.*pip install"):
        open_picture(write_geotiff(make_bands(make_scene())))


def test_a_fourth_band_that_is_called_transparency_is_a_band_where_bands_are_asked_for():
    values = np.random.default_rng(0).integers(0, 256, (4, 32, 32)).astype(np.uint8)
    content = write_geotiff(values)  # rasterio takes red, green, blue and transparency for granted
    assert open_picture(content).n_bands == 0
    spec = InputSpec(size_px=32, crop_fraction=1.0, ranges=ranges((4, 1, 2), n_bands=4))
    np.testing.assert_array_equal(decode_picture(content, spec), np.moveaxis(values[[3, 0, 1]], 0, -1))
