"""Values beyond 8 bits reach a trunk's input as they are, whatever file holds them."""

import hashlib
import io
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from headstart.core.console import Console
from headstart.core.storage.cache import Store
from headstart.core.storage.hashing import canonical_json
from headstart.core.types import OWN_RANGES, InputSpec, PixelRanges
from headstart.finetuning.inputs import augmentation
from headstart.images import decoded_cache, preprocessing
from headstart.images.codecs import fit_to_levels, open_picture
from headstart.images.descriptors import describe_picture, measure_ranges
from headstart.images.preprocessing import decode_batches, decode_picture, fit_array
from headstart.networks.openvino_engine import Engine
from headstart.testing.image_files import encode_picture, make_deep_png, make_scene
from headstart.testing.tiny_model import write_tiny_graph

SIDE = 256
RAMP = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)  # every value of 16 bits once


def as_is(integers=None, floats=None, side=SIDE):
    """The input of a picture's own size."""
    return InputSpec(
        size_px=side, crop_fraction=1.0, ranges=PixelRanges(integers=integers, floats=floats, precise=True)
    )


def tiff(values):
    return encode_picture(Image.fromarray(values), "TIFF")


@pytest.mark.parametrize("encode", [make_deep_png, tiff], ids=["png", "tiff"])
def test_every_value_of_16_bits_is_another_level(encode):
    levels = decode_picture(encode(RAMP), as_is((0, 65535)))
    assert levels.dtype == np.float32 and levels.shape == (SIDE, SIDE, 3)
    assert (levels == levels[..., :1]).all()
    assert (np.rint(levels[..., 0].astype(np.float64) * 257) == RAMP).all()
    assert len(np.unique(levels)) == SIDE * SIDE


@pytest.mark.parametrize("power", [0, 4, 8])
def test_a_range_that_is_a_power_of_two_keeps_every_bit(power):
    values = RAMP % (255 * 2**power + 1)
    levels = decode_picture(make_deep_png(values), as_is((0, 255 * 2**power)))
    assert (levels[..., 0] * np.float32(2**power) == values).all()


def test_floats_of_0_to_255_are_the_levels_bit_for_bit():
    values = np.random.default_rng(0).uniform(0, 255, (SIDE, SIDE)).astype(np.float32)
    levels = decode_picture(tiff(values), as_is(floats=(0.0, 255.0)))
    assert (levels.view(np.uint32) == np.repeat(values[..., None], 3, -1).view(np.uint32)).all()


def test_32_bit_numbers_beyond_what_a_float_holds_are_scaled_before_they_are_rounded():
    values = (2**30 + np.arange(SIDE * SIDE, dtype=np.int32)).reshape(SIDE, SIDE)
    low, high = float(values.min()), float(values.max())
    levels = decode_picture(tiff(values), as_is((low, high)))
    assert (np.rint(levels[..., 0].astype(np.float64) * 257) == RAMP).all()


def test_colour_of_16_bits_keeps_its_low_bytes():
    values = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=-1)
    levels = decode_picture(make_deep_png(values), as_is((0, 65535)))
    assert (np.rint(levels.astype(np.float64) * 257) == values).all()
    opaque = np.dstack([values, np.full_like(RAMP, 65535)])
    assert (decode_picture(make_deep_png(opaque), as_is((0, 65535))) == levels).all()


def test_transparency_of_16_bits_is_laid_on_white():
    values = np.zeros((8, 8, 4), np.uint16)
    values[..., 3] = 13107  # a fifth
    levels = decode_picture(make_deep_png(values), as_is((0, 65535), side=8))
    np.testing.assert_allclose(levels, 204.0, rtol=1e-5)


def test_8_bit_pictures_of_a_deep_set_keep_their_levels():
    image = Image.fromarray(make_scene()[:64, :64])
    levels = decode_picture(encode_picture(image, "PNG"), as_is((0, 65535), side=64))
    assert levels.dtype == np.float32 and (levels == np.asarray(image)).all()
    assert (fit_array(np.asarray(image), as_is(side=64)) == levels).all()


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("turn", [1, 6])
def test_the_geometry_is_that_of_8_bits(resize, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    out = io.BytesIO()
    Image.fromarray(make_scene()).save(out, "PNG", exif=exif)
    coarse = InputSpec(size_px=40, resize=resize, mean=(10.0, 20.0, 30.0))
    fine = InputSpec(size_px=40, resize=resize, mean=(10.0, 20.0, 30.0), ranges=PixelRanges(precise=True))
    levels = decode_picture(out.getvalue(), fine)
    assert np.abs(levels - decode_picture(out.getvalue(), coarse)).max() <= 1.0
    assert (levels != np.rint(levels)).any() and levels.min() >= 0 and levels.max() <= 255


def test_a_set_is_read_precisely_as_soon_as_one_picture_is_deep():
    plain = describe_picture(encode_picture(Image.fromarray(make_scene()), "PNG"))
    deep = describe_picture(make_deep_png(RAMP))
    assert not measure_ranges([plain]).precise and measure_ranges([plain]) == OWN_RANGES
    assert measure_ranges([plain, deep]) == PixelRanges(integers=(0.0, 65535.0), precise=True)


def test_keys_of_8_bit_sets_stay_as_they_were():
    assert canonical_json(OWN_RANGES) == '{"floats":null,"integers":null}'
    assert "ranges" not in canonical_json(InputSpec(size_px=8))


@pytest.fixture
def deep_folder(tmp_path):
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(make_deep_png(RAMP[number * 40 :, :32][:32]))
    return tmp_path, [f"{number}.png" for number in range(6)]


def test_batches_and_kept_pictures_are_float32(deep_folder, monkeypatch, deep_set):
    root, uris = deep_folder
    spec = as_is((0, 65535), side=32)
    (_, batch), *_ = decode_batches(str(root), uris, np.arange(6), spec, batch=6, threads=2)
    assert batch.dtype == np.float32
    data = deep_set(root, uris, spec.ranges)
    shared = {"store": Store(root / "cache"), "console": Console(quiet=True)}
    small = decoded_cache.load_decoded(data, np.arange(6), spec, **shared)
    monkeypatch.setattr(decoded_cache, "IN_MEMORY", 0)
    large = decoded_cache.load_decoded(data, np.arange(6), spec, **shared)
    assert isinstance(large, np.memmap) or large.base is not None
    assert (small == batch).all() and (large == batch).all() and large.dtype == np.float32


@pytest.fixture
def deep_set():
    """A function that makes the least data set of some files."""
    from dataclasses import replace

    from headstart.core.types import PictureReading
    from headstart.uncertainty.ood_images import make_ood_images

    def make(root, uris, ranges):
        digests = tuple(hashlib.sha256((root / uri).read_bytes()).hexdigest() for uri in uris)
        data = make_ood_images(Store(root / "cache"))
        return replace(data, root=str(root), uris=tuple(uris), digests=digests, reading=PictureReading(ranges=ranges))

    return make


def test_an_engine_gives_the_same_for_bytes_and_their_floats_and_more_for_what_lies_between(tmp_path):
    write_tiny_graph(tmp_path / "trunk.xml", 32)
    pictures = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3)).astype(np.uint8)
    run = {
        dtype: Engine(tmp_path / "trunk.xml", threads=1, dtype=dtype, outputs=None).run
        for dtype in ("uint8", "float32")
    }
    (_, coarse), (_, fine) = (next(run[dtype]([(0, pictures.astype(dtype))])) for dtype in ("uint8", "float32"))
    for a, b in zip(coarse, fine, strict=True):
        np.testing.assert_array_equal(a, b)
    (_, between) = next(run["float32"]([(0, pictures + np.float32(0.4))]))
    assert any((a != b).any() for a, b in zip(fine, between, strict=True))
    with pytest.raises(ValueError, match="float32"):
        next(run["uint8"]([(0, pictures.astype(np.float32))]))


def test_augmentation_keeps_fractions_and_does_what_it_does_to_bytes():
    image = np.asarray(Image.fromarray(make_scene()).resize((48, 48)))
    for domain in ("photo", "texture", "digits", "microscopy"):
        policy = augmentation.Policy(domain=domain, strength=0.7)
        seeds = [(1, at) for at in range(6)]
        coarse = augmentation.augment_pictures(np.stack([image] * 6), policy, seeds)
        fine = augmentation.augment_pictures(np.stack([image] * 6).astype(np.float32), policy, seeds)
        assert fine.dtype == np.float32 and np.abs(fine - coarse).max() <= 3.0
        assert (fine != np.rint(fine)).any() and fine.min() >= 0 and fine.max() <= 255


def test_preprocessing_names_its_revision():
    assert preprocessing.decoder_revision().startswith("decode 1 ")  # vectors of 8-bit sets stay in the cache


@given(st.lists(st.integers(0, 65535), min_size=2, max_size=30, unique=True))
def test_what_lies_inside_is_scaled_as_what_is_clipped(numbers):
    values = np.array(numbers, np.uint16)
    low, high = float(values.min()), float(values.max())
    clipped = fit_to_levels(values, low, high)
    assert (fit_to_levels(values, low, high, inside=True) == clipped).all() and clipped.max() <= 255


def test_the_tags_of_a_tiff_are_read_as_often_as_by_pillow_alone(monkeypatch):
    content = encode_picture(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)), "TIFF")
    counts, load = Counter(), TiffImagePlugin.ImageFileDirectory_v2.load

    def count_loads(tags, handle):
        counts[who] += 1
        load(tags, handle)

    monkeypatch.setattr(TiffImagePlugin.ImageFileDirectory_v2, "load", count_loads)
    who = "pillow"
    Image.open(io.BytesIO(content)).load()
    who = "headstart"
    open_picture(content).decode_levels()
    assert counts["headstart"] == counts["pillow"]
