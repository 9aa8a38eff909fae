"""What trainings share: of many pictures the network is held against the probe only where the probe answered."""

import dataclasses
import types

import numpy as np
import pytest

from headstart.core.recipe import Recipe
from headstart.finetuning import probe_comparison
from headstart.finetuning.search.recipe_trial import RecipeTrial
from headstart.finetuning.search.training_setup import make_training_setup
from headstart.selection.probe import head_selection
from headstart.statistics.intervals import Interval
from headstart.statistics.paired_selection import PairedChoice
from judged_sets import dataset, splits
from tuned_samples import network

MOST = 90


@pytest.fixture
def setup(context, monkeypatch):
    """180 training pictures, of which heads were compared on 90."""
    monkeypatch.setattr(head_selection, "MOST", MOST)
    data = dataset()
    split, ctx = splits(data, folds=4), context(seed=3)
    on = head_selection.make_training_problem(data, split, ctx)
    p = np.random.default_rng(0).dirichlet(np.ones(3), len(on.rows))
    p[:, 0] = on.rows  # so that it can be told whose answer it is
    shuffled = np.random.default_rng(1).permutation(len(on.rows))
    probe = types.SimpleNamespace(cv_rows=on.rows[shuffled], cv_probabilities=p[shuffled])
    return make_training_setup(data, split, (), [], probe, on, ctx=ctx)


def test_folds_are_those_of_the_pictures_that_judged_the_probe(setup):
    rows, fold = setup.training_set.rows, np.asarray(setup.training_set.splits.folds)[0]
    assert len(rows) == 180 and len(setup.training_set.positions) == 180
    held = [rows[setup.training_set.held_out_positions(k)] for k in setup.training_set.fold_numbers]
    assert setup.training_set.fold_numbers == [0, 1, 2, 3]
    np.testing.assert_array_equal(np.sort(np.concatenate(held)), np.sort(setup.training_set.problem.rows))
    for k, own in zip(setup.training_set.fold_numbers, held, strict=True):
        assert (fold[own] == k).all()
        learnt = rows[setup.training_set.training_positions(k)]
        np.testing.assert_array_equal(np.sort(np.concatenate([own, learnt])), np.sort(setup.training_set.problem.rows))
        np.testing.assert_array_equal(setup.training_set.probe_probabilities(own)[:, 0], own)


def test_the_probe_is_never_asked_for_what_it_did_not_answer(setup):
    missing = np.setdiff1d(setup.training_set.rows, setup.training_set.problem.rows)
    with pytest.raises(ValueError, match="the frozen probe was judged by"):
        setup.training_set.probe_probabilities(missing[:1])
    with pytest.raises(ValueError, match="2 rows"):
        setup.training_set.probe_probabilities(np.append(setup.training_set.problem.rows[:1], missing[-1]))


def test_finalists_and_probe_meet_picture_by_picture(setup):
    """In whatever order each was judged: a network that answers as the probe does is apart from it by nothing."""
    data, rows = setup.training_set.data, setup.training_set.problem.rows
    right = np.eye(3)[np.asarray(data.targets)[rows]] * 0.7 + 0.1
    setup.training_set.probe.cv_rows, setup.training_set.probe.cv_probabilities = rows, right
    cost = types.SimpleNamespace(probe_flops=1.0, inference_flops=lambda recipe: 2.0)
    order = np.random.default_rng(2).permutation(len(rows))[:60]
    judged = types.SimpleNamespace(rows=rows[order], probabilities=right[order])
    found = probe_comparison.compare_with_probe(
        setup.training_set, cost, [RecipeTrial(number=0, recipe=Recipe(), origin="prior", verdict=judged)]
    )
    assert found.winner == probe_comparison.PROBE
    assert found.paired["fine-tuned (trial 0)"].value == 0


def test_a_network_of_which_nothing_was_trained_is_no_choice_of_auto_and_is_called_what_it_is():
    name = "fine-tuned (trial 0)"
    paired = {probe_comparison.PROBE: Interval(0.2, 0.1, 0.3), name: Interval(0.0, 0.0, 0.0)}
    choice = PairedChoice(winner=name, why="it won", best=name, ties=(), paired=paired)
    trained, untrained = network(), dataclasses.replace(network(), alpha=0.0)
    assert probe_comparison.hands_over_network(choice, trained, "auto")
    assert not probe_comparison.hands_over_network(choice, untrained, "auto")
    assert probe_comparison.hands_over_network(choice, untrained, "finetune")  # no work of the user is lost
    assert probe_comparison.format_reason(choice, trained, True, "finetune") == "it won"
    nothing = "nothing of the training was kept: the network has its first weights and answers as the frozen probe does"
    why = probe_comparison.format_reason(choice, untrained, True, "finetune")
    assert why.startswith(nothing) and why.endswith("it is handed over as `--strategy finetune` asks")
    scratch = dataclasses.replace(untrained, recipe=Recipe(strategy="scratch", start="random"))
    assert "answers by random weights" in probe_comparison.format_reason(choice, scratch, True, "scratch")
