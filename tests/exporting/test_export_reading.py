"""`predict.py` reads pictures as headstart does, to the last value."""

import io
import json
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from headstart.core.types import InputSpec, PixelRanges
from headstart.exporting import graph_answers, predict_template
from headstart.exporting.export_files import format_decoding
from headstart.exporting.export_source import decoding_rule
from headstart.images import preprocessing

SPECS = [
    InputSpec(size_px=32),
    InputSpec(size_px=64, resize="squash", interpolation="bilinear"),
    InputSpec(size_px=48, crop_fraction=1.0, interpolation="bilinear"),
    InputSpec(size_px=48, resize="pad", channels="bgr", mean=(103.9, 116.8, 123.7)),
    InputSpec(size_px=40, resize="pad", ranges=PixelRanges(integers=(0, 65535), floats=(0.0, 255.0))),
    InputSpec(size_px=40, ranges=PixelRanges(integers=(0, 40000), floats=(-100.0, 200.0))),
    InputSpec(size_px=40, ranges=PixelRanges(integers=(0, 40000), floats=(-100.0, 200.0), precise=True)),
    InputSpec(size_px=48, resize="pad", mean=(103.9, 116.8, 123.7), ranges=PixelRanges(precise=True)),
]


def drawn(height, width, channels=3, top=256, seed=0):
    """Smooth enough that a resize matters, rough enough that a shift shows."""
    small = np.random.default_rng(seed).integers(0, top, (height // 8 + 1, width // 8 + 1, channels))
    return np.repeat(np.repeat(small, 8, 0), 8, 1)[:height, :width]


def file(image, kind, **options):
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return out.getvalue()


def rgb(height, width):
    return Image.fromarray(drawn(height, width).astype(np.uint8))


def turned(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def deep(values, kind):
    """A PNG of 16 bits a channel, which Pillow does not write; `kind` 2 is RGB, 6 RGBA, 4 grey with alpha."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    made = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def several(kind, **options):
    return file(rgb(900, 1300), kind, save_all=True, append_images=[rgb(900, 1300), rgb(900, 1300)], **options)


OPAQUE = np.dstack([drawn(90, 80, 3, 4096), np.full((90, 80), 65535)])
PICTURES = {
    "large jpeg": file(rgb(900, 1300), "JPEG", quality=90),
    "jpeg of odd size": file(rgb(333, 517), "JPEG"),
    "small jpeg": file(rgb(20, 31), "JPEG"),
    "grey jpeg": file(rgb(200, 300).convert("L"), "JPEG"),
    "cmyk jpeg": file(rgb(200, 300).convert("CMYK"), "JPEG"),
    "png": file(rgb(100, 70), "PNG"),
    "long png": file(rgb(40, 640), "PNG"),
    "palette": file(rgb(90, 90).convert("P"), "PNG"),
    "transparent": file(Image.fromarray(drawn(90, 80, 4).astype(np.uint8), "RGBA"), "PNG"),
    "opaque alpha": file(rgb(90, 80).convert("RGBA"), "PNG"),
    "one bit": file(rgb(90, 80).convert("1"), "PNG"),
    "16 bits": file(Image.fromarray(drawn(90, 80, 1, 65536)[..., 0].astype(np.uint16)), "PNG"),
    "12 bits": file(Image.fromarray(drawn(90, 80, 1, 4096)[..., 0].astype(np.uint16)), "TIFF"),
    "floats": file(Image.fromarray(drawn(90, 80, 1)[..., 0].astype(np.float32) / 255), "TIFF"),
    "other floats": file(Image.fromarray(drawn(90, 80, 1)[..., 0].astype(np.float32) - 99), "TIFF"),
    "gif": file(rgb(90, 80).convert("P"), "GIF"),
    "bmp": file(rgb(90, 80), "BMP"),
    "webp": file(rgb(90, 80), "WEBP", lossless=True),
    "tall jpeg": file(rgb(3000, 40), "JPEG", exif=turned(8)),
    "one pixel wide": file(rgb(500, 1), "JPEG"),
    "several pictures in a jpeg": several("MPO"),
    "several pictures in a jpeg, turned": several("MPO", exif=turned(6)),
    "moving gif": several("GIF"),
    "moving png": several("PNG"),
    "moving webp": several("WEBP"),
    "pages": several("TIFF"),
    "16 bits of colour": deep(drawn(90, 80, 3, 65536), 2),
    "12 bits of colour": deep(drawn(90, 80, 3, 4096), 2),
    "12 bits of colour and alpha": deep(drawn(90, 80, 4, 4096), 6),
    "12 bits of colour, opaque": deep(OPAQUE, 6),
    "16 bits of grey with alpha": deep(drawn(90, 80, 2, 65536), 4),
    "12 bits of grey with alpha": deep(drawn(90, 80, 2, 4096), 4),
    "broken EXIF": file(rgb(150, 200), "PNG", exif=b"Exif\0\0XXXX"),
    "EXIF that is cut": file(rgb(150, 200), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"),
    "no such turn": file(rgb(150, 200), "JPEG", exif=turned(9)),
    "turned tiff": file(rgb(150, 200), "TIFF", exif=turned(6)),
    "a colour that is transparent": file(rgb(90, 80), "PNG", transparency=(10, 20, 30)),
    "a palette with alpha": file(rgb(90, 80).convert("P"), "PNG", transparency=bytes(range(256))),
    "lab": file(rgb(90, 80).convert("LAB"), "TIFF"),
    "not finite": file(Image.fromarray(np.where(np.eye(40) > 0, np.nan, np.eye(40)[::-1]).astype(np.float32)), "TIFF"),
    **{f"turned {number}": file(rgb(150, 200), "JPEG", exif=turned(number)) for number in range(2, 9)},
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of broken metadata
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_read_as_in_training(name):
    for spec, got in zip(
        SPECS, predict_template.decode(PICTURES[name], [decoding_rule(spec) for spec in SPECS]), strict=True
    ):
        assert np.array_equal(got, preprocessing.decode_picture(PICTURES[name], spec)), spec
        assert got.shape == (spec.size_px, spec.size_px, 3) and got.dtype == spec.dtype


@pytest.mark.parametrize("content", [b"", b"no picture", PICTURES["png"][:200], PICTURES["large jpeg"][:2000]])
def test_what_is_no_whole_picture_is_an_error(content):
    with pytest.raises(ValueError, match="."):
        predict_template.decode(content, [decoding_rule(SPECS[0])])


def test_a_picture_of_too_many_pixels_is_an_error(monkeypatch):
    monkeypatch.setattr(predict_template, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="80 x 90 px is more than"):
        predict_template.decode(PICTURES["bmp"], [decoding_rule(SPECS[0])])


def test_a_rule_is_told_in_words():
    assert format_decoding(SPECS[0]) == "shorter side resized to 36.5714 px (bicubic), the middle 32 x 32 px taken"
    assert format_decoding(SPECS[1]) == "resized to 64 x 64 px (bilinear), whatever its shape"


def content_of(**changes):
    """`model.json` of three classes."""
    rule = {"costs": None, "positive": "", "threshold": None}
    return {"class_names": ["a", "b", "c"], "task": "classification", "decision": rule, "doubt": None, **changes}


@pytest.mark.parametrize("positive", [None, 0, 2])
@pytest.mark.parametrize("costs", [None, [[0, 1, 9], [5, 0, 1], [1, 1, 0]]])
def test_predict_py_decides_as_headstart_does(positive, costs):
    from headstart.heads import decision_rule

    p = np.random.default_rng(0).dirichlet(np.ones(3), 200).astype(np.float32)
    rule = {"costs": costs, "positive": "abc"[positive] if positive is not None else "", "threshold": 0.4}
    want = decision_rule.choose_classes(
        p, positive=positive, threshold=0.4, costs=None if costs is None else np.array(costs)
    )
    assert [graph_answers.decide(row, content_of(decision=rule)) for row in p] == want.tolist()


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("score", ["least_ambiguous", "adaptive"])
def test_predict_py_names_the_plausible_classes_that_headstart_does(score, ordered):
    from headstart.uncertainty import conformal, selective_prediction

    p = np.random.default_rng(1).dirichlet(np.full(3, 0.4), 300).astype(np.float32)
    limits, floors = np.array([0.6, 0.9, np.inf]), np.array([0.45, 0.3, 0.4])
    first = p.argmax(axis=1)
    entry = {"score": score, "thresholds": [0.6, 0.9, None], "floors": floors.tolist(), "ordered": ordered}
    found = selective_prediction.PredictionUncertainty(
        conformal.make_sets(p, score, limits, first, ordered=ordered),
        np.zeros(len(p)),
        np.zeros(len(p), bool),
        ~conformal.make_sets(p, "least_ambiguous", floors).any(axis=1),
        np.zeros(p.shape, bool),
    )
    want = [
        selective_prediction.list_prediction_set(found, at, ("a", "b", "c"), p[at], first[at]) for at in range(len(p))
    ]
    got = [
        tuple(graph_answers.list_plausible(row, at, content_of(doubt=entry)))
        for row, at in zip(p, first.tolist(), strict=True)
    ]
    assert got == want
    assert {len(one) for one in got} >= {0, 1, 2}


def test_predict_py_answers_with_the_labels_and_sets_that_headstart_does():
    from headstart.uncertainty import label_sets

    p = np.random.default_rng(2).beta(0.5, 0.5, (300, 3)).astype(np.float32)
    limits = np.array([[0.6, 0.9], [0.2, 0.3], [np.inf, 0.8]])
    sets = label_sets.make_label_sets(p, limits)
    doubt = {"thresholds": [[0.6, 0.9], [0.2, 0.3], [None, 0.8]], "floors": [None] * 3}
    content = content_of(task="multilabel", doubt=doubt)
    for row, states in zip(p, sets, strict=True):
        answer = graph_answers.make_answer({"probabilities": row[None], "unknown": [[0.0]]}, content)
        ranked = np.argsort(-row, kind="stable")
        assert answer["labels"] == [name for name, value in zip("abc", row, strict=True) if value >= 0.5]
        assert answer["answer"] == ("|".join(answer["labels"]) or "(none)")
        assert answer["plausible"] == ["abc"[at] for at in ranked if states[at, 1]]
        assert answer["open"] == ["abc"[at] for at in ranked if states[at].all()]
    declined = graph_answers.make_answer({"probabilities": p[:1], "unknown": [[1.0]]}, content)
    assert declined["answer"] == "unknown" and declined["labels"] == [
        n for n, v in zip("abc", p[0], strict=True) if v >= 0.5
    ]
    assert {len(row) for row in sets.all(axis=2)} and 0 < sets.all(axis=2).mean() < 1


def test_what_is_no_picture_is_told_in_words(tmp_path, monkeypatch, capsys):
    (tmp_path / "text.jpg").write_text("words")
    rule = {"name": "picture", "size_px": 32, "resize": "crop", "crop_fraction": 0.875, "ranges": {"n_bands": 0}}
    told = {"inputs": [rule], "class_names": ["a"], "file": "m"}
    (tmp_path / "model.json").write_text(json.dumps(told))
    monkeypatch.setattr(predict_template, "load", lambda path, told: None)
    monkeypatch.setattr(predict_template.Model.__init__, "__defaults__", (tmp_path,))
    monkeypatch.setattr(sys, "argv", ["predict.py", str(tmp_path / "text.jpg"), str(tmp_path)])
    assert predict_template.main() == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["error"] for row in rows] == ["it is not a picture that can be read", "it is a folder"]
