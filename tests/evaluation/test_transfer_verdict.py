"""Whether pre-trained features pay: on pictures that colours tell apart, and on such that only texture does."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from headstart.core.console import Console
from headstart.core.types import Feature, Ranking
from headstart.data.reading.read_dataset import read_dataset
from headstart.evaluation import verdicts
from headstart.evaluation.baselines import HISTOGRAM, MODEL, RANDOM, BaselineInputs, make_feature_sets
from headstart.evaluation.held_out_scores import JudgedSplit
from headstart.features.extraction import extract_features
from judged_sets import splits

LITE0 = "bundled:efficientnet_lite0"
RANKING = Ranking(metric="log_loss", rows=(), chosen=f"{LITE0}@last", why="", ties=(), survivors=(LITE0,))
COUNT, SIDE = 90, 64
COLOURS = {
    "plain": ((200, 40, 40), (40, 200, 40), (40, 40, 200)),
    "light": ((30, 30, 30), (100, 100, 100), (225, 225, 225)),
    "warm": ((220, 100, 30), (220, 30, 100), (100, 30, 30)),
}


def judge(folder, context):
    """The verdict on features of a real network against the histograms of the same files."""
    ctx = context(data=str(folder))
    ctx.console = Console(quiet=True)
    data = read_dataset(str(folder), ctx=ctx)
    vectors = extract_features(data, LITE0, np.arange(len(data.uris)), ctx=ctx)
    depth = vectors.spec.depths[-1]
    adapted = SimpleNamespace(features=(Feature(backbone=LITE0, depth=depth.name, dim=depth.dim),))
    split = splits(data, test=0.0, folds=5)
    inputs = BaselineInputs(data=data, splits=split, embeddings=(vectors,), adapted=adapted, seed=0)
    return verdicts.judge_transfer(make_feature_sets(inputs, RANKING, ()), split.clusters)


def paint_pictures(folder, draw):
    for number in range(COUNT):
        rng = np.random.default_rng(number)
        pixels = np.clip(draw(number % 3, rng), 0, 255).astype(np.uint8)
        path = folder / "abc"[number % 3] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.mark.medium
@pytest.mark.parametrize("name", COLOURS)
def test_where_colours_tell_all_they_are_said_to_be_enough(name, tmp_path, context):
    means = np.array(COLOURS[name], float)
    folder = paint_pictures(tmp_path / name, lambda c, rng: means[c] + rng.normal(0, 12, (SIDE, SIDE, 3)))
    verdict = judge(folder, context)
    assert verdict.answer == "no"
    assert verdict.sentence.startswith("colours are enough, pre-trained features do not pay")
    assert verdict.sentence.endswith("a difference under 0.02 does not matter")


@pytest.mark.medium
def test_where_only_texture_tells_features_pay(tmp_path, context):
    def draw(c, rng):
        waves = np.sin(np.arange(SIDE) * rng.uniform(0.5, 0.7) + rng.uniform(0, 6))
        sheet = (np.tile(waves, (SIDE, 1)), np.tile(waves[:, None], (1, SIDE)), waves[:, None] * waves[None])[c]
        return (128 + 60 * sheet + rng.normal(0, 20, (SIDE, SIDE)))[..., None].repeat(3, axis=2)

    verdict = judge(paint_pictures(tmp_path / "waves", draw), context)
    assert verdict.answer == "yes"
    assert "colours are enough" not in verdict.sentence


@pytest.mark.parametrize(
    ("histogram", "random", "answer", "words"),
    [
        (0.004, 0.9, "no", "colours are enough, pre-trained features do not pay: on"),
        (0.9, 0.004, "no", "pre-trained features do not pay: on"),
        (0.001, 0.9, "no", "colours are enough, pre-trained features do not pay: they lose: on"),
        (0.3, 0.3, "yes", "pre-trained features pay: on"),
    ],
)
def test_a_surely_smaller_loss_pays_only_where_it_matters(histogram, random, answer, words):
    y, rng = np.arange(90) % 3, np.random.default_rng(0)

    def part(loss):
        truth = np.exp(-loss * rng.uniform(0.9, 1.1, len(y)))
        p = np.where(np.eye(3)[y] > 0, truth[:, None], (1 - truth[:, None]) / 2)
        return JudgedSplit(split="screen", rows=np.arange(90), y=y, p=p, answers=y, clusters=np.arange(90))

    feature_sets = {MODEL: part(0.003), HISTOGRAM: part(histogram), RANDOM: part(random)}
    verdict = verdicts.judge_transfer(feature_sets, np.arange(90))
    assert verdict.answer == answer
    assert verdict.sentence.startswith(words)
