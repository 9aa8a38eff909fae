"""Distances that tell the foreign from the known, in bounded memory, by numpy alone."""

import warnings

import numpy as np
import pytest

from headstart.uncertainty import ood_detection


def drawn(n, dim, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    centres = np.random.default_rng(99).normal(size=(3, dim)) * 3
    scales = np.linspace(0.1, 10, dim)
    return ((centres[y] + rng.normal(size=(n, dim)) + shift) * scales).astype(np.float32), y


@pytest.mark.parametrize("method", ood_detection.METHODS)
@pytest.mark.parametrize("dim", [6, 300])
def test_what_is_shifted_lies_further_away(method, dim):
    x, y = drawn(300, dim)
    arrays, k = ood_detection.fit_references(x, y, method)
    known, foreign = drawn(200, dim, seed=1)[0], drawn(200, dim, seed=2, shift=6.0)[0]
    near, far = ood_detection.compute_distances(arrays, k, known), ood_detection.compute_distances(arrays, k, foreign)
    assert np.quantile(far, 0.05) > np.quantile(near, 0.95)
    assert np.isfinite(near).all()


def test_nearest_is_the_distance_of_the_fifth_nearest():
    x, y = drawn(40, 4)
    arrays, k = ood_detection.fit_references(x, y, "nearest")
    asked = drawn(7, 4, seed=5)[0]
    z, q = (x - x.mean(0)) / x.std(0), (asked - x.mean(0)) / x.std(0)
    wanted = np.sort(np.linalg.norm(q[:, None] - z[None], axis=2), axis=1)[:, 4]
    np.testing.assert_allclose(ood_detection.compute_distances(arrays, k, asked), wanted, rtol=1e-4)


@pytest.mark.parametrize("method", ood_detection.METHODS)
def test_units_do_not_matter(method):
    x, y = drawn(300, 5)
    asked, units = drawn(50, 5, seed=3)[0], np.array([1e-3, 1, 7, 50, 1e4], np.float32)
    one, other = ood_detection.fit_references(x, y, method), ood_detection.fit_references(x * units, y, method)
    near, scaled = ood_detection.compute_distances(*one, asked), ood_detection.compute_distances(*other, asked * units)
    np.testing.assert_allclose(near, scaled, rtol=1e-3)


def test_mahalanobis_looks_where_classes_are_narrow():
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    wide = rng.normal(size=400)
    x = np.stack([wide, wide + 0.05 * rng.normal(size=400) + 3 * y], axis=1).astype(np.float32)
    arrays, k = ood_detection.fit_references(x, y, "mahalanobis")
    along, across = x.mean(axis=0) + np.array([[1.0, 1.0 - 1.5], [0.0, 0.7 - 1.5]])
    assert ood_detection.compute_distances(arrays, k, across[None]) > 2 * ood_detection.compute_distances(
        arrays, k, along[None]
    )


def test_what_lies_outside_all_known_directions_counts():
    rng = np.random.default_rng(0)
    x = np.zeros((60, 600), np.float32)
    x[:, :300] = rng.normal(size=(60, 300))
    x += rng.normal(size=x.shape).astype(np.float32) * 1e-3
    arrays, k = ood_detection.fit_references(x, np.zeros(60, int), "nearest")
    inside, outside = x[:5].copy(), x[:5].copy()
    outside[:, 300:] += 0.1  # a hundred times what these columns ever show
    assert (
        ood_detection.compute_distances(arrays, k, outside) > 5 * ood_detection.compute_distances(arrays, k, inside)
    ).all()


def test_memory_is_bounded_and_batches_do_not_matter():
    x, y = drawn(ood_detection.MOST, 1500)
    arrays, k = ood_detection.fit_references(x, y, "nearest")
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    assert sum(array.nbytes for array in arrays.values()) < 4.5e6
    whole = ood_detection.compute_distances(arrays, k, x[:64])
    np.testing.assert_array_equal(
        ood_detection.compute_distances(ood_detection.prepare_arrays(arrays), k, x[:64]), whole
    )
    np.testing.assert_allclose(
        [ood_detection.compute_distances(arrays, k, one[None])[0] for one in x[:64]], whole, rtol=1e-9
    )


def test_constant_features_and_equal_pictures_are_no_trouble():
    x = np.ones((20, 8), np.float32)
    for method in ood_detection.METHODS:
        arrays, k = ood_detection.fit_references(x, np.arange(20) % 2, method)
        assert np.isfinite(ood_detection.compute_distances(arrays, k, np.vstack([x[:1], x[:1] * 3]))).all()


@pytest.mark.parametrize("shape", [(300, 5), (40, 60), (2, 3), (1, 4), (30, 1)])
def test_the_covariance_is_shrunk_as_scikit_learn_shrinks_it(shape):
    from sklearn.covariance import ledoit_wolf

    rng = np.random.default_rng(0)
    rows = rng.normal(size=shape) * rng.uniform(0.1, 5, shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn doubts a single row
        wanted, _ = ledoit_wolf(rows, assume_centered=True)
    assert ood_detection.estimate_covariance(rows) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert not ood_detection.estimate_covariance(np.zeros(shape)).any()
