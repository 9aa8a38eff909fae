"""Cross-validation: a picture is never judged by a head that saw it, results are equal bit for bit, -1 is out."""

import numpy as np
import pytest

from headstart.core import registry
from headstart.core.types import FittedHead
from headstart.heads import cross_validation, softmax_regression
from headstart.heads.ensemble import Ensemble
from headstart.statistics.losses import log_losses
from headstart.testing.heads import make_sample, shape_targets


class Memory:
    """A head that answers class 1 for exactly the rows that it has seen, and else class 0."""

    name = "memory"
    cannot = {}  # noqa: RUF012

    def grid(self, n_train, dim, n_classes):
        return ({"k": 1},)

    def path(self, x, y, *, n_classes, params, class_weight, seed):
        for each in params:
            weights = np.zeros((x.shape[1], n_classes), np.float32)
            seen = x.any(axis=0)  # columns are one-hot rows here
            weights[seen, 1], weights[~seen, 0] = 100, 100
            arrays = {"weights": weights, "bias": np.zeros(n_classes, np.float32)}
            yield FittedHead(head="memory", kind="linear", params=each, arrays=arrays, trainable_params=1)


def logistic():
    return registry.load_plugin("heads", "logistic")


def folds(n, repeats=1, k=4, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(n) % k for _ in range(repeats)])


def test_no_picture_is_judged_by_a_head_that_saw_it():
    x, y = np.eye(24, dtype=np.float32), np.arange(24) % 2
    held = cross_validation.predict_held_out(Memory(), x, y, folds(24, 3), n_classes=2, grid=[{"k": 1}])
    assert held.shape == (1, 3, 24, 2)
    assert (held.argmax(axis=-1) == 0).all()


def test_a_picture_outside_the_folds_is_neither_learnt_nor_judged():
    on, fold = make_sample(80), folds(80)
    fold[0, :20] = -1
    held = cross_validation.predict_held_out(logistic(), on.x, on.y, fold, n_classes=3, grid=[{"strength": 0.1}])
    assert np.isnan(held[0, 0, :20]).all()
    rest = cross_validation.predict_held_out(
        logistic(), on.x[20:], on.y[20:], fold[:, 20:], n_classes=3, grid=[{"strength": 0.1}]
    )
    assert np.array_equal(held[:, :, 20:], rest)


def test_every_core_count_gives_the_same_bits(monkeypatch):
    on, fold, found = make_sample(150, 60), folds(150, 2), []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("HEADSTART_THREADS", threads)
        grid = logistic().grid(150, 60, 3)
        found.append(cross_validation.predict_held_out(logistic(), on.x, on.y, fold, n_classes=3, grid=grid))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize("name", registry.list_plugins("heads"))
def test_held_out_probabilities_are_those_of_a_head_fitted_by_hand(name):
    on, fold, head = make_sample(60), folds(60), registry.load_plugin("heads", name)
    grid, y = head.grid(60, 12, 3), shape_targets(head, on.y, 3)
    held = cross_validation.predict_held_out(head, on.x, y, fold, n_classes=3, grid=grid)
    judged = fold[0] == 2
    made = head.path(on.x[~judged], y[~judged], n_classes=3, params=grid, class_weight=None, seed=0)
    from headstart.testing.heads import predict_probabilities

    for at, one in enumerate(made):
        assert np.allclose(held[at, 0, judged], predict_probabilities(one, on.x[judged]), atol=1e-5)


def test_the_search_looks_at_the_first_repeat_alone_and_keeps_its_best():
    on, fold = make_sample(120, apart=1.5), folds(120, 3)
    found = cross_validation.tune_head(logistic(), on.x, on.y, fold, n_classes=3)
    grid = logistic().grid(120, 12, 3)
    first = cross_validation.predict_held_out(logistic(), on.x, on.y, fold[:1], n_classes=3, grid=grid)
    means = [log_losses(on.y, p[0]).mean() for p in first]
    tried = np.isfinite(found.grid_losses)
    assert tried.sum() >= 3
    assert np.abs(np.subtract(found.grid_losses, means)[tried]).max() < 1e-3  # those of exact heads
    assert found.params == grid[int(np.argmin(means))]
    assert found.held_out.shape == (3, 120, 3)
    assert found.losses == pytest.approx(np.mean([log_losses(on.y, p) for p in found.held_out], axis=0))


def test_large_sets_are_searched_fold_by_fold_to_the_same_setting(monkeypatch):
    on, fold = make_sample(120, apart=1.5), folds(120)
    in_step = cross_validation.tune_head(logistic(), on.x, on.y, fold, n_classes=3)
    monkeypatch.setattr(cross_validation, "_BYTES_IN_STEP", 0)
    by_fold = cross_validation.tune_head(logistic(), on.x, on.y, fold, n_classes=3)
    assert by_fold.params == in_step.params
    assert np.allclose(by_fold.held_out, in_step.held_out, atol=5e-3)
    assert np.nanmax(np.abs(np.subtract(by_fold.grid_losses, in_step.grid_losses))) < 1e-3


class Bowl(Memory):
    """A head whose loss is least at one setting of its grid and rises on both sides."""

    def __init__(self, best, at_once=False):
        self.best, self.at_once, self.fitted = best, at_once, []

    def grid(self, n_train, dim, n_classes):
        return [{"strength": float(at)} for at in range(7)]

    def path(self, x, y, *, n_classes, params, class_weight, seed):
        for each in list(params) if self.at_once else params:
            self.fitted.append(int(each["strength"]))
            bias = np.array([0, abs(each["strength"] - self.best)], np.float32)
            arrays = {"weights": np.zeros((x.shape[1], n_classes), np.float32), "bias": bias}
            yield FittedHead(head="memory", kind="linear", params=each, arrays=arrays, trainable_params=1)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("columns", [3, 60])
@pytest.mark.parametrize(("best", "narrow", "wide"), [(0, 5, 3), (2, 4, 3), (3, 3, 4), (6, 4, 6)])
def test_a_search_goes_from_the_middle_to_the_best_and_stops_beside_it(best, narrow, wide, columns, at_once):
    x, y, head = np.ones((24, columns), np.float32), np.zeros(24, int), Bowl(best, at_once)
    tuned = cross_validation.tune_head(head, x, y, folds(24), n_classes=2)
    assert tuned.params == {"strength": best}
    tried = np.flatnonzero(np.isfinite(tuned.grid_losses))
    assert {max(best - 1, 0), best, min(best + 1, 6)} <= set(tried)
    assert len(tried) == (narrow if columns == 3 else wide)
    assert len(head.fitted) == 4 * len(tried)  # once in each fold


def test_heads_are_solved_loosely_where_they_are_judged_alone(monkeypatch):
    steps, take = [], softmax_regression._lbfgs_direction
    monkeypatch.setattr(softmax_regression, "_lbfgs_direction", lambda *args: steps.append(1) or take(*args))
    on, fold, setting = make_sample(300, 60, apart=2.0), folds(300), {"strength": 0.02}
    shared = {"n_classes": 3, "grid": [setting]}
    exact = cross_validation.predict_held_out(logistic(), on.x, on.y, fold, **shared)[0, 0]
    exact_steps = len(steps)
    judged = cross_validation.tune_head(logistic(), on.x, on.y, fold, **shared)
    assert len(steps) - exact_steps < 0.7 * exact_steps
    gap = judged.losses - log_losses(on.y, exact)
    assert abs(gap.mean()) < 5e-4
    members = [{"head": "logistic", "columns": [[0, 60]], "share": 1.0, "params": setting, "name": "logistic"}]
    pool = cross_validation.loosen_head(Ensemble())
    answers = cross_validation.predict_held_out(pool, on.x, on.y, fold, n_classes=3, grid=[{"members": members}])
    assert np.allclose(answers[0], judged.held_out, atol=1e-5)


def test_one_fold_is_refused():
    on = make_sample(12)
    with pytest.raises(ValueError, match="needs two"):
        cross_validation.predict_held_out(
            logistic(), on.x, on.y, np.zeros((1, 12), int), n_classes=3, grid=[{"strength": 1.0}]
        )


def test_a_head_that_fails_is_not_swallowed():
    class Broken(Memory):
        def path(self, *args, **kwargs):
            raise RuntimeError("broken on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        cross_validation.predict_held_out(
            Broken(), np.eye(8, dtype=np.float32), np.arange(8) % 2, folds(8), n_classes=2, grid=[{}]
        )


def test_a_subset_keeps_shares_and_rare_classes():
    y = np.repeat([0, 1, 2], [9_000, 990, 10])
    rows = cross_validation.draw_stratified(y, 1_000, seed=0)
    assert len(rows) == 1_000
    assert np.bincount(y[rows]).tolist() == [900, 99, 1]
    assert (np.diff(rows) > 0).all()
    assert np.array_equal(rows, cross_validation.draw_stratified(y, 1_000, seed=0))
    assert not np.array_equal(rows, cross_validation.draw_stratified(y, 1_000, seed=1))
    assert len(cross_validation.draw_stratified(np.arange(50) % 7, 10, seed=0)) == 10
    with pytest.raises(ValueError, match="7 classes"):
        cross_validation.draw_stratified(np.arange(50) % 7, 6, seed=0)


def test_balanced_weights_give_each_present_class_the_same_sum():
    y = np.repeat([0, 2], [90, 10])
    weights = cross_validation.balanced_class_weights(y, 4)
    assert weights[0] * 90 == pytest.approx(weights[2] * 10)
    assert weights[y].mean() == pytest.approx(1.0)
