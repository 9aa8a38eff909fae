"""A head is searched once for the same pictures and folds, whichever step asks."""

import dataclasses

import numpy as np

from headstart.core import registry
from headstart.heads import cross_validation
from headstart.selection.cv_problem import CvProblem
from headstart.selection.ranking.probe_scores import judge_features


def drawn_problem(rows=90):
    folds = np.stack([np.random.default_rng(r).permutation(rows) % 3 for r in range(2)])
    y = np.arange(rows) % 3
    shared = {"n_classes": 3, "metric": "log_loss", "prefer": "accurate", "class_weight": None, "seed": 0}
    return CvProblem(rows=np.arange(rows), y=y, folds=folds, clusters=np.arange(rows), **shared)


def test_what_ranking_searched_is_not_searched_again(monkeypatch):
    searches, search = [], cross_validation.tune_head
    monkeypatch.setattr(
        cross_validation, "tune_head", lambda *args, **more: searches.append(1) or search(*args, **more)
    )
    problem, head = drawn_problem(), registry.load_plugin("heads", "ridge")
    x = np.random.default_rng(0).normal(size=(90, 8)).astype(np.float32)
    judge_features("net", x, problem, ("ridge",), depth="last")
    other_clusters = dataclasses.replace(problem, clusters=np.zeros(90, int))
    tuned, seconds = other_clusters.tune_head(head, x)
    assert len(searches) == 1
    assert seconds > 0
    fresh = search(head, x, problem.y, problem.folds[:1], n_classes=3)
    assert np.array_equal(tuned.held_out, fresh.held_out)
    assert tuned.params == fresh.params
    for changed in (
        (problem, registry.load_plugin("heads", "logistic"), x),
        (problem, head, x + 1),
        (dataclasses.replace(problem, folds=problem.folds[1:]), head, x),
        (dataclasses.replace(problem, y=problem.y[::-1]), head, x),
    ):
        count = len(searches)
        changed[0].tune_head(*changed[1:])
        assert len(searches) == count + 1
