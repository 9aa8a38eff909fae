"""Source and target pictures in a trunk's features: equal sets are at no distance, unlike ones are told apart."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.core import blas_threads
from headstart.selection.transferability.domain_similarity import LEAST, frechet, sides, two_sample

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def one_thread():
    """As the ranking calls it; small matrices on many threads only wait for each other."""
    with blas_threads.single_blas_thread():
        yield


def features(seed, m=120, dim=40, shift=0.0, grow=1.0):
    """(M, D) features of unequal columns, as after a ReLU."""
    rng = np.random.default_rng(seed)
    x = grow * rng.normal(size=(m, dim)) @ np.diag(np.exp(-np.arange(dim) / 8)) + shift
    return np.maximum(x, 0).astype(np.float32)


def both(a, b):
    found = sides(a, b)
    assert found is not None
    return found


@few
@given(SEEDS, st.integers(LEAST, 300), st.integers(1, 300))
def test_equal_sets_are_at_no_distance_and_cannot_be_told_apart(seed, m, dim):
    found = sides(*[np.random.default_rng(seed).normal(size=(m, dim)).astype(np.float32)] * 2)
    assert frechet(found) == pytest.approx(0, abs=1e-9)
    assert two_sample(found, seed).value == 0.5


@few
@given(SEEDS, st.integers(LEAST, 60), st.integers(LEAST, 60), st.integers(1, 80), st.floats(0, 3))
def test_distance_is_symmetric_and_never_below_0(seed, m, n, dim, shift):
    a, b = features(seed, m, dim), features(seed + 1, n, dim, shift=shift)
    if (there := sides(a, b)) is None:  # too few rows that differ: all were cut off at 0
        assert sides(b, a) is None
        return
    assert 0 <= frechet(there) < np.inf
    assert frechet(there) == pytest.approx(frechet(both(b, a)), rel=1e-6, abs=1e-9)
    accuracy = two_sample(there)
    assert 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1


@few
@given(SEEDS, st.floats(1e-3, 1e3), st.floats(-5, 5))
def test_rotation_scale_shift_and_dead_columns_change_nothing(seed, scale, shift):
    a, b = (features(seed + at, m=60, dim=20, shift=at).astype(np.float64) for at in (0, 1))
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(20, 20)))[0]
    expected = frechet(both(a, b))
    assert frechet(both(*(scale * x @ turn + shift for x in (a, b)))) == pytest.approx(expected, rel=1e-6)
    more = [np.hstack([x, np.zeros((60, 100)), np.full((60, 3), shift)]) for x in (a, b)]
    assert frechet(both(*more)) == pytest.approx(expected, rel=1e-6)
    assert two_sample(both(*more)).value == pytest.approx(two_sample(both(a, b)).value, abs=0.02)


def test_distance_is_that_of_the_papers_formula():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(250, 4)) @ rng.normal(size=(4, 4)), rng.normal(size=(250, 4)) + 0.5
    s, t = (np.cov(x.T, bias=True) for x in (a, b))
    root = sqrtm(s @ t).real
    expected = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2) + np.trace(s + t - 2 * root)
    assert frechet(both(a, b)) == pytest.approx(expected / np.trace(s + t), rel=1e-6)


def test_farther_pictures_are_farther_and_told_apart_better():
    found = [both(features(0), features(1, shift=shift)) for shift in (0, 0.15, 0.6, 2.5)]
    distances, accuracies = [frechet(one) for one in found], [two_sample(one).value for one in found]
    assert distances == sorted(distances)
    assert accuracies == sorted(accuracies)
    assert distances[0] < 0.15
    assert two_sample(found[0]).low < 0.5 < two_sample(found[0]).high
    assert accuracies[-1] > 0.95
    wider = [frechet(both(features(0), features(1, grow=grow))) for grow in (1, 2, 4)]
    assert wider == sorted(wider)


def test_many_columns_of_few_pictures_are_not_mistaken_for_distance():
    """Two draws of the same pictures; plain covariances of 100 pictures by 2,000 columns would say 0.3 and more."""
    found = both(*(features(seed, m=100, dim=2000) for seed in (0, 1)))
    assert frechet(found) < 0.15
    assert two_sample(found).low < 0.5 < two_sample(found).high


def test_repeated_pictures_are_not_learnt_by_heart():
    """Of 20 pictures five times each the classifier may not know in one fold what it saw in another."""
    rng = np.random.default_rng(2)
    a, b = (np.repeat(rng.normal(size=(20, 30)).astype(np.float32), 5, axis=0) for _ in range(2))
    assert two_sample(both(a, b)).low < 0.5
    assert len(both(a, b).source) == 20


def test_too_few_or_constant_rows_tell_nothing_and_widths_must_fit():
    x = features(0)
    assert sides(x[: LEAST - 1], x) is None
    assert sides(np.ones((50, 8), np.float32), np.ones((50, 8), np.float32)) is None
    with pytest.raises(ValueError, match="40 and 12"):
        sides(x, x[:, :12])


def test_the_interval_of_sides_that_do_not_differ_holds_even_odds():
    """Folds are not independent: an interval as if they were held it in 0.88 of these draws."""
    draws = [np.random.default_rng(seed).normal(size=(2, 32, 40)).astype(np.float32) for seed in range(200)]
    found = [two_sample(both(a, b), seed) for seed, (a, b) in enumerate(draws)]
    assert np.mean([one.low <= 0.5 <= one.high for one in found]) >= 0.95
