"""Scores over repeats."""

import numpy as np
import pytest

from headstart.core import registry
from headstart.heads import cross_validation
from headstart.heads.repeated_cv import average_scores, make_difference_score
from headstart.statistics import metrics
from headstart.statistics.intervals import Interval, cross_validation_effect

Y = np.array([0, 0, 1, 1, 1])


def said(*answers):
    return np.eye(2, dtype=np.float32)[list(answers)]


def test_value_and_ends_are_means_over_the_repeats():
    one, other = said(0, 0, 1, 1, 1), said(0, 1, 1, 1, 0)
    found = average_scores("accuracy", Y, np.stack([one, other]), split="cv", n_folds=0)
    each = [metrics.compute_score("accuracy", Y, p, split="cv") for p in (one, other)]
    assert (found.value, found.n, found.split) == (pytest.approx(0.8), 5, "cv")
    assert found.low == pytest.approx(np.mean([s.low for s in each]))
    assert found.high == pytest.approx(np.mean([s.high for s in each]))


def test_what_a_repeat_did_not_judge_stays_out_with_its_cluster():
    held = said(0, 0, 1, 1, 0)
    held[4] = np.nan
    clusters = np.array([0, 1, 2, 2, 4])
    found = average_scores("accuracy", Y, held[None], split="cv", n_folds=0, clusters=clusters)
    assert found == metrics.compute_score("accuracy", Y[:4], held[:4], split="cv", clusters=clusters[:4])
    assert found.value == 1.0


def test_of_accuracies_more_is_better():
    lost = Interval(0.1, 0.05, 0.2)
    worse = make_difference_score(lost, "balanced_accuracy", split="cv", n=9)
    assert (worse.value, worse.low, worse.high, worse.n) == (-0.1, -0.2, -0.05, 9)
    assert make_difference_score(lost, "log_loss", split="cv", n=9).high == 0.2


def test_folds_widen_a_variance_by_the_pictures_that_their_models_share():
    assert [cross_validation_effect(k) for k in (0, 2, 5, 10)] == [1, 3, 2.25, pytest.approx(1 + 10 / 9)]
    y, p = np.arange(60) % 3, np.random.default_rng(0).dirichlet(np.ones(3), 60)
    for name in ("log_loss", "brier"):
        plain, wide = (metrics.compute_score(name, y, p, split="cv", n_folds=k) for k in (0, 5))
        assert wide.value == plain.value
        assert wide.high - wide.value == pytest.approx(1.5 * (plain.high - plain.value))
    plain, wide = (metrics.compute_score("accuracy", y, p, split="cv", n_folds=k) for k in (0, 5))
    assert wide.low < plain.low and plain.high < wide.high


def _draw(n, rng):
    y, x = np.arange(n) % 3, rng.normal(size=(n, 10)).astype(np.float32)
    x[np.arange(n), y] += 1.2
    return x, y


@pytest.mark.medium
def test_cross_validated_intervals_hold_the_score_of_the_model_that_is_handed_over():
    """60 pictures in five folds against 4,000 others; the variance of independent pictures is far too short."""
    head, n, rounds = registry.load_plugin("heads", "logistic"), 60, 150
    grid = [list(head.grid(n, 10, 3))[-2]]
    many_x, many_y = _draw(4_000, np.random.default_rng(99))
    hits = {(name, folds): 0 for name in ("log_loss", "brier", "accuracy", "balanced_accuracy") for folds in (0, 5)}
    for seed in range(rounds):
        x, y = _draw(n, np.random.default_rng(seed))
        held = cross_validation.predict_held_out(head, x, y, np.arange(n)[None] // 3 % 5, n_classes=3, grid=grid)[0, 0]
        every_x, every_y, rows = np.concatenate([x, many_x]), np.concatenate([y, many_y]), np.arange(n + 4_000)
        fit = {"grid": grid, "n_classes": 3, "class_weight": None, "seed": 0}
        p = cross_validation.fit_and_predict(head, every_x, every_y, rows[:n], rows[n:], **fit)[0]
        for name, folds in hits:
            truth = metrics.compute_score(name, many_y, p, split="test").value
            score = metrics.compute_score(name, y, held, split="cv", n_folds=folds)
            hits[name, folds] += score.low <= truth <= score.high
    rates = {key: count / rounds for key, count in hits.items()}
    for name in ("log_loss", "brier"):
        assert rates[name, 0] < 0.88, rates
        assert 0.93 <= rates[name, 5] <= 0.99, rates
    assert min(rates["accuracy", 5], rates["balanced_accuracy", 5]) >= 0.95 > rates["balanced_accuracy", 0], rates
