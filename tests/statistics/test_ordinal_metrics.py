"""Scores of grades against their definitions, scikit-learn and repeated samples."""

import numpy as np
import pytest

from headstart.core.types import ORDINAL
from headstart.statistics import metrics
from headstart.statistics.losses import brier_losses, is_gain, per_picture_loss, ranked_probability_losses
from headstart.statistics.ordinal_metrics import find_median_grades

METRICS = ORDINAL.headline[:2] + ORDINAL.metrics[:1]


def drawn(n, seed=0, blur=0.8, grades=5):
    """True grades, and probabilities about a noisy reading of them."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, grades, n)
    reading = y + rng.normal(0, blur, n)
    p = np.exp(-((np.arange(grades) - reading[:, None]) ** 2) / (2 * blur**2))
    return y, p / p.sum(axis=1, keepdims=True)


def score(name, y, p, **settings):
    return metrics.compute_score(name, y, p, split="test", **settings)


def test_kappa_is_that_of_scikit_learn_on_the_median_answers():
    from sklearn.metrics import cohen_kappa_score

    y, p = drawn(200)
    want = cohen_kappa_score(y, find_median_grades(p), weights="quadratic")
    assert score("quadratic_weighted_kappa", y, p).value == pytest.approx(want)
    by_name = {
        s.name: s.value for s in metrics.compute_scores(y, p, split="test", class_names=tuple("abcde"), task=ORDINAL)
    }
    assert by_name["mean_rank_error"] == pytest.approx(np.abs(find_median_grades(p) - y).mean())
    assert {*METRICS, "accuracy", "log_loss"} <= by_name.keys()


def test_the_ranked_probability_score_is_in_ranks_and_proper():
    y, certain = np.array([0, 3, 1]), np.eye(5)[[2, 3, 0]]
    assert ranked_probability_losses(y, certain).tolist() == [2, 0, 1]
    two = np.array([[0.3, 0.7], [0.9, 0.1]])
    np.testing.assert_allclose(ranked_probability_losses(y[:2] // 3, two), brier_losses(y[:2] // 3, two) / 2)
    truth, others = np.array([0.2, 0.5, 0.3]), np.random.default_rng(0).dirichlet(np.ones(3), 500)
    expected = [truth @ ranked_probability_losses(np.arange(3), np.tile(p, (3, 1))) for p in (truth, *others)]
    assert np.argmin(expected) == 0
    assert per_picture_loss("ranked_probability_score", y, certain).mean() == 1 and not is_gain(METRICS[2])
    assert is_gain("quadratic_weighted_kappa")


def test_the_median_has_the_fewest_ranks_off():
    p = np.random.default_rng(1).dirichlet(np.ones(4), 300)
    ranks = np.arange(4)
    expected = np.stack([p @ np.abs(ranks - answer) for answer in ranks], axis=1)
    assert (expected[np.arange(300), find_median_grades(p)] <= expected.min(axis=1) + 1e-12).all()


@pytest.mark.parametrize("name", METRICS)
def test_intervals_hold_the_value_of_all_pictures(name):
    y, p = drawn(50_000, 3)
    truth, hits = score(name, y, p).value, 0
    for at in range(0, 50_000, 100):
        part = score(name, y[at : at + 100], p[at : at + 100])
        hits += part.low <= truth <= part.high
    assert 0.92 < hits / 500 < 0.98


@pytest.mark.parametrize("name", METRICS)
def test_near_duplicates_folds_and_perfect_answers_widen_them(name):
    y, p = drawn(150, 2)
    alone = score(name, y, p)
    twice = score(name, np.tile(y, 2), np.tile(p, (2, 1)), clusters=np.tile(np.arange(150), 2))
    assert (twice.value, twice.low, twice.high) == pytest.approx((alone.value, alone.low, alone.high), rel=1e-6)
    assert score(name, y, p, n_folds=5).high - alone.value > 1.3 * (alone.high - alone.value)
    perfect = score(name, y, np.eye(5)[y])
    assert perfect.high - perfect.low > 0.005 and perfect.low <= perfect.value <= perfect.high


def test_one_grade_alone_has_no_kappa():
    kappa = score("quadratic_weighted_kappa", np.ones(9, np.int64), np.eye(3)[np.ones(9, np.int64)])
    assert np.isnan(kappa.value) and (kappa.low, kappa.high) == (-1, 1)
