"""Scores of numbers: their values are scikit-learn's and scipy's, and their intervals hold the truth."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from headstart.statistics import metrics, regression_metrics
from headstart.statistics.losses import per_picture_loss


def drawn(seed, n=120, noise=0.5):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n)
    return y, (y + noise * rng.normal(size=n))[:, None]


def test_values_are_those_of_scikit_learn_and_scipy():
    y, p = drawn(1)
    found = {name: metrics.compute_score(name, y, p, split="t").value for name in regression_metrics.NAMES}
    assert found["r2"] == pytest.approx(reference.r2_score(y, p[:, 0]))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(y, p[:, 0]))
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(y, p[:, 0]))
    assert found["spearman"] == pytest.approx(stats.spearmanr(y, p[:, 0]).statistic)
    assert 1 - per_picture_loss("r2", y, p).mean() == pytest.approx(found["r2"])


def test_intervals_hold_the_truth_as_often_as_they_say():
    noise, draws = 0.5, 400
    truth = {"r2": 1 - noise**2, "mae": noise * np.sqrt(2 / np.pi), "rmse": noise}
    truth["spearman"] = 6 / np.pi * np.arcsin(1 / np.sqrt(1 + noise**2) / 2)  # of a bivariate normal distribution
    held = dict.fromkeys(truth, 0)
    for seed in range(draws):
        y, p = drawn(seed, noise=noise)
        for name, value in truth.items():
            score = metrics.compute_score(name, y, p, split="t")
            held[name] += score.low <= value <= score.high
    assert all(0.91 <= count / draws <= 0.985 for count in held.values()), held


def test_near_duplicates_and_folds_widen_an_interval():
    y, p = drawn(3)
    y, p, clusters = np.repeat(y, 4), np.repeat(p, 4, axis=0), np.repeat(np.arange(len(y)), 4)
    for name in regression_metrics.NAMES:
        alone, joined, folded = (
            metrics.compute_score(name, y, p, split="t", **how) for how in ({}, {"clusters": clusters}, {"n_folds": 5})
        )
        assert (joined.high - joined.low) > 1.8 * (alone.high - alone.low)
        assert (folded.high - folded.low) > 1.3 * (alone.high - alone.low)


def test_numbers_that_do_not_vary_have_no_r2_and_perfect_ones_do():
    same = metrics.compute_score("r2", np.ones(9), np.ones((9, 1)), split="t")
    assert np.isnan(same.value) and (same.low, same.high) == (-np.inf, 1.0)
    y = np.arange(9.0)
    assert metrics.compute_score("r2", y, y[:, None], split="t").value == 1.0
    assert metrics.compute_score("spearman", y, y[:, None] ** 3, split="t").value == pytest.approx(1.0)
