"""Nested cross-validation never sees the fold that judges, and tells luck from skill."""

import numpy as np

from headstart.core import registry
from headstart.heads import cross_validation
from headstart.heads.nested_cv import Candidate, run_nested_cv
from headstart.testing.heads import make_sample


def folds(n, k=4, seed=0):
    return (np.random.default_rng(seed).permutation(n) % k)[None]


def candidate(name, x, head="logistic"):
    made = registry.load_plugin("heads", head)
    return Candidate(name=name, x=x, head=made, grid=made.grid(*x.shape, 3), cost=1.0)


def test_nested_choice_never_sees_the_fold_that_judges():
    """Labels of the outer fold are changed: what is said of its pictures must not change."""
    on, fold = make_sample(90, apart=1.0), folds(90)[0]
    noise = np.random.default_rng(1).normal(size=on.x.shape).astype(np.float32)
    among = [candidate("signal", on.x), candidate("noise", noise), candidate("means", on.x, "nearest_mean")]
    held, chosen = run_nested_cv(among, on.y, fold, n_classes=3)
    assert len(chosen) == 4
    assert "noise" not in chosen
    other = np.where(fold == 1, (on.y + 1) % 3, on.y)
    again, _ = run_nested_cv(among, other, fold, n_classes=3)
    assert np.array_equal(held[fold == 1], again[fold == 1])
    assert not np.array_equal(held[fold == 0], again[fold == 0])


def test_nested_is_honest_where_the_search_is_not():
    """Among many candidates of pure noise the best looks better than chance; nested, it does not."""
    searched, honest, y = [], [], np.arange(60) % 3
    for seed in range(6):
        rng, fold = np.random.default_rng(seed), folds(60, k=4, seed=seed)[0]
        among = [candidate(str(i), rng.normal(size=(60, 2)).astype(np.float32), "nearest_mean") for i in range(25)]
        found = [cross_validation.tune_head(c.head, c.x, y, fold[None], n_classes=3, metric="accuracy") for c in among]
        searched.append(1 - min(each.losses.mean() for each in found))
        held, _ = run_nested_cv(among, y, fold, n_classes=3, metric="accuracy")
        honest.append((held.argmax(axis=1) == y).mean())
    assert np.mean(searched) > np.mean(honest) + 0.04
    assert np.mean(honest) < 0.36  # chance is 0.33
