"""Intervals of numbers keep their promise, and what sets them does not judge them."""

import numpy as np
import pytest

from headstart.uncertainty import prediction_intervals
from headstart.uncertainty.coverage import HeldOutPredictions


def held_out(n, seed, split="cv", folds=5):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n)
    p = (y + rng.standard_t(3, n))[:, None].astype(np.float32)
    rows, fold = np.arange(n), np.arange(n) % folds if split == "cv" else np.zeros(n, np.int64)
    return HeldOutPredictions(split=split, rows=rows, y=y, p=p, answers=np.zeros(n, np.int64), fold=fold)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_new_pictures_lie_in_their_interval_as_often_as_promised(coverage):
    shares, few = [], 60
    for seed in range(300):
        promise = prediction_intervals.promise_intervals(held_out(few, seed), coverage)
        scores = prediction_intervals.score_intervals(held_out(200, 10_000 + seed, "test"), promise, coverage)
        shares.append(next(score.value for score in scores if score.name == "coverage"))
    assert coverage - 0.01 <= np.mean(shares) <= coverage + 2 / few


def test_each_fold_is_judged_by_the_others_where_nothing_was_held_back():
    judged = held_out(100, 4)
    promise = prediction_intervals.promise_intervals(judged, 0.9)
    scores = {(s.name, s.subject): s for s in prediction_intervals.score_intervals(judged, promise, 0.9)}
    assert {("coverage", ""), ("coverage_of_folds", "lowest"), ("interval_width", "")} <= set(scores)
    far = held_out(100, 4)
    far.p[far.fold == 0] += 100  # a fold that the others say nothing of
    wide = prediction_intervals.promise_intervals(far, 0.9)
    found = {(s.name, s.subject): s for s in prediction_intervals.score_intervals(far, wide, 0.9)}
    assert found["coverage_of_folds", "lowest"].value == 0.0


def test_too_few_pictures_promise_nothing_but_every_number():
    promise = prediction_intervals.promise_intervals(held_out(8, 0), 0.9)
    assert np.isinf(promise.thresholds).all() and "cannot promise 90 %" in promise.why
