"""What Python hands over as pictures: names, bytes, pictures of Pillow, arrays, lists; what cannot be read."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart.core.errors import DataError, UsageError
from headstart.images.codecs import open_picture
from headstart.runtime import model
from headstart.runtime.inputs.picture_inputs import read_pictures
from headstart.testing.tiny_model import write_tiny_model


@pytest.fixture
def run(tmp_path):
    write_tiny_model(tmp_path / "run" / "model")
    (tmp_path / "run" / "format.json").write_text('{"format": 1}')
    return tmp_path / "run"


def answers(run, pictures, **settings):
    return [(each.uri, each.answer) for each in headstart.predict(run, pictures, **settings)]


def test_names_are_those_of_the_command_line(run, paint, tmp_path, monkeypatch):
    for name in ("in/a.png", "in/deep/b.png", "c.png"):
        paint(name, "red")
    monkeypatch.chdir(tmp_path / "pictures")
    with zipfile.ZipFile("d.zip", "w") as archive:
        archive.write("c.png", "x/c.png")
    (tmp_path / "pictures" / "list.csv").write_text("path\nc.png\n")
    assert answers(run, "c.png") == answers(run / "model", "c.png") == [("c.png", "red")]
    assert answers(run, tmp_path / "pictures" / "c.png") == [(str(tmp_path / "pictures" / "c.png"), "red")]
    assert answers(run, "in") == [("in/a.png", "red"), ("in/deep/b.png", "red")]
    assert answers(run, "in/**/*.png") == answers(run, "in")
    assert answers(run, "d.zip") == answers(run, "d.zip/x/c.png") == [("d.zip/x/c.png", "red")]
    assert answers(run, ["list.csv", "in"]) == [("c.png", "red"), *answers(run, "in")]
    assert answers(run, np.array(["c.png", "in/a.png"])) == [("c.png", "red"), ("in/a.png", "red")]


def test_what_is_in_memory_is_answered_as_its_file(run, paint):
    file = paint("a.png", (200, 90, 40))
    image = Image.open(file)
    array = np.asarray(image)
    (wanted,) = headstart.predict(run, file)
    for picture in (file.read_bytes(), image, image.convert("RGBA"), array, array[None]):
        (answer,) = headstart.predict(run, picture)
        assert (answer.answer, answer.probabilities) == (wanted.answer, wanted.probabilities)
    assert answers(run, Image.open(file)) == [(str(file), "red")]


def test_a_list_holds_pictures_of_every_kind_and_sizes_may_differ(run, paint):
    file = paint("a.png", "red")
    green = np.full((9, 30, 3), (0, 255, 0), np.uint8)
    blue = Image.new("RGB", (50, 20), "blue")
    several = np.stack([green, np.roll(green, 1, axis=2)])
    named = answers(run, [file, file.read_bytes(), green, blue, several])
    assert [answer for _, answer in named] == ["red", "red", "green", "blue", "green", "blue"]
    assert [name for name, _ in named][1:] == [
        f"pictures{place}" for place in ("[1]", "[2]", "[3]", "[4][0]", "[4][1]")
    ]
    assert answers(run, several) == [("pictures[0]", "green"), ("pictures[1]", "blue")]
    assert answers(run, (each for each in [green])) == [("pictures[0]", "green")]
    assert answers(run, []) == []


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr", "HSV"])
def test_pillow_pictures_of_every_mode_are_read(run, mode):
    image = Image.linear_gradient("L").resize((40, 36))
    image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    (answer,) = headstart.predict(run, image)
    assert answer.answer


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_of_pillow_is_turned_as_its_file(tmp_path, orientation):
    image = Image.effect_noise((40, 30), 90).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    (content,) = read_pictures(Image.open(tmp_path / "turned.png"))
    read = [open_picture(each) for each in (content.read_bytes(), (tmp_path / "turned.png").read_bytes())]
    first, second = (np.asarray(picture.turn_upright(picture.decode_rgb())) for picture in read)
    np.testing.assert_array_equal(first, second)


BROKEN = {
    "missing": lambda folder: folder / "none.png",
    "no match": lambda folder: str(folder / "*.png"),
    "an empty folder": lambda folder: folder,
    "bytes": lambda _: b"no picture",
    "what Pillow has opened": lambda _: open_cut_short(),
}


def open_cut_short():
    out = io.BytesIO()
    Image.effect_noise((90, 90), 90).save(out, "PNG")
    return Image.open(io.BytesIO(out.getvalue()[:2000]))


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_read_is_an_error_or_by_wish_a_row(run, paint, tmp_path, kind):
    (tmp_path / "empty").mkdir()
    good, broken = paint("a.png", "red"), BROKEN[kind](tmp_path / "empty")
    for pictures in (broken, [good, broken]):
        with pytest.raises(DataError, match="cannot be read") as told:
            headstart.predict(run, pictures)
        assert "errors='rows'" in told.value.hint
        assert told.value.where
        *_, row = headstart.predict(run, pictures, errors="rows")
        assert row.error
        assert (row.answer, row.probabilities) == ("", {})
    rows = headstart.load(run).predict([good, broken, good], errors="rows")
    assert [bool(row.error) for row in rows] == [False, True, False]
    one_by_one = headstart.load(run).predict([good, broken])
    with pytest.raises(DataError):
        list(one_by_one)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((8, 8, 3)), "float64"),
        (np.zeros((8, 8, 4), np.uint8), r"\(8, 8, 4\)"),
        (np.zeros((2, 8, 8), np.uint8), r"\(2, 8, 8\)"),
        (np.zeros((0, 8, 3), np.uint8), r"\(0, 8, 3\)"),
        (7, "`int` is no picture"),
    ],
    ids=["floats", "four channels", "grey stack", "no pixels", "a number"],
)
def test_what_is_no_picture_by_its_type_is_always_an_error(run, picture, words):
    for pictures in (picture, [picture]):
        with pytest.raises(headstart.HeadstartError, match=words) as told:
            headstart.predict(run, pictures, errors="raise")
        assert told.value.hint
    with pytest.raises(UsageError):
        headstart.predict(run, picture, errors="rows")


def test_a_wrong_choice_is_refused_at_once(run, saved):
    with pytest.raises(UsageError, match="raise or rows"):
        headstart.load(run).predict([], errors="ignore")
    with pytest.raises(UsageError, match="raise or rows"):
        model.load(saved).predict([], errors="row")


def test_an_explanation_takes_what_predict_takes(run):
    green = np.full((64, 64, 3), (0, 255, 0), np.uint8)
    (explained,) = headstart.explain(run, [green])
    assert (explained.uri, explained.prediction.answer) == ("pictures[0]", "green")
