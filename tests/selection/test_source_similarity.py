"""How near a source is: what is compared, what is said where nothing is known, and that related beats unrelated."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tuned_samples as samples
from headstart.backbones import loading
from headstart.backbones.earlier_runs import source_task_lookup
from headstart.backbones.earlier_runs.source_task import NO_HEAD, NO_PICTURES
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core.console import Console
from headstart.core.storage import serialization
from headstart.core.storage.cache import Store
from headstart.core.types import InputSpec, Ranking, SourceSimilarity, SourceTask
from headstart.heads import prediction
from headstart.selection.ranking.probe_scores import arena
from headstart.selection.ranking.rank_backbones import rank_backbones
from headstart.selection.ranking.source_similarity import known, near
from headstart.selection.transferability import leep
from judged_sets import dataset, embeddings, splits

LITE0 = "bundled:efficientnet_lite0"


@pytest.fixture(scope="module")
def data():
    return dataset()


@pytest.fixture
def on(data, context):
    """All 240 pictures."""
    drawn = splits(data, test=0.0)
    return arena(drawn.train, data.targets, drawn.folds, drawn.clusters, split="cv", classes=3, ctx=context())


@pytest.fixture
def x(data):
    return embeddings(data, "made:up", {"last": 2.0}).vectors["last"]


def past(x, seed=0):
    """A head of five classes that reads `last`, and source pictures there that are like the target's."""
    rng = np.random.default_rng(seed)
    head = {"weights": rng.normal(size=(x.shape[1], 5)).astype(np.float32), "bias": np.zeros(5, np.float32)}
    pictures = x[rng.permutation(len(x))[:100]] + 0.1 * rng.normal(size=(100, x.shape[1])).astype(np.float32)
    return SourceTask(head=head, depth="last", pictures={"last": pictures, "inner": pictures})


def test_the_head_is_asked_at_the_depth_that_it_reads(x, on):
    source = past(x)
    found = near(source, "last", x, on)
    seen = prediction.probabilities("linear", source.head, x)
    assert found.leep == pytest.approx(leep.leep(seen, on.y))
    assert found.nce == pytest.approx(leep.nce(seen, on.y))
    assert found.cka == pytest.approx(leep.cka(seen, leep.one_hot(on.y)))
    assert found.unknown == ""
    inner = near(source, "inner", x, on)
    assert (inner.leep, inner.nce, inner.cka) == (None, None, None)
    assert inner.unknown == "LEEP, NCE, CKA: its head reads the depth last"
    assert inner.frechet == found.frechet


def test_pictures_like_the_source_are_nearer_than_others(x, on):
    source, far = past(x), np.roll(x, 1, axis=1) * 3
    alike, other = (near(source, "last", features, on) for features in (x, far))
    assert alike.frechet < 0.1 < other.frechet
    assert alike.two_sample.low < 0.6 < other.two_sample.low
    assert alike.two_sample.n == 200
    assert alike.two_sample.split == "cv"


def test_look_alikes_count_once(x, on):
    found = near(past(x), "last", x, dataclasses.replace(on, clusters=on.clusters // 8))
    assert found.two_sample.n == 60
    few = near(past(x), "last", x, dataclasses.replace(on, clusters=on.clusters // 24))
    assert few.frechet is None
    assert few.unknown == "Fréchet, two-sample: fewer than 16 different pictures on a side"


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (SourceTask(no_head="a", no_pictures="b"), "LEEP, NCE, CKA: a; Fréchet, two-sample: b"),
        (
            SourceTask(
                head={"weights": np.ones((3, 2)), "bias": np.ones(2)}, depth="last", pictures={"last": np.ones((90, 3))}
            ),
            "LEEP, NCE, CKA: its head does not fit the features; "
            "Fréchet, two-sample: no source pictures were kept at this depth",
        ),
    ],
)
def test_what_is_not_known_is_nothing_with_the_reason_and_never_0(x, on, of, why):
    assert near(of, "last", x, on) == SourceSimilarity(unknown=why)


def test_dead_channels_and_a_single_class_give_numbers_or_nothing(x, on):
    dead = np.hstack([np.zeros_like(x), x])
    source = past(dead)
    found = near(source, "last", dead, dataclasses.replace(on, y=np.zeros_like(on.y)))
    assert found.leep == pytest.approx(0, abs=1e-6)  # of one class everything is told
    assert found.nce == 0
    assert found.cka is None
    assert "CKA" in found.unknown
    assert np.isfinite([found.frechet, found.two_sample.value]).all()
    flat = near(source, "last", np.ones_like(dead), on)
    assert flat.cka is None
    assert flat.frechet is None
    assert flat.leep < 0


def test_the_ranking_tells_what_is_not_known(data, context):
    ctx = context()
    split = splits(data)
    twin = embeddings(data, "random:made:up", {"last": 0.0}, rows=split.train[:100], seed=9)
    rank_backbones(data, split, (embeddings(data, "made:up", {"last": 2.0}),), ctx=ctx, controls=(twin,))
    rows = json.loads((ctx.make_step_folder("rank") / "value.json").read_text())["rows"]
    assert rows[0]["likeness"]["leep"] is None
    assert "no source has a backbone of its name" in rows[0]["likeness"]["unknown"]
    assert {row["likeness"]["unknown"] for row in rows if row["status"] == "control"} == {
        "a control learnt from no source"
    }
    assert serialization.load_value(Ranking, ctx.make_step_folder("rank")).rows[0].likeness.frechet is None


def test_rankings_of_before_are_read(data, context):
    ctx = context()
    rank_backbones(data, splits(data), (embeddings(data, "made:up", {"last": 2.0}),), ctx=ctx)
    path = ctx.make_step_folder("rank") / "value.json"
    content = json.loads(path.read_text())
    for row in content["rows"]:
        del row["likeness"]
    path.write_text(json.dumps(content))
    assert serialization.load_value(Ranking, ctx.make_step_folder("rank")).rows[0].likeness == SourceSimilarity()


def test_what_is_known_of_the_sources(shared_store, store):
    lite = known(LITE0, shared_store)
    assert lite.head["weights"].shape == (1280, 1000)
    assert (lite.depth, lite.no_head, lite.no_pictures) == ("last", "", NO_PICTURES)
    gone = known(LITE0, store)
    assert "not in the cache" in gone.no_head
    assert not gone.head
    for name in ("bundled:vgg16_hed", "keras_applications:vgg16"):
        assert (known(name, shared_store).no_head, known(name, shared_store).no_pictures) == (NO_HEAD, NO_PICTURES)
    assert known(f"random:{LITE0}", shared_store).no_head == "random weights"


def test_pictures_that_have_gone_leave_the_head_and_a_reason():
    tuned = samples.network()
    made = ResolvedBackbone(
        name="run:mine", spec=tuned.spec, source=None, preset="mine"
    )  # nothing is built without them
    data = dataset(60)
    for given in ((data, splits(data)), (None, splits(data)), (data, None)):
        found = source_task_lookup.look(tuned, made, Store(Path()), *given)
        assert found.head["weights"].shape == tuned.fitted.arrays["weights"].shape
        assert found.depth == "features"
        assert not found.pictures
        assert "no longer where" in found.no_pictures
        assert "ash/" not in found.no_pictures


# ---------------------------------------------------------------- real pictures


def vectors(pictures, shared_store):
    """Depth -> (M, D) features of real pictures by Lite0."""
    found = loading.find(LITE0)
    engine = loading.ready(found, shared_store, Console(quiet=True), pictures[:8], threads=2)
    _, outputs = next(iter(engine.run([(None, pictures)])))
    return dict(zip((depth.name for depth in found.spec.depths), outputs, strict=True))


@pytest.mark.medium
def test_of_real_pictures_the_related_source_is_nearer(textile, shared_store, tmp_path, context):
    """Textiles are nearer to other textiles than handwritten digits are, and a head for them tells their labels."""
    from sklearn.datasets import load_digits

    from headstart.core import registry
    from headstart.images import preprocessing

    spec: InputSpec = loading.find(LITE0).spec.input
    folders = sorted(folder for folder in textile.iterdir() if folder.is_dir())
    files = [sorted(folder.glob("*.jpg"))[:32] for folder in folders]
    halves = [
        np.stack([preprocessing.decode(f.read_bytes(), spec) for one in files for f in one[at::2]]) for at in (0, 1)
    ]
    digits = load_digits()
    rows = np.flatnonzero(digits.target < 3)[:48]
    written = []
    for row in rows.tolist():
        path = tmp_path / "digit.png"
        Image.fromarray((digits.images[row] * 15.9).astype(np.uint8)).resize((64, 64)).save(path)
        written.append(preprocessing.decode(path.read_bytes(), spec))
    source, near_by, far = (vectors(one, shared_store) for one in (*halves, np.stack(written)))
    labels = np.repeat(np.arange(3), 16)
    (head,) = registry.load_plugin("heads", "ridge").path(
        source["last"], labels, n_classes=3, params=[{"strength": 1.0}], class_weight=None, seed=0
    )
    of = SourceTask(head=head.arrays, depth="last", pictures=source)
    drawn = splits(dataset(48), test=0.0)
    for depth in ("stage3", "stage5", "last"):
        found = []
        for x, y in ((near_by[depth], labels), (far[depth], digits.target[rows])):
            on = arena(np.arange(48), y, drawn.folds, drawn.clusters, split="cv", classes=3, ctx=context())
            found.append(near(of, depth, x, on))
        assert found[0].frechet < 0.25 < 0.5 < found[1].frechet
        assert found[0].two_sample.low < 0.6 < 0.95 < found[1].two_sample.value
    textile_head, digit_head = found
    assert textile_head.leep > digit_head.leep + 0.1
    assert textile_head.cka > digit_head.cka + 0.1
