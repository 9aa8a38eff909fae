"""Intervals hold the truth about as often as they say, look-alikes and perfect scores included."""

import numpy as np
import pytest
from scipy import stats

from headstart.statistics import intervals
from headstart.statistics.intervals import (
    area_interval,
    compact_clusters,
    design_effect,
    mean_interval,
    paired_interval,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_values(k, n, low, high):
    found = wilson_interval(k, n)
    assert found.value == pytest.approx(k / n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


def test_wilson_without_trials_knows_nothing():
    found = wilson_interval(0, 0)
    assert np.isnan(found.value)
    assert (found.low, found.high) == (0, 1)


@pytest.mark.parametrize(("n", "p"), [(10, 0.5), (10, 0.9), (40, 0.97), (400, 0.83), (400, 0.99)])
def test_wilson_covers(n, p):
    counts = np.random.default_rng(0).binomial(n, p, 4000)
    ends = {k: wilson_interval(k, n) for k in np.unique(counts)}
    covered = np.mean([ends[k].low <= p <= ends[k].high for k in counts])
    assert 0.92 <= covered <= 0.99


@pytest.mark.parametrize("n", [5, 50])
def test_the_mean_of_normal_values_is_covered(n):
    draws = np.random.default_rng(1).normal(3, 2, (2000, n))
    found = [mean_interval(row) for row in draws]
    assert 0.935 <= np.mean([i.low <= 3 <= i.high for i in found]) <= 0.965


def test_intervals_of_a_joint_level_hold_at_once():
    draws = np.random.default_rng(4).normal(size=(1000, 14, 20))
    held = [all((i := mean_interval(row, level=1 - 0.05 / 14)).low <= 0 <= i.high for row in each) for each in draws]
    assert 0.935 <= np.mean(held) <= 0.97


def test_clusters_widen_a_mean_until_it_covers_again():
    rng, clusters = np.random.default_rng(2), np.repeat(np.arange(40), 5)
    draws = np.repeat(rng.normal(size=(1000, 40)), 5, axis=1) + 0.3 * rng.normal(size=(1000, 200))
    aware = np.mean([(i := mean_interval(row, clusters)).low <= 0 <= i.high for row in draws])
    blind = np.mean([(i := mean_interval(row)).low <= 0 <= i.high for row in draws])
    assert 0.93 <= aware <= 0.97
    assert blind < 0.75


def test_one_cluster_or_nothing_tells_no_spread():
    assert mean_interval(np.array([1.0, 2.0]), np.zeros(2)).high == np.inf
    assert np.isnan(mean_interval(np.array([])).value)


def test_singleton_clusters_are_no_clusters():
    assert compact_clusters(np.array([7, 3, 9])) is None
    assert compact_clusters(None) is None
    assert compact_clusters(np.array([7, 3, 7])).tolist() == [1, 0, 1]


def test_a_perfect_score_on_copies_counts_each_cluster_once():
    groups = np.repeat(np.arange(10), 4)
    assert design_effect(np.zeros(40), groups) == pytest.approx(4)
    assert design_effect(np.zeros(40), None) == 1


def test_the_area_interval_covers():
    rng, truth = np.random.default_rng(3), 0.8413447  # normal scores one apart by sqrt(2)
    found = []
    for _ in range(600):
        positive, negative = rng.normal(np.sqrt(2), 1, 30), rng.normal(0, 1, 70)
        area = np.mean(positive[:, None] > negative)
        found.append(area_interval(float(area), 30, 70))
    assert 0.92 <= np.mean([i.low <= truth <= i.high for i in found]) <= 0.985


def test_a_perfect_area_is_not_certain_and_is_symmetric():
    best, worst = area_interval(1.0, 20, 30), area_interval(0.0, 20, 30)
    assert 0.7 < best.low < 0.95
    assert best.high == 1.0
    assert worst.high == pytest.approx(1 - best.low)
    assert np.isnan(area_interval(0.5, 0, 30).value)


def test_a_macro_interval_of_one_part_is_that_part():
    part = wilson_interval(30, 40)
    found = intervals.macro_interval([part], (1.0, 1.0), 1.0)
    assert found == pytest.approx(part)


@pytest.mark.parametrize(
    ("n", "gained", "lost"), [(60, 0.02, 0.05), (200, 0.0, 0.01), (30, 0.05, 0.2), (1000, 0.01, 0.02)]
)
def test_the_change_of_a_share_is_covered(n, gained, lost):
    draw, hits = np.random.default_rng(5), 0
    for _ in range(600):
        moved = draw.choice([1, -1, 0], n, p=[gained, lost, 1 - gained - lost])
        found = paired_interval(moved == -1, moved == 1)
        hits += found.low <= gained - lost <= found.high
    assert hits / 600 >= 0.93


def test_a_share_that_did_not_change_is_not_certain_and_look_alikes_widen_it():
    right = np.ones(60, bool)
    found = paired_interval(right, right)
    assert found.value == 0 and -0.05 < found.low == -found.high < -0.04
    assert paired_interval(right, right, np.arange(60) // 3).high == pytest.approx(found.high * np.sqrt(3))
    gone = paired_interval(right, ~right)
    assert gone.value == gone.low == -1 and gone.high > -0.99


def test_a_difference_of_two_scores_by_hand():
    a, b = intervals.Interval(0.8, 0.7, 0.88), intervals.Interval(0.6, 0.5, 0.69)
    assert intervals.difference_interval(a, b) == pytest.approx(
        (0.2, 0.2 - np.hypot(0.1, 0.09), 0.2 + np.hypot(0.08, 0.1))
    )


# ---------------------------------------------------------------- bootstrap of a mean


def test_the_interval_is_that_of_scipy_within_its_own_noise():
    values = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], 180, p=[0.1, 0.6, 0.3])
    found = intervals.mean_bootstrap(values, None, seed=0, draws=20_000)
    known = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(8)
    ).confidence_interval
    assert found.value == pytest.approx(values.mean(), abs=1e-15)
    assert found.low == pytest.approx(known.low, abs=0.006)
    assert found.high == pytest.approx(known.high, abs=0.006)


def test_two_values_have_the_exact_distribution():
    """Of (0, 1) resampled twice the mean is 0, 1/2 or 1 with 1/4, 1/2, 1/4: both ends lie outside the middle 95 %."""
    assert intervals.mean_bootstrap(np.array([0.0, 1.0]), None, seed=5) == (0.5, 0.0, 1.0)
    assert intervals.mean_bootstrap(np.array([2.0, 2.0, 2.0]), None, seed=5) == (2.0, 2.0, 2.0)


def test_copies_in_one_cluster_tell_no_more_than_one_picture():
    values = np.random.default_rng(1).normal(size=40)
    alone = intervals.mean_bootstrap(values, None, seed=2)
    copied = intervals.mean_bootstrap(np.repeat(values, 10), np.repeat(np.arange(40), 10), seed=2)
    assert copied == pytest.approx(alone, abs=1e-12)
    blind = intervals.mean_bootstrap(np.repeat(values, 10), None, seed=2)
    assert blind.high - blind.low < 0.5 * (alone.high - alone.low)


def test_clusters_of_other_sizes_count_by_their_pictures():
    """A mean over pictures, not over clusters: the big cluster of ones pulls it to 9/10, or by chance to 0 or 1."""
    values, clusters = np.array([1.0] * 9 + [0.0]), np.array([7] * 9 + [3])
    assert intervals.mean_bootstrap(values, clusters, seed=0) == (0.9, 0.0, 1.0)


def test_the_seed_decides_and_nothing_else_does():
    values = np.random.default_rng(1).normal(size=50)
    assert intervals.mean_bootstrap(values, None, seed=2) == intervals.mean_bootstrap(values, None, seed=2)
    assert intervals.mean_bootstrap(values, None, seed=2) != intervals.mean_bootstrap(values, None, seed=3)


def test_many_pictures_are_drawn_in_parts():
    values = np.tile([0.0, 1.0], 4_000)
    found = intervals.mean_bootstrap(values, None, seed=0, draws=1_000)
    half = 1.96 * 0.5 / np.sqrt(8_000)
    assert found.low == pytest.approx(0.5 - half, abs=0.002)
    assert found.high == pytest.approx(0.5 + half, abs=0.002)


def test_of_nothing_nothing_is_known():
    assert np.isnan(intervals.mean_bootstrap(np.empty(0), None, seed=0)).all()


def test_one_cluster_alone_tells_nothing_of_the_spread():
    value, low, high = intervals.mean_bootstrap(np.array([1.0, 1.0, 0.0]), np.zeros(3, np.int64), seed=0)
    assert value == pytest.approx(2 / 3)
    assert low == -np.inf
    assert high == np.inf
