"""Of two backbones in question both are judged: the best by probe and the best by prior, as far as time allows."""

import dataclasses
import io
import types

import numpy as np
import pytest
from test_recipe_search import begin as begin
from test_recipe_search import made, recipe, went

from headstart.core.console import Console
from headstart.finetuning import starting_points
from headstart.finetuning.search import finalists, recipe_search
from headstart.finetuning.starting_points import StartingPoint
from headstart.selection.successive_halving import Finalist
from judged_sets import dataset, embeddings

ONE, TWO = "made:one", "made:two"
STARTS = (Finalist(name=ONE, why="best by probe"), Finalist(name=TWO, why="best by prior"))


def on(backbone, rate, **changes):
    return recipe(rate, backbone=backbone, **changes)


def apart(setup, asked, trial, fold, on_epoch=None):
    """On the second backbone other pictures are easy: as good a rate there is a tie."""
    run = made(setup, asked, trial, fold, on_epoch)
    if asked.backbone == ONE:
        return run
    y = setup.training_set.targets[setup.training_set.held_out_positions(fold)]
    turn = np.random.default_rng([fold, 8]).permutation(len(y))
    same = [np.flatnonzero(y == c) for c in range(3)]
    order = np.arange(len(y))
    for rows in same:
        order[rows] = rows[np.argsort(turn[rows])]
    return dataclasses.replace(run, logits=run.logits[:, order])


@pytest.fixture
def two(begin, monkeypatch):
    """A search over two backbones whose words are kept."""

    def make(queue, **settings):
        found, calls = begin(queue, **settings), []

        def run(setup, asked, trial, fold, on_epoch=None):
            calls.append((trial, fold))
            return apart(setup, asked, trial, fold, on_epoch)

        monkeypatch.setattr(recipe_search, "run_fold", run)
        found.setup.recipe_space.finalists, found.calls = STARTS, calls
        object.__setattr__(found.setup.ctx, "console", Console(err=io.StringIO()))
        return found

    return make


QUEUE = [on(ONE, 0.005), on(ONE, 0.0049), on(TWO, 0.0048)]


def judged_on(found):
    tried, best, _ = went(found)
    return [one[2] for one in tried], best


def test_the_best_on_the_other_backbone_is_judged_beside_the_two_best(two):
    found = two(QUEUE)
    folds, best = judged_on(found)
    assert folds == [[0, 1, 2, 3]] * 3
    assert sorted(best) == [0, 1, 2]
    said = found.setup.ctx.console.err.getvalue()
    assert "trial 2 starts from made:two, best by prior; on the first fold it loses" in said
    assert "a tie with trial 0: it is judged beside it" in said


def test_what_the_first_fold_has_decided_is_not_judged_again(two):
    found = two([*QUEUE[:2], on(TWO, 0.0001)])
    folds, best = judged_on(found)
    assert folds == [[0, 1, 2, 3], [0, 1, 2, 3], [0]]
    assert sorted(best) == [0, 1]
    assert not found.trials[2].pruned
    assert "to trial 0: it is not judged further" in found.setup.ctx.console.err.getvalue()


def test_the_cheapest_is_tried_and_has_no_right_to_be_judged(two):
    found = two(QUEUE)
    found.setup.recipe_space.finalists = (
        Finalist(name=ONE, why="best by probe and best by prior"),
        Finalist(name=TWO, why="cheapest to train"),
    )
    assert judged_on(found)[0] == [[0, 1, 2, 3], [0, 1, 2, 3], [0]]


def test_where_time_is_short_the_two_backbones_go_on(two):
    found = two(QUEUE, left_s=2.5)
    folds, best = judged_on(found)
    assert folds == [[0, 1, 2, 3], [0], [0, 1, 2, 3]]
    assert sorted(best) == [0, 2]
    assert "trial 1 is not judged further: there is no time for it" in found.setup.ctx.console.err.getvalue()
    assert found.setup.ctx.run.find_decision("adapt/fold/1") == 2


def test_where_there_is_time_for_none_all_are_compared_on_the_first_fold(two):
    folds, best = judged_on(two(QUEUE, left_s=1.5))
    assert folds == [[0]] * 3
    assert sorted(best) == [0, 1, 2]


@pytest.mark.parametrize("cut", range(3, 9))
def test_ctrl_c_while_judging_ends_in_the_next_process_as_in_this_one(two, monkeypatch, cut):
    """Three trials on a fold, then two of them on three more."""
    found = two(QUEUE, left_s=2.5)
    plain = recipe_search.run_fold

    def run(*given):
        if len(found.calls) == cut:
            raise KeyboardInterrupt
        return plain(*given)

    monkeypatch.setattr(recipe_search, "run_fold", run)
    first = went(found)
    assert first[2]
    assert went(two(QUEUE, left_s=9.0)) == first


def test_weights_of_what_may_still_be_judged_are_kept(two):
    found = two(QUEUE)
    found.try_recipes()
    assert {a.number for a in finalists.list_possible_finalists(found.setup.recipe_space, found.trials)} == {0, 1, 2}
    assert not found.trials[2].pruned, "the first trial of the best by prior is not cut short"
    found.setup.recipe_space.finalists = ()
    assert {a.number for a in finalists.list_possible_finalists(found.setup.recipe_space, found.trials)} == {0, 1}


def advice(setup, runs):
    asked = runs[0].log.recipe
    return ("M202", dataclasses.replace(asked, dropout=asked.dropout + 0.1)) if asked.dropout < 0.15 else None


ADVISED = [on(ONE, 0.005), on(TWO, 0.0048), on(ONE, 0.0049)]


def test_a_killed_search_gives_each_its_turn_as_an_unbroken_one(two, monkeypatch):
    monkeypatch.setattr(recipe_search.diagnosis, "find_advice", advice)
    whole = went(two(ADVISED, most=5))
    for cut in range(1, 5):
        found = two(ADVISED, most=5, name=f"killed{cut}")
        plain = recipe_search.run_fold

        def run(*given, found=found, plain=plain, cut=cut):
            if len(found.calls) == cut:
                raise SystemExit
            return plain(*given)

        monkeypatch.setattr(recipe_search, "run_fold", run)
        with pytest.raises(SystemExit):
            found.try_recipes()
        assert went(two(ADVISED, most=5, name=f"killed{cut}")) == whole


def test_both_backbones_have_their_turn_before_advice_on_one_of_them(two, monkeypatch):
    found = two(ADVISED, most=5)
    monkeypatch.setattr(recipe_search.diagnosis, "find_advice", advice)
    found.try_recipes()
    told = [(a.recipe.backbone, a.origin, round(a.recipe.dropout, 1)) for a in found.trials]
    assert told[:3] == [(ONE, "prior", 0.0), (TWO, "prior", 0.0), (TWO, "M202", 0.1)]
    assert (ONE, "M202", 0.1) in told


def test_only_the_first_trial_of_a_backbone_in_question_is_not_cut_short(two):
    found = two([*QUEUE, on(TWO, 0.0001)], most=4)
    found.try_recipes()
    assert [a.pruned for a in found.trials] == [False, False, False, True]
    found = two(QUEUE, name="other")
    found.setup.recipe_space.finalists = STARTS[:1]
    found.try_recipes()
    assert [a.pruned for a in found.trials] == [False, False, True]


# ---------------------------------------------------------------- where networks start


def test_networks_start_from_the_best_by_probe_the_best_by_prior_and_the_cheapest(context):
    data, ctx = dataset(60), context(strategy="auto")
    ctx.console = Console(err=io.StringIO())
    known = [
        ("made:cheap", 0.6, 1, 0.5),
        ("made:fit", 0.7, 3, 0.2),
        ("made:famous", 0.9, 5, 0.4),
        ("made:no", 0.5, 4, 0.3),
    ]
    seen = tuple(embeddings(data, name, {"last": 1.0}, prior=prior, flops=flops) for name, prior, flops, _ in known)
    features = (types.SimpleNamespace(depth="last"),)
    heads = [
        StartingPoint(backbone=name, features=features, params={}, pictures=60, loss=loss) for name, *_, loss in known
    ]
    order = sorted(heads, key=lambda base: base.loss)
    rows = [types.SimpleNamespace(backbone=base.backbone, status="tied") for base in order]
    rows.insert(0, types.SimpleNamespace(backbone="made:no", status="control"))
    ranking = types.SimpleNamespace(rows=[*rows, types.SimpleNamespace(backbone="made:fit", status="beaten")])
    found = starting_points.choose_backbones(ranking, heads, seen, ctx)
    assert [(one.name, one.why) for one in found] == [
        ("made:fit", "best by probe"),
        ("made:famous", "best by prior"),
        ("made:cheap", "cheapest to train"),
    ]
    assert ctx.console.err.getvalue().split(None, 1)[1] == (
        "fine-tuning starts from made:fit (best by probe), made:famous (best by prior), "
        "made:cheap (cheapest to train); the cheaper first, so that something is there soon\n"
    )
    only = starting_points.choose_backbones(ranking, heads[:1], seen[:1], context(name="one"))
    assert [one.name for one in only] == ["made:cheap"]
