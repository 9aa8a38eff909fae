import numpy as np
import pytest

from headstart.selection.forecast import bayesian_regression


def cases(seed, n, true=(0.7, -0.4), noise=0.5):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, 2))
    return x, x @ np.array(true) + noise * draw.normal(size=n), np.full(n, noise)


def test_it_is_the_ridge_solution():
    x, y, noise = cases(0, 700)  # more than one block
    known = bayesian_regression.learn(bayesian_regression.start(np.zeros(2), np.full(2, 0.8)), x, y, noise)
    precision = x.T @ x / 0.25 + np.eye(2) / 0.64
    np.testing.assert_allclose(known.mean, np.linalg.solve(precision, x.T @ y / 0.25), atol=1e-10)
    np.testing.assert_allclose(known.cov, np.linalg.inv(precision), atol=1e-10)


def test_without_cases_it_is_what_was_believed():
    first = bayesian_regression.start(np.array([1.0, 2.0]), np.array([0.5, 0.1]))
    known = bayesian_regression.learn(first, np.empty((0, 2)), np.empty(0), np.empty(0))
    assert bayesian_regression.told(known, np.array([1.0, 1.0])) == pytest.approx((3.0, np.hypot(0.5, 0.1)))


def test_a_coefficient_is_held_and_those_that_hang_on_it_follow():
    x, y, noise = cases(1, 40, true=(-0.5, 0.3))
    known = bayesian_regression.learn(bayesian_regression.start(np.zeros(2), np.ones(2)), x, y, noise)
    kept = bayesian_regression.held(known, 0, 0.05)
    assert kept.mean[0] == pytest.approx(0.05)
    assert kept.cov[0] == pytest.approx([0, 0], abs=1e-12)
    residual = y - 0.05 * x[:, 0]  # the other one is what it would be had 0.05 been known
    alone = residual @ x[:, 1] / 0.25 / (x[:, 1] @ x[:, 1] / 0.25 + 1)
    assert kept.mean[1] == pytest.approx(alone)
    assert bayesian_regression.held(known, 1, -5.0) is known


def test_misses_are_of_the_cases_before_alone():
    x, y, noise = cases(2, 30)
    first = bayesian_regression.start(np.zeros(2), np.ones(2))
    found = bayesian_regression.misses(first, x, y, noise)
    known = bayesian_regression.learn(first, x[:17], y[:17], noise[:17])
    mean, sd = bayesian_regression.told(known, x[17])
    assert found[17] == pytest.approx((y[17] - mean) / np.hypot(sd, 0.5))


def test_few_misses_scale_the_gaussian_and_many_give_their_own_quantile():
    assert bayesian_regression.width(np.empty(0)) == pytest.approx(1.959964)
    assert bayesian_regression.width(np.zeros(5)) < 1.959964 < bayesian_regression.width(np.full(5, 2.0))
    many = np.linspace(-3, 3, 99)
    assert bayesian_regression.width(many) == np.sort(np.abs(many))[94]  # the 95th of 99: ceil(100 * 0.95)
    assert bayesian_regression.width(np.zeros(99)) > 0.9  # luck narrows it no further than to a half


@pytest.mark.parametrize(("scale", "n"), [(0.6, 60), (1.0, 60), (2.0, 60), (2.0, 15)])
def test_the_width_holds_its_part_of_what_comes_next(scale, n):
    draw = np.random.default_rng(3)
    hits = [abs(scale * draw.normal()) <= bayesian_regression.width(scale * draw.normal(size=n)) for _ in range(2000)]
    least = 0.94 if n >= bayesian_regression.ENOUGH else 0.85  # assumed misses hold a few real ones back
    assert np.mean(hits) >= least
