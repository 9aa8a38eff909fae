import dataclasses
import io
import os
import shutil
import struct
import threading
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstart.core.errors import DataError
from headstart.core.types import InputSpec, PixelRanges
from headstart.images import codecs, descriptors, preprocessing
from headstart.images.descriptors import describe_picture, measure_ranges
from headstart.images.file_formats import PictureError, count_passes
from headstart.images.preprocessing import decode_batches, decode_picture
from headstart.testing.image_files import (
    HEIGHT,
    WIDTH,
    encode_picture,
    make_broken_files,
    make_deep_png,
    make_png,
    make_scene,
    make_sound_files,
    store_turned,
)

SPEC = InputSpec(size_px=48)
SQUASH = InputSpec(size_px=48, resize="squash", interpolation="bilinear")
SOUND = make_sound_files()


def mean_difference(a, b):
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


@pytest.fixture(scope="module")
def photo():
    """A real photo of 427 x 640 px, enlarged."""
    from sklearn.datasets import load_sample_image

    image = Image.fromarray(load_sample_image("china.jpg"))
    return image.resize((1600, 1067), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("name", sorted(SOUND))
@pytest.mark.parametrize("spec", [SPEC, SQUASH], ids=["crop", "squash"])
def test_every_format_and_mode_shows_the_scene(name, spec):
    image = Image.fromarray(make_scene())
    reference = decode_picture(encode_picture(image, "BMP"), spec)
    if "grey" in name or "float" in name:
        reference = decode_picture(encode_picture(image.convert("L").convert("RGB"), "BMP"), spec)
    found = decode_picture(SOUND[name], spec)
    assert found.shape == (48, 48, 3) and found.dtype == np.uint8
    allowed = 6 if "gif" in name or "palette" in name else 4
    assert mean_difference(found, reference) < allowed


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(kind, orientation):
    image = Image.fromarray(make_scene())
    stored, exif = store_turned(image, orientation)
    content = encode_picture(stored, kind, exif=exif, **({"lossless": True} if kind == "WebP" else {}))
    assert mean_difference(decode_picture(content, SPEC), decode_picture(encode_picture(image, "BMP"), SPEC)) < 3
    told = describe_picture(content)
    assert (told.width_px, told.height_px) == (WIDTH, HEIGHT)


def test_orientation_of_a_compressed_tiff():
    stored, exif = store_turned(Image.fromarray(make_scene()), 6)
    content = encode_picture(stored, "TIFF", exif=exif, compression="tiff_lzw")
    assert mean_difference(decode_picture(content, SPEC), decode_picture(SOUND["plain.bmp"], SPEC)) < 1


def test_transparency_lies_on_white():
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 128))
    assert np.abs(decode_picture(encode_picture(image, "PNG"), SPEC)[0, 0].astype(int) - [255, 127, 127]).max() <= 1
    assert describe_picture(encode_picture(image, "PNG")).note == "alpha on white"
    grey = Image.new("LA", (64, 64), (0, 0))
    assert (decode_picture(encode_picture(grey, "PNG"), SPEC) == 255).all()


def test_transparent_palette_and_colour_key_lie_on_white():
    palette = Image.new("P", (64, 64), 1)
    palette.putpalette([0, 0, 0, 0, 0, 255])
    assert (decode_picture(encode_picture(palette, "PNG", transparency=1), SPEC) == 255).all()
    assert (decode_picture(encode_picture(palette, "GIF", transparency=1), SPEC) == 255).all()
    keyed = encode_picture(Image.new("RGB", (64, 64), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert (decode_picture(keyed, SPEC) == 255).all()


@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "rgb"])
@pytest.mark.parametrize("top", [4095, 65535])
def test_deep_pictures_keep_their_grey_levels(channels, top):
    ramp = np.linspace(0, top, 256).round().astype(np.uint16)
    values = np.broadcast_to(ramp[None, :, None] if channels else ramp[None, :], (256, 256, *channels))
    found = decode_picture(make_deep_png(values), InputSpec(size_px=256, crop_fraction=1.0))
    assert np.abs(found[100, :, 0].astype(int) - np.arange(256)).max() <= 1
    assert "8 bits" in describe_picture(make_deep_png(values)).note


@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "rgb"])
def test_a_hot_pixel_changes_nothing_where_a_range_was_measured(channels):
    ramp = np.linspace(0, 4000, 256).round().astype(np.uint16)
    values = np.broadcast_to(ramp[None, :, None] if channels else ramp[None, :], (256, 256, *channels)).copy()
    plain = describe_picture(make_deep_png(values))
    spec = InputSpec(size_px=256, crop_fraction=1.0, ranges=measure_ranges([plain]))
    assert spec.ranges == PixelRanges(integers=(0.0, 4095.0), precise=True)
    before = decode_picture(make_deep_png(values), spec)
    values[128, 128] = 4096
    hot = decode_picture(make_deep_png(values), spec)
    changed = np.abs(before - hot).max(axis=-1) > 0
    assert changed.sum() < 2 and (hot[128, 128] == 255).all()
    assert measure_ranges([plain, describe_picture(make_deep_png(values))]) == spec.ranges  # nor is the range it


@pytest.mark.parametrize(("tops", "white"), [((200,), 255), ((200, 700), 1023), ((9000, 20), 16383), ((17000,), 65535)])
def test_a_range_is_the_fewest_bits_that_hold_every_picture(tops, white):
    facts = [describe_picture(make_deep_png(np.full((9, 9), top, np.uint16))) for top in tops]
    assert measure_ranges([*facts, describe_picture(SOUND["plain.png"])]) == PixelRanges(
        integers=(0.0, float(white)), precise=True
    )


def test_a_picture_far_beyond_the_range_is_refused():
    spec = InputSpec(size_px=48, ranges=PixelRanges(integers=(0, 4095)))
    for values in (np.full((64, 64), 9000, np.uint16), np.full((64, 64, 3), 9000, np.uint16)):
        with pytest.raises(PictureError, match="outside 0 to 4,095"):
            decode_picture(make_deep_png(values), spec)


def store_bands(count, photometric, extra=None):
    """A TIFF of 8 x 8 px and so many bands of 8 bits."""
    entries = {256: (3, [8]), 257: (3, [8]), 258: (3, [8] * count), 259: (3, [1]), 262: (3, [photometric])}
    entries |= {273: (4, [0]), 277: (3, [count]), 278: (3, [8]), 279: (4, [64 * count])}
    entries |= {338: (3, list(extra))} if extra else {}
    place, late, table = 8 + 2 + 12 * len(entries) + 4, b"", b""
    pixels = place + 2 * count + (2 * len(extra) if extra and len(extra) > 2 else 0)
    for tag, (kind, numbers) in sorted(entries.items()):
        numbers = [pixels] if tag == 273 else numbers
        value = b"".join(struct.pack("<H" if kind == 3 else "<I", number) for number in numbers)
        if len(value) > 4:
            value, late = struct.pack("<I", place + len(late)), late + value
        table += struct.pack("<HHI", tag, kind, len(numbers)) + value.ljust(4, b"\0")
    late = late.ljust(pixels - place, b"\0")
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4) + late + bytes([90] * 64 * count)


@pytest.mark.parametrize(
    ("bands", "said"),
    [((4, 2, (0,)), "of 4 bands"), ((4, 2), "of 4 bands"), ((5, 2, (0, 0)), "of 5 bands"), ((4, 1, (0, 0, 0)), "4")],
)
def test_a_tiff_of_more_bands_is_refused_where_the_training_pictures_are_colour(bands, said):
    colour = PixelRanges(integers=(0.0, 65535.0))
    spec = dataclasses.replace(SPEC, ranges=colour)
    for read in (lambda content: describe_picture(content, colour), lambda content: decode_picture(content, spec)):
        with pytest.raises(PictureError, match=said) as refused:
            read(store_bands(*bands))
        assert refused.value.reason == "unreadable" and "are grey or colour" in refused.value.detail
    assert describe_picture(store_bands(*bands)).n_bands == bands[0]
    assert decode_picture(store_bands(4, 2, (2,)), SPEC).shape == (48, 48, 3)
    assert (decode_picture(store_bands(3, 2), SPEC) == 90).all()


def test_deep_colour_with_transparency():
    values = np.full((64, 64, 4), 65535, dtype=np.uint16)
    values[..., 1:3] = 0
    values[..., 3] = 32768
    assert np.abs(decode_picture(make_deep_png(values), SPEC)[5, 5].astype(int) - [255, 127, 127]).max() <= 1


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 255.0), (-5.0, 700.0)])
def test_float_pictures_are_scaled_by_their_range(low, high):
    values = np.tile(np.linspace(low, high, 256, dtype=np.float32), (256, 1))
    found = decode_picture(encode_picture(Image.fromarray(values), "TIFF"), InputSpec(size_px=256, crop_fraction=1.0))
    assert np.abs(found[9, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_a_float_picture_without_a_finite_value_is_refused():
    content = encode_picture(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF")
    with pytest.raises(PictureError, match="finite"):
        decode_picture(content, SPEC)


@pytest.mark.parametrize(("content", "reason"), make_broken_files().values(), ids=make_broken_files())
def test_broken_files_are_refused_with_a_reason(content, reason):
    for read in (describe_picture, lambda given: decode_picture(given, SPEC)):
        with pytest.raises(PictureError) as caught:
            read(content)
        assert caught.value.reason == reason
        assert caught.value.detail and "\n" not in caught.value.detail


def test_a_bomb_is_refused_from_its_header():
    started = time.thread_time()
    with pytest.raises(PictureError, match="30,000 x 30,000 px"):
        describe_picture(make_png(30_000, 30_000, bits=8, colour=2))
    assert time.thread_time() - started < 1


def test_a_small_file_cannot_keep_its_reader_busy():
    content = encode_picture(Image.fromarray(make_scene()), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    count = count_passes(content, 50)
    assert count == content.count(b"\xff\xda") > 5  # as encoders make it
    for more, refused in ((50 - count, False), (51 - count, True), (10_000, True)):
        longer = content[:-2] + more * last + content[-2:]
        assert count_passes(longer, 50) == min(51, count + more)
        if refused:
            with pytest.raises(PictureError, match="more than 50 times"):
                decode_picture(longer, SPEC)
        else:
            assert decode_picture(longer, SPEC).shape == (48, 48, 3)
    preview = (
        b"\xff\xe5" + (2 + 4 * 400).to_bytes(2, "big") + b"\xff\xda\0\2" * 400
    )  # in a segment: not of this picture
    kept = content[:2] + preview + content[2:] + b"\xff\xda\0\2" * 400  # nor is what comes after its end
    assert count_passes(kept, 50) == count
    assert (decode_picture(kept, SPEC) == decode_picture(content, SPEC)).all()
    hidden = content[:-2] + b"\xff\x01" + 60 * last + content[-2:]  # a marker that has no length hides nothing
    assert count_passes(hidden, 50) == 51


def test_the_limit_is_our_own_not_pillows():
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(PictureError) as caught:
        describe_picture(make_png(10_001, 10_000, bits=1, colour=0))
    assert caught.value.reason == "too_many_pixels"
    with pytest.raises(PictureError) as caught:  # more than Pillow's limit, fewer than ours: read, and found cut short
        describe_picture(make_png(10_000, 10_000, bits=1, colour=0))
    assert caught.value.reason == "truncated"
    assert limit == Image.MAX_IMAGE_PIXELS


def test_other_formats_that_pillow_knows_are_not_read():
    for kind in ("ICO", "PPM", "JPEG2000", "AVIF", "TGA"):
        with pytest.raises(PictureError):
            decode_picture(encode_picture(Image.fromarray(make_scene()), kind), SPEC)


def test_broken_metadata_is_no_reason_to_refuse_and_pillow_stays_quiet(recwarn):
    stored, exif = store_turned(Image.fromarray(make_scene()), 6)
    content = bytearray(encode_picture(stored, "JPEG", exif=exif))
    at = content.index(b"Exif\0\0") + 6
    content[at + 8 : at + 10] = b"\xff\xff" if content[at : at + 2] == b"MM" else b"\xff\x7f"  # entries in the table
    before = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_picture(bytes(content), SPEC).shape == (48, 48, 3)
        describe_picture(bytes(content))
    assert warnings.filters == before
    assert not recwarn.list


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SOUND)), st.integers(0, 2**32), st.integers(0, 12), st.booleans())
def test_damage_of_any_kind_gives_a_picture_or_a_reason(name, seed, flips, cut):
    rng = np.random.default_rng(seed)
    content = bytearray(SOUND[name])
    for at in rng.integers(0, len(content), flips):
        content[at] = rng.integers(0, 256)
    if cut:
        content = content[: rng.integers(0, len(content))]
    try:
        assert decode_picture(bytes(content), SPEC).shape == (48, 48, 3)
    except PictureError as err:
        assert err.reason in {"truncated", "unreadable", "not_a_picture", "empty_file", "too_many_pixels"}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(20, 700),
    st.integers(20, 700),
    st.sampled_from([32, 48, 64]),
    st.sampled_from(["bilinear", "bicubic"]),
)
def test_cropping_first_equals_resizing_everything(width, height, size, interpolation):
    """On a picture whose resized sides are whole numbers, the result is that of the textbook way."""
    spec = InputSpec(size_px=size, interpolation=interpolation, crop_fraction=0.5)
    short = 2 * size
    width, height = (short * 2, short) if width > height else (short, short * 3)
    image = Image.fromarray(np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8))
    image = image.resize((width * 3, height * 3), Image.Resampling.NEAREST)
    whole = image.resize((width, height), {"bilinear": 2, "bicubic": 3}[interpolation])
    left, top = (width - size) // 2, (height - size) // 2
    expected = np.asarray(whole.crop((left, top, left + size, top + size)))
    assert np.abs(decode_picture(encode_picture(image, "PNG"), spec).astype(int) - expected).max() <= 1


def test_a_thin_picture_costs_no_more_than_its_centre():
    content = encode_picture(Image.fromarray(np.zeros((20, 40_000, 3), np.uint8)), "PNG")
    started = time.thread_time()
    assert decode_picture(content, InputSpec(size_px=224)).shape == (224, 224, 3)
    assert time.thread_time() - started < 0.5


def test_reduced_scale_decoding_is_close_to_full(photo):
    spec = InputSpec(size_px=224)
    full = decode_picture(encode_picture(photo, "PNG"), spec)
    reduced = decode_picture(encode_picture(photo, "JPEG", quality=95), spec)
    assert mean_difference(full, reduced) < 0.8  # of which 0.52 are the JPEG's own loss
    picture = codecs.open_picture(encode_picture(photo, "JPEG"))
    assert (
        min(picture.decode_rgb(least=512).size) == 534
    )  # half the size: the last that is at least twice what is needed


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_perceptual_hash_survives_size_and_quality(photo, kind):
    one = describe_picture(encode_picture(photo, "PNG")).phash
    smaller = photo.resize((500, 333), Image.Resampling.BICUBIC)
    other = describe_picture(encode_picture(smaller, kind, **({"quality": 60} if kind == "JPEG" else {}))).phash
    assert (one ^ other).bit_count() <= 6
    mirrored = describe_picture(encode_picture(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG")).phash
    assert (one ^ mirrored).bit_count() > 16


def test_facts_of_simple_pictures():
    blank = describe_picture(encode_picture(Image.new("RGB", (90, 60), (200, 10, 130)), "PNG"))
    assert (blank.width_px, blank.height_px, blank.grey_std, blank.phash) == (90, 60, 0.0, blank.phash)
    assert blank.histogram[3 * 16 + 0 * 4 + 2] == 1 and blank.histogram.sum() == 1
    half = np.zeros((64, 64, 3), np.uint8)
    half[:32] = 255
    assert describe_picture(encode_picture(Image.fromarray(half), "PNG")).grey_std == pytest.approx(127.5)
    assert describe_picture(SOUND["animated.gif"]).note == "first of 3 frames"


@pytest.mark.parametrize("name", sorted(SOUND))
def test_facts_survive_their_row(name):
    told = describe_picture(SOUND[name])
    row = descriptors.to_row(told)
    assert row.shape == (descriptors.ROW_WIDTH,) and row.dtype == np.float32
    back = descriptors.from_row(row)
    assert (back.phash, back.width_px, back.height_px, back.note) == (
        told.phash,
        told.width_px,
        told.height_px,
        told.note,
    )
    assert np.float32(told.grey_std) == back.grey_std
    np.testing.assert_array_equal(back.histogram, told.histogram)


# ---------------------------------------------------------------- batches


@pytest.fixture
def folder(tmp_path):
    """40 different pictures, one of them under a name that is no UTF-8."""
    names = []
    for number in range(40):
        name = os.fsdecode(b"\xff%d.jpg" % number) if number == 7 else f"{number}.jpg"
        values = np.random.default_rng(number).integers(0, 256, (70, 80, 3), dtype=np.uint8)
        (tmp_path / name).write_bytes(encode_picture(Image.fromarray(values), "JPEG"))
        names.append(name)
    return tmp_path, names


@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (16, 2), (17, 4), (100, 3)])
def test_batches_come_in_order_and_equal_single_decodes(folder, batch, threads):
    root, names = folder
    rows = np.array([5, 7, 1, *range(10, 38)])
    found = list(decode_batches(str(root), names, rows, SPEC, batch=batch, threads=threads))
    assert [len(r) for r, _ in found][:-1] == [batch] * (len(found) - 1)
    np.testing.assert_array_equal(np.concatenate([r for r, _ in found]), rows)
    pictures = np.concatenate([p for _, p in found])
    for row, picture in zip(rows, pictures, strict=True):
        np.testing.assert_array_equal(picture, decode_picture((root / names[row]).read_bytes(), SPEC))


def test_few_batches_are_in_flight(folder, monkeypatch):
    root, names = folder
    seen = []
    whole = preprocessing.decode_picture
    monkeypatch.setattr(preprocessing, "decode_picture", lambda content, spec: seen.append(1) or whole(content, spec))
    stream = decode_batches(str(root), names, np.arange(40), SPEC, batch=4, threads=2, ahead=2)
    next(stream)
    time.sleep(0.2)
    assert len(seen) <= 12
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_a_file_that_changed_is_named(folder):
    import hashlib

    root, names = folder
    digests = [hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names]
    shutil.copy(root / names[0], root / names[3])
    with pytest.raises(DataError, match=r"3\.jpg.*changed"):
        list(decode_batches(str(root), names, np.arange(40), SPEC, batch=8, threads=2, digests=digests))
    (root / names[7]).unlink()
    with pytest.raises(DataError, match=r"\\udcff7\.jpg"):
        list(decode_batches(str(root), names, np.arange(40), SPEC, batch=8, threads=2))


def test_a_large_file_that_is_no_picture_is_not_read_whole(tmp_path):
    path = tmp_path / "film.mkv"
    with path.open("wb") as out:
        out.write(b"\x1aE\xdf\xa3")
        out.truncate(50_000_000_000)  # a sparse file: reading it would take all memory
    with pytest.raises(PictureError, match="not_a_picture"):
        preprocessing.read_bytes(str(path))
    with path.open("r+b") as out:
        out.write(io.BytesIO(SOUND["plain.png"]).read(32))
    with pytest.raises(PictureError, match="bytes are more"):
        preprocessing.read_bytes(str(path))
