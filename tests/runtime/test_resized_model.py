"""A model of tall pictures with 12 of 16 bits: reading, range and padding are those of the training everywhere."""

import json

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart.core.console import Console
from headstart.core.model_manifest import read_manifest
from headstart.core.types import PixelRanges
from headstart.explanation.explain_image import Explainer, draw_explanation
from headstart.runtime.model import load
from headstart.testing.image_files import make_deep_png

pytestmark = pytest.mark.medium
HEIGHT, WIDTH = 180, 60


def draw_values(number, high):
    """Dark noise with a bright bar near the top, or none."""
    values = np.random.default_rng(number).integers(300, 900, (HEIGHT, WIDTH))
    if high:
        values[10:40, 10:50] += 3000
    return values.astype(np.uint16)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("deep")
    for name in ("high", "low"):
        (root / "set" / name).mkdir(parents=True)
        for number in range(14):
            content = make_deep_png(draw_values(number, name == "high"))
            (root / "set" / name / f"{number}.png").write_bytes(content)
    settings = {"backbones": "bundled:efficientnet_lite0", "folds": 2, "resize": "pad", "test_size": 0.0}
    return headstart.fit(root / "set", out=root / "run", console=Console(quiet=True), **settings).path


def test_the_model_keeps_range_and_way(run):
    manifest = read_manifest(run / "model")
    [trunk] = manifest.trunks
    assert trunk.input.ranges == PixelRanges(integers=(0.0, 4095.0), floats=(0.0, 1.0), precise=True)
    assert (trunk.input.resize, manifest.resize_reason) == ("pad", "as asked for")
    assert "224 px, pad" in (run / "README.md").read_text()
    [strange] = (run / "doubt").glob("bundled*.json")
    assert json.loads(strange.read_text())["key"]["input"]["resize"] == "pad"  # pictures of other things are read alike


def test_one_hot_pixel_changes_no_answer(run, tmp_path):
    values = draw_values(99, high=True)
    (tmp_path / "plain.png").write_bytes(make_deep_png(values))
    values[100, 30] = 4096
    (tmp_path / "hot.png").write_bytes(make_deep_png(values))
    plain, hot = load(run).predict([tmp_path / "plain.png", tmp_path / "hot.png"])
    assert plain.likeliest == hot.likeliest == "high" and plain.answer == hot.answer
    assert plain.probabilities["high"] == pytest.approx(hot.probabilities["high"], abs=0.02)


def test_a_picture_of_another_scale_is_an_error_and_not_an_answer(run, tmp_path):
    (tmp_path / "bright.png").write_bytes(make_deep_png(draw_values(5, high=True) * 16))
    [row] = load(run).predict(tmp_path / "bright.png", errors="rows")
    assert "outside 0 to 4,095" in row.error and not row.answer


def test_the_heat_lies_on_the_bar(run, tmp_path):
    (tmp_path / "bar.png").write_bytes(make_deep_png(draw_values(7, high=True)))
    explanation = Explainer(run).explain(tmp_path / "bar.png")
    assert explanation.box == (-60.0, 0.0, 120.0, 180.0)  # the square around the picture
    inside = explanation.heat[:, explanation.heat.shape[1] // 3 : explanation.heat.shape[1] * 2 // 3]
    assert np.argmax(inside.mean(axis=1)) < len(inside) / 3
    overlay = np.asarray(draw_explanation(explanation)).astype(int)
    grey = np.asarray(Image.fromarray(explanation.picture).convert("L")).astype(int)
    assert overlay.shape[:2] == grey.shape
    colour = np.ptp(overlay, axis=-1).mean(axis=1)
    assert np.argmax(colour) < len(colour) / 3


def test_an_export_reads_as_the_model_does(run, tmp_path):
    [export] = headstart.export(run, to="openvino", out=tmp_path / "out", console=Console(quiet=True))
    assert export["parity_max_abs"] < 1e-4
