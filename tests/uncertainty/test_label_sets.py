"""Sets of each label, absent or present: their promise is kept for each, and their temperature is one for all."""

import numpy as np
import pytest

from headstart.core.types import MULTILABEL
from headstart.uncertainty import coverage, label_sets
from headstart.uncertainty import temperature as tempering

NAMES = ("crack", "rust", "stain")


def drawn(n, seed, *, temperature=1.0, rates=(0.5, 0.2, 0.005)):
    """(n, 3) probabilities, right as often as they say once tempered, and the labels (n, 3) drawn by them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3)) * 2 + np.log(rates) - np.log1p(-np.array(rates))
    y = rng.random((n, 3)) < 1 / (1 + np.exp(-logits))
    return (1 / (1 + np.exp(-logits * temperature))).astype(np.float32), y


def known(p, y, split="test"):
    rows = np.arange(len(y))
    return coverage.HeldOutPredictions(split=split, rows=rows, y=y, p=p, answers=p.argmax(axis=1), fold=rows % 5)


def test_each_state_of_each_label_keeps_the_promise():
    promise = label_sets.promise_label_sets(known(*drawn(600, 0), "cv"), 0.9)
    assert promise.thresholds.shape == (3, 2) and np.isfinite(promise.thresholds).all()
    assert promise.why.startswith(
        "600 out-of-fold training pictures set the thresholds of each label, for 90 % of those that have it and of "
        "those that lack it; theory guarantees "
    )
    judged = known(*drawn(20_000, 1))
    outcomes = label_sets.judge_label_sets(judged, promise, 0.9)
    scores = {(s.name, s.subject): s for s in label_sets.score_label_sets(judged, outcomes, NAMES)}
    for name, slack in zip(NAMES, (0.04, 0.05, 0.1), strict=True):
        assert scores["coverage", name].value > 0.9 - slack
        assert scores["coverage_where_present", name].value > 0.9 - slack
    mean = np.mean([scores["coverage", name].value for name in NAMES])
    assert scores["coverage", ""].value == pytest.approx(mean) and scores["coverage", ""].n == 20_000
    assert 0.1 < scores["open_labels", "crack"].value < 0.5


def test_on_average_over_many_sets_presence_and_absence_keep_the_promise():
    there, absent = [], []
    for seed in range(40):
        promise = label_sets.promise_label_sets(known(*drawn(60, seed), "cv"), 0.9)
        p, y = drawn(1000, 1000 + seed)
        sets = label_sets.make_label_sets(p, promise.thresholds)
        there.append([sets[y[:, c], c, 1].mean() for c in range(2)])
        absent.append([sets[~y[:, c], c, 0].mean() for c in range(2)])
    assert (np.mean(there, axis=0) > 0.9).all() and (np.mean(there, axis=0) < 0.95).all()
    assert (np.mean(absent, axis=0) > 0.9).all() and (np.mean(absent, axis=0) < 0.95).all()


def test_a_label_that_few_pictures_have_is_never_ruled_out():
    p, y = drawn(400, 0)
    y[:, 2] = np.arange(400) < 8  # one fewer than nine
    promise = label_sets.promise_label_sets(known(p, y, "cv"), 0.9)
    assert np.isinf(promise.thresholds[2, 1]) and np.isfinite(promise.thresholds).sum() == 5
    assert promise.why.endswith("; 1 of 3 labels are there or absent in under 9: that is never ruled out")
    assert label_sets.make_label_sets(p, promise.thresholds)[:, 2, 1].all()


def test_a_set_is_never_empty_and_holds_what_is_answered():
    p, _ = drawn(500, 2)
    sets = label_sets.make_label_sets(p, np.array([[0.01, 0.02], [0.9, 0.9], [0.3, 0.6]]))
    assert sets.any(axis=2).all()
    assert (sets[:, :, 1] | (p < 0.5)).all() and (sets[:, :, 0] | (p >= 0.5)).all()
    assert not sets[:, 0].all(axis=1).any() and sets[:, 1].all(axis=1).any()
    np.testing.assert_array_equal(sets[:, 2, 1], (p[:, 2] >= 0.5) | (1 - p[:, 2].astype(np.float64) <= 0.6))


def test_folds_are_judged_by_the_thresholds_of_the_others():
    p, y = drawn(400, 3)
    predictions = known(p, y, "cv")
    promise = label_sets.promise_label_sets(predictions, 0.8)
    outcomes = label_sets.judge_label_sets(predictions, promise, 0.8)
    others = label_sets.promise_label_sets(predictions.select(predictions.fold != 2), 0.8)
    inside = predictions.fold == 2
    sets = label_sets.make_label_sets(p[inside], others.thresholds)
    np.testing.assert_array_equal(outcomes.open[inside], sets.all(axis=2))
    scores = label_sets.score_label_sets(predictions, outcomes, NAMES)
    assert {s.subject for s in scores if s.name == "coverage_of_folds"} == {"lowest", "highest"}
    first = scores[0]
    assert first.low < first.value < first.high and first.n == 400 and first.method == "clopper-pearson"


def test_too_few_pictures_leave_every_label_open():
    predictions = known(*drawn(6, 4), "cv")
    promise = label_sets.promise_label_sets(predictions, 0.9)
    assert promise.why.endswith("3 of 3 labels are there or absent in under 9: that is never ruled out")
    assert label_sets.make_label_sets(predictions.p, promise.thresholds).all()


@pytest.mark.parametrize("temperature", [0.5, 2.5])
def test_one_temperature_makes_the_log_odds_of_all_labels_right(temperature):
    p, y = drawn(3000, 5, temperature=temperature)
    chosen = tempering.choose_temperature(np.stack([p, p]), y, np.arange(3000), 0, MULTILABEL)
    assert chosen.temperature == pytest.approx(temperature, rel=0.1) and chosen.n == 3000
    assert chosen.after < chosen.before
    after = tempering.apply_temperature(p, temperature, MULTILABEL)
    right, _ = drawn(3000, 5)
    np.testing.assert_allclose(after, right, atol=1e-3)  # 32 bits near 1
    assert after.dtype == np.float32 and ((after >= 0.5) == (p >= 0.5)).all()
    assert tempering.apply_temperature(p, 1.0, MULTILABEL) is p


def test_look_alikes_stay_in_one_part_with_all_their_labels():
    p, y = drawn(300, 6, temperature=2.0)
    twice, labels, clusters = np.repeat(p, 2, axis=0), np.repeat(y, 2, axis=0), np.repeat(np.arange(300), 2)
    found = tempering.apply_cross_fitted_temperature(twice, labels, clusters, 0, MULTILABEL)
    np.testing.assert_allclose(found[::2], found[1::2])
    ratio = np.log(p / (1 - p)) / np.log(found[::2] / (1 - found[::2]))
    assert len(np.unique(np.round(ratio.mean(axis=1), 3))) == tempering.PARTS  # one temperature a picture
    assert np.ptp(ratio, axis=1).max() < 1e-2
