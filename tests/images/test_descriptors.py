"""What one decode measures of a picture: turned hashes, format, quality, camera, day, border, corners, sharpness."""

from datetime import date

import numpy as np
import pytest
from PIL import Image, ImageFilter

from headstart.core.types import MEASURES
from headstart.images.descriptors import describe_picture, from_row, to_row
from headstart.testing.image_files import encode_picture, make_scene, store_turned
from headstart.testing.medical_files import make_dicom, make_nifti

MADE = 306
MIRROR, UPSIDE_DOWN, HALF_TURN, TRANSPOSE = (
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
    Image.Transpose.TRANSPOSE,
)


@pytest.fixture(scope="module")
def cloth(textile):
    with Image.open(sorted((textile / "nominal").glob("*.jpg"))[0]) as image:
        return image.convert("RGB").crop((0, 0, 250, 200))


def describe(content):
    """The facts, after a trip through their row."""
    return from_row(to_row(describe_picture(content)))


def measure(content):
    return dict(zip(MEASURES, describe(content).measures.tolist(), strict=True))


@pytest.mark.parametrize(
    ("at", "steps"),
    [
        (0, [MIRROR]),
        (1, [HALF_TURN]),
        (2, [UPSIDE_DOWN]),
        (3, [TRANSPOSE]),
        (4, [MIRROR, TRANSPOSE]),
        (5, [HALF_TURN, TRANSPOSE]),
        (6, [UPSIDE_DOWN, TRANSPOSE]),
    ],
)
def test_a_turned_copy_has_the_turned_hash(cloth, at, steps):
    copy = cloth
    for step in steps:
        copy = copy.transpose(step)
    facts = describe(encode_picture(cloth, "JPEG", quality=90))
    turned = describe(encode_picture(copy, "JPEG", quality=75)).phash
    assert (turned ^ facts.turned[at]).bit_count() <= 4
    assert (turned ^ facts.phash).bit_count() > 10


@pytest.mark.parametrize("quality", [50, 75, 90, 95])
def test_the_quality_of_a_jpeg_is_estimated(cloth, quality):
    assert abs(measure(encode_picture(cloth, "JPEG", quality=quality))["jpeg_quality"] - quality) <= 1
    assert measure(encode_picture(cloth, "PNG"))["jpeg_quality"] == 0


def test_a_table_of_a_jpeg_need_not_have_the_number_0(cloth):
    content = bytearray(encode_picture(cloth.convert("L"), "JPEG", quality=80))
    content[content.index(b"\xff\xdb") + 4] = 1  # of the table
    content[content.index(b"\xff\xc0") + 12] = 1  # of the table that the only component names
    assert abs(measure(bytes(content))["jpeg_quality"] - 80) <= 1


def test_camera_and_day_come_from_the_exif_data(cloth):
    exif = Image.Exif()
    exif[271], exif[272] = "Maker", "Model 5"
    exif.get_ifd(0x8769)[36867] = "2024:05:31 12:00:00"
    content = encode_picture(cloth, "JPEG", exif=exif)
    exif[272] = "Model 6"
    assert describe(content).camera not in (0, describe(encode_picture(cloth, "JPEG", exif=exif)).camera)
    assert int(measure(content)["taken_day"]) == (date(2024, 5, 31) - date(1970, 1, 1)).days
    bare = encode_picture(cloth, "JPEG")
    assert describe(bare).camera == 0 and measure(bare)["taken_day"] == 0
    exif[MADE], exif.get_ifd(0x8769)[36867] = "no date", "0000:00:00 00:00:00"
    assert measure(encode_picture(cloth, "JPEG", exif=exif))["taken_day"] == 0


@pytest.mark.parametrize("orientation", [1, 6])
def test_border_and_corners_are_those_of_the_upright_picture(orientation):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (1, 2, 3)]
    pixels = np.full((300, 200, 3), (200, 10, 40), np.uint8)
    pixels[30:-30, 30:-30] = 90
    pixels[[0, 0, -1, -1], [0, -1, 0, -1]] = colours
    stored, exif = store_turned(Image.fromarray(pixels), orientation)
    values = measure(encode_picture(stored, "PNG", exif=exif))
    corners = [values[name] for name in MEASURES if "left" in name or "right" in name]
    assert np.reshape(corners, (4, 3)).tolist() == [list(colour) for colour in colours]
    assert [values[f"border_{channel}"] for channel in ("red", "green", "blue")] == pytest.approx([200, 10, 40], abs=2)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "WebP", "TIFF", "BMP"])
def test_the_format_is_that_of_the_bytes(cloth, name):
    assert describe(encode_picture(cloth, name)).file_format == name


def test_the_format_of_medical_files_is_known():
    values = np.arange(64, dtype=np.int16).reshape(8, 8)
    assert describe(make_dicom(values)).file_format == "DICOM"
    assert describe(make_nifti(values[..., None], np.eye(4))).file_format == "NIfTI"


def test_sharpness_falls_with_blur_and_not_with_contrast(cloth):
    def sharpness(image):
        return measure(encode_picture(image, "PNG"))["sharpness"]

    blurred = [sharpness(cloth.filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 3, 6)]
    assert blurred[1] < blurred[0] / 2 and blurred[2] < blurred[1] / 2
    faint = Image.blend(cloth, Image.new("RGB", cloth.size, "grey"), 0.7)
    assert sharpness(faint) == pytest.approx(blurred[0], rel=0.1)
    assert sharpness(Image.new("RGB", (100, 100), "red")) == sharpness(Image.new("RGB", (1, 5), "red")) == 0


def test_low_and_high_grey_levels_leave_a_twentieth_outside():
    ramp = np.tile(np.repeat(np.arange(100, dtype=np.uint8), 2), (100, 1))
    values = measure(encode_picture(Image.fromarray(ramp).convert("RGB"), "PNG"))
    assert (values["grey_low"], values["grey_high"]) == pytest.approx((5, 95), abs=1)
    facts = describe(encode_picture(Image.fromarray(make_scene()), "PNG"))
    assert facts.grey_std > 10
