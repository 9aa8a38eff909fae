"""Ridge that starts from weights: the multiple is the one of least left-out error, and a start that lies gets none."""

import numpy as np
import pytest

from headstart.core import registry
from headstart.heads.classifiers.ridge import Ridge, _Problem, _trusted_multiple
from headstart.heads.design_matrix import FROM_NAMES_SUFFIX, row_weights
from headstart.testing import heads as suite

RIDGE = registry.load_plugin("heads", "ridge")


class Started:
    """Ridge with a start that is drawn for the shape at hand, so that the suite can be run."""

    name, cannot, grid = "ridge" + FROM_NAMES_SUFFIX, {}, staticmethod(RIDGE.grid)

    def path(self, x, y, *, n_classes, **more):
        start = np.random.default_rng([x.shape[1], n_classes]).normal(size=(x.shape[1], n_classes))
        return RIDGE.starting(start.astype(np.float32)).path(x, y, n_classes=n_classes, **more)


def truth(dim=40, classes=4, seed=0):
    """Features and labels of a linear rule, and the rule's weights."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(dim, classes))
    x = (rng.normal(size=(400, dim)) * rng.uniform(0.5, 5, dim)).astype(np.float32)
    weights /= x.std(axis=0)[:, None]
    return x, (x @ weights).argmax(axis=1), weights.astype(np.float32)


def few(y, count):
    return np.sort(np.concatenate([np.flatnonzero(y == c)[:count] for c in range(y.max() + 1)]))


def made(head, x, y, strength=1.0, **more):
    shared = {"n_classes": int(y.max()) + 1, "class_weight": None, "seed": 0, **more}
    return next(iter(head.path(x, y, params=[{"strength": strength}], **shared)))


@pytest.mark.parametrize(
    "check", [c for c in suite.CHECKS if c is not suite.check_scale], ids=lambda c: c.__name__
)  # a start is in the units of the columns
def test_conformance(check):
    check(Started())


@pytest.mark.parametrize("dim", [12, 80])
@pytest.mark.parametrize("weighted", [False, True])
def test_left_out_errors_with_a_start_are_those_of_fitting_without_the_row(dim, weighted):
    x, y, start = truth(dim, 3)
    x, y = x[:40], y[:40]
    classes = np.array([1.0, 3.0, 0.5]) if weighted else None
    problem, strength = _Problem(x, y, row_weights(y, classes), start), 0.7
    shrunk = problem.covariance.shrink(1.0, strength)
    said = problem.start_values / np.sqrt(problem.share)[:, None]
    of_start = problem._leave_one_out_errors(
        said, shrunk.regress(problem.start_values), shrunk.compute_leverages(problem.rows)
    )
    z = (x - problem.moments.centre) * problem.moments.inverse
    for i in (0, 7, 39):
        rest = np.arange(40) != i
        w = problem.weight[rest]
        mean = w @ z[rest] / w.sum()
        a, u = z[rest] - mean, z @ problem.start
        target = u[rest] - w @ u[rest] / w.sum()
        found = np.linalg.solve(a.T @ (w[:, None] * a) + 40 * strength * np.eye(dim), a.T @ (w[:, None] * target))
        assert of_start[i] == pytest.approx(u[i] - w @ u[rest] / w.sum() - (z[i] - mean) @ found, abs=1e-6)


def test_the_multiple_has_the_least_error_but_for_its_shrinking():
    rng = np.random.default_rng(3)
    of_start = rng.normal(size=(4000, 3))
    residual = 0.5 * of_start + 0.1 * rng.normal(size=(4000, 3))
    assert _trusted_multiple(of_start, of_start, residual) == pytest.approx(0.5, abs=0.005)
    assert _trusted_multiple(of_start, of_start, -residual) == 0.0
    assert _trusted_multiple(0 * of_start, 0 * of_start, residual) == 0.0


def test_a_start_of_noise_is_hardly_ever_trusted():
    rng = np.random.default_rng(0)
    found = [_trusted_multiple(a, a, rng.normal(size=(30, 3))) > 0 for a in rng.normal(size=(400, 30, 3))]
    assert 0 < np.mean(found) < 0.05  # 2.5 % by the interval


def test_a_true_start_needs_fewer_labels():
    x, y, start = truth()
    learnt = few(y, 3)
    judged = np.setdiff1d(np.arange(len(y)), learnt)
    plain, started = (
        np.mean(suite.predict_probabilities(made(head, x[learnt], y[learnt]), x[judged]).argmax(axis=1) == y[judged])
        for head in (RIDGE, RIDGE.starting(start))
    )
    assert started > plain + 0.25


@pytest.mark.parametrize("lie", ["opposite", "zero", "nothing varies"])
def test_a_start_that_lies_leaves_plain_ridge_bit_for_bit(lie):
    x, y, start = truth()
    learnt = few(y, 4)
    start = {"opposite": -start, "zero": 0 * start, "nothing varies": start}[lie]
    x = np.full_like(x, 3.0) if lie == "nothing varies" else x
    plain, started = (made(head, x[learnt], y[learnt]) for head in (RIDGE, RIDGE.starting(start)))
    assert all(np.array_equal(plain.arrays[name], started.arrays[name]) for name in plain.arrays)
    assert started.head == "ridge_from_names"


def test_the_size_of_the_start_does_not_matter_and_plain_ridge_stays_plain():
    x, y, start = truth()
    learnt = few(y, 3)
    one, other = (made(RIDGE.starting(start * size), x[learnt], y[learnt]) for size in (1.0, 1e4))
    assert np.allclose(suite.predict_probabilities(one, x), suite.predict_probabilities(other, x), atol=1e-5)
    assert RIDGE.name == "ridge" and RIDGE.start is None and isinstance(RIDGE.starting(start), Ridge)


def test_with_one_picture_a_class_answers_are_neither_sure_nor_all_alike():
    x, y, classes = suite.make_sample(apart=7.0)
    learnt = few(y, 1)
    start = np.stack([x[y == c].mean(axis=0) / x.std(axis=0) ** 2 for c in range(classes)], axis=1)
    for head in (RIDGE, RIDGE.starting(start)):
        p = suite.predict_probabilities(made(head, x[learnt], y[learnt]), x)
        assert 0.4 < p.max(axis=1).mean() < 0.9  # of three classes
        assert -np.log(p[np.arange(len(y)), y]).mean() < np.log(classes) - 0.3
