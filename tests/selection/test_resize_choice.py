"""Which way of making pictures square is taken: measured where a crop would lose much, and nowhere else."""

import json

import numpy as np
import pytest
from PIL import Image

from headstart.api.fit_steps import FitSteps
from headstart.backbones import loading
from headstart.core import model_manifest
from headstart.core.job import make_job
from headstart.core.run.reader import RunReader
from headstart.core.storage.hashing import compute_digest
from headstart.core.types import OWN_RANGES, Dataset, InputSpec, PictureReading
from headstart.features.feature_cache import cache_address, make_embed_key
from headstart.selection.resize_choice import find_resize_rows

NAME = "bundled:efficientnet_lite0"


class MeanColours:
    """Stands for an engine: the mean colour of what it sees, over and over, as features."""

    def run(self, batches):
        for key, pictures in batches:
            mean = pictures.mean(axis=(1, 2), dtype=np.float32).repeat(500, axis=1)
            yield key, tuple(mean[:, : depth.dim].copy() for depth in loading.find_backbone(NAME).spec.depths)


@pytest.fixture
def tall(tmp_path):
    """30 x 90 px of grey noise, whose ends alone tell the class."""
    draw = np.random.default_rng(0)
    for name, channel in (("blue", 2), ("red", 0)):
        (tmp_path / "tall" / name).mkdir(parents=True)
        for number in range(60):
            pixels = draw.integers(60, 200, (90, 30, 3)).astype(np.uint8)
            pixels[[*range(12), *range(78, 90)], :, channel] = 255
            Image.fromarray(pixels).save(tmp_path / "tall" / name / f"{number}.png")
    return tmp_path / "tall"


@pytest.fixture
def steps(tall, context, store, monkeypatch):
    """A function that begins a fit of the tall pictures."""
    monkeypatch.setattr(loading, "load_engine", lambda *args, **named: MeanColours())
    return lambda **settings: FitSteps(context(data=tall, store=store, backbones=(NAME,), **settings))


def test_where_a_crop_loses_what_tells_the_classes_apart_another_way_is_taken(steps):
    run = steps(name="first")
    data = run.data
    assert data.reading.resize in ("pad", "squash") and "log loss crop" in data.reading.reason
    assert data.reading.reason.endswith(f" on 48 pictures through {NAME}")
    assert RunReader(run.ctx.run.path).find(Dataset).reading == data.reading
    [decision] = [
        json.loads(line)
        for line in (run.ctx.run.path / "decisions.jsonl").read_text().splitlines()
        if "read/resize" in line
    ]
    assert decision["value"] == {"resize": data.reading.resize, "reason": data.reading.reason}
    rows = find_resize_rows(run.pictures, ctx=run.ctx)
    assert len(rows) == 48 and not set(rows.tolist()) & set(run.splits.test.tolist())
    assert {e.key.input.resize for e in run.embeddings} == {data.reading.resize}


def test_a_choice_that_was_made_is_not_measured_again(steps, monkeypatch):
    first = steps(name="again").data.reading
    monkeypatch.setattr("headstart.selection.resize_choice.extract_features", None)
    assert steps(name="again").data.reading == first


def test_a_way_that_is_asked_for_is_not_measured(steps):
    run = steps(name="asked", resize="squash")
    assert run.data is run.pictures
    assert run.data.reading == PictureReading(resize="squash", reason="as asked for")


def test_near_squares_cost_nothing_and_keep_their_vectors(small_textile, context, store):
    ctx = context(data=small_textile(4), store=store)
    run = FitSteps(ctx)
    backbone = loading.find_backbone(NAME)
    assert run.data is run.pictures and run.data.reading == PictureReading()
    seen = run.data.adapt_input(backbone.spec.input)
    assert seen == backbone.spec.input and "ranges" not in model_manifest.to_plain(seen)
    old = {name: getattr(seen, name) for name in InputSpec.__dataclass_fields__ if name != "ranges"}
    assert compute_digest(seen) == compute_digest(old)  # of InputSpec before there were ranges
    assert cache_address(make_embed_key(backbone, seen)) == cache_address(make_embed_key(backbone, backbone.spec.input))
    assert run.data.reading.ranges == OWN_RANGES


def test_an_unknown_way_is_refused():
    with pytest.raises(Exception, match=r"`stretch`.*auto, crop, pad, squash"):
        make_job(data="x", resize="stretch")
