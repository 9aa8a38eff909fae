"""What trainings share: of many pictures the network is held against the probe only where the probe answered."""

import types

import numpy as np
import pytest

from headstart.core.recipe import Recipe
from headstart.finetuning.search import trial_comparison
from headstart.finetuning.search.recipe_search import RecipeTrial
from headstart.finetuning.search.training_setup import Workbench
from headstart.selection.probe import head_selection
from judged_sets import dataset, splits

MOST = 90


@pytest.fixture
def bench(context, monkeypatch):
    """180 training pictures, of which heads were compared on 90."""
    monkeypatch.setattr(head_selection, "MOST", MOST)
    data = dataset()
    split, ctx = splits(data, folds=4), context(seed=3)
    on = head_selection.make_cv_problem(data, split, ctx)
    p = np.random.default_rng(0).dirichlet(np.ones(3), len(on.rows))
    p[:, 0] = on.rows  # so that it can be told whose answer it is
    shuffled = np.random.default_rng(1).permutation(len(on.rows))
    probe = types.SimpleNamespace(cv_rows=on.rows[shuffled], cv_probabilities=p[shuffled])
    return Workbench(data=data, splits=split, embeddings=(), bases=[], probe=probe, on=on, ctx=ctx)


def test_folds_are_those_of_the_pictures_that_judged_the_probe(bench):
    rows, fold = bench.rows, np.asarray(bench.splits.folds)[0]
    assert len(rows) == 180 and len(bench.everything) == 180
    held = [rows[bench.held_out(k)] for k in bench.fold_numbers]
    assert bench.fold_numbers == [0, 1, 2, 3]
    np.testing.assert_array_equal(np.sort(np.concatenate(held)), np.sort(bench.on.rows))
    for k, own in zip(bench.fold_numbers, held, strict=True):
        assert (fold[own] == k).all()
        learnt = rows[bench.learnt(k)]
        np.testing.assert_array_equal(np.sort(np.concatenate([own, learnt])), np.sort(bench.on.rows))
        np.testing.assert_array_equal(bench.probe_of(own)[:, 0], own)


def test_the_probe_is_never_asked_for_what_it_did_not_answer(bench):
    missing = np.setdiff1d(bench.rows, bench.on.rows)
    with pytest.raises(ValueError, match="the frozen probe was judged by"):
        bench.probe_of(missing[:1])
    with pytest.raises(ValueError, match="2 rows"):
        bench.probe_of(np.append(bench.on.rows[:1], missing[-1]))


def test_finalists_and_probe_meet_picture_by_picture(bench):
    """In whatever order each was judged: a network that answers as the probe does is apart from it by nothing."""
    data, rows = bench.data, bench.on.rows
    right = np.eye(3)[np.asarray(data.targets)[rows]] * 0.7 + 0.1
    bench.probe.cv_rows, bench.probe.cv_probabilities = rows, right
    bench.price = types.SimpleNamespace(probe_flops=1.0, answering_flops=lambda recipe: 2.0)
    order = np.random.default_rng(2).permutation(len(rows))[:60]
    judged = types.SimpleNamespace(rows=rows[order], probabilities=right[order])
    found = trial_comparison.picked(bench, [RecipeTrial(number=0, recipe=Recipe(), origin="prior", judged=judged)])
    assert found.winner == trial_comparison.PROBE
    assert found.paired["fine-tuned (trial 0)"].value == 0
