"""Bootstrap intervals of means: as scipy's, by clusters, and honest where nothing can be known."""

import numpy as np
import pytest
from scipy import stats

from headstart.statistics.bootstrap import mean_bootstrap


def test_the_interval_is_that_of_scipy_within_its_own_noise():
    values = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], 180, p=[0.1, 0.6, 0.3])
    found = mean_bootstrap(values, None, seed=0, draws=20_000)
    known = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(8)
    ).confidence_interval
    assert found.value == pytest.approx(values.mean(), abs=1e-15)
    assert found.low == pytest.approx(known.low, abs=0.006)
    assert found.high == pytest.approx(known.high, abs=0.006)


def test_two_values_have_the_exact_distribution():
    """Of (0, 1) resampled twice the mean is 0, 1/2 or 1 with 1/4, 1/2, 1/4: both ends lie outside the middle 95 %."""
    assert mean_bootstrap(np.array([0.0, 1.0]), None, seed=5) == (0.5, 0.0, 1.0)
    assert mean_bootstrap(np.array([2.0, 2.0, 2.0]), None, seed=5) == (2.0, 2.0, 2.0)


def test_copies_in_one_cluster_tell_no_more_than_one_picture():
    values = np.random.default_rng(1).normal(size=40)
    alone = mean_bootstrap(values, None, seed=2)
    copied = mean_bootstrap(np.repeat(values, 10), np.repeat(np.arange(40), 10), seed=2)
    assert copied == pytest.approx(alone, abs=1e-12)
    blind = mean_bootstrap(np.repeat(values, 10), None, seed=2)
    assert blind.high - blind.low < 0.5 * (alone.high - alone.low)


def test_clusters_of_other_sizes_count_by_their_pictures():
    """A mean over pictures, not over clusters: the big cluster of ones pulls it to 9/10, or by chance to 0 or 1."""
    values, clusters = np.array([1.0] * 9 + [0.0]), np.array([7] * 9 + [3])
    assert mean_bootstrap(values, clusters, seed=0) == (0.9, 0.0, 1.0)


def test_the_seed_decides_and_nothing_else_does():
    values = np.random.default_rng(1).normal(size=50)
    assert mean_bootstrap(values, None, seed=2) == mean_bootstrap(values, None, seed=2)
    assert mean_bootstrap(values, None, seed=2) != mean_bootstrap(values, None, seed=3)


def test_many_pictures_are_drawn_in_parts():
    values = np.tile([0.0, 1.0], 4_000)
    found = mean_bootstrap(values, None, seed=0, draws=1_000)
    half = 1.96 * 0.5 / np.sqrt(8_000)
    assert found.low == pytest.approx(0.5 - half, abs=0.002)
    assert found.high == pytest.approx(0.5 + half, abs=0.002)


def test_of_nothing_nothing_is_known():
    assert np.isnan(mean_bootstrap(np.empty(0), None, seed=0)).all()


def test_one_cluster_alone_tells_nothing_of_the_spread():
    value, low, high = mean_bootstrap(np.array([1.0, 1.0, 0.0]), np.zeros(3, np.int64), seed=0)
    assert value == pytest.approx(2 / 3)
    assert low == -np.inf
    assert high == np.inf
