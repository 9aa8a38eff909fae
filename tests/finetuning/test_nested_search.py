"""Nested validation: what each outer fold begins with, and who answers for the pictures that it held out."""

import types

import numpy as np
import pytest

from headstart.core.recipe import Recipe
from headstart.finetuning import final_training, nested_search, starting_points
from headstart.finetuning.search import trial_comparison
from headstart.finetuning.search.recipe_search import RecipeTrial
from headstart.finetuning.search.training_setup import Workbench
from headstart.selection.probe import head_selection
from judged_sets import dataset, splits

NETWORK, RATES = np.array([0.1, 0.1, 0.8]), {"prior": 0.1, "M201": 0.2, "search": 0.3}


@pytest.fixture
def made(context, monkeypatch):
    """A function: the nested predictions where the network is taken or not, and the searches that were begun."""
    begun, told = [], []

    class Search:
        def __init__(self, *, bench, queue, most, **named):
            begun.append((bench, queue, most))

        def run(self):
            pass

        def judge(self):
            return [
                RecipeTrial(number=0, recipe=Recipe(), origin="prior", judged=types.SimpleNamespace(temperature=1.0))
            ]

    monkeypatch.setattr(nested_search, "Search", Search)
    monkeypatch.setattr(starting_points, "bases", lambda *named: [])
    network = types.SimpleNamespace(set=lambda weights: None)
    job = types.SimpleNamespace(network=network, recipe=Recipe(), source=types.SimpleNamespace(held=lambda at: at))
    monkeypatch.setattr(final_training, "trained", lambda inner, best: (job, {}, None))
    monkeypatch.setattr(final_training, "temperature", lambda best, log: 1.0)
    monkeypatch.setattr(nested_search.trainer, "predict", lambda network, at: np.tile(np.log(NETWORK), (len(at), 1)))
    real = nested_search.metrics.scores
    monkeypatch.setattr(nested_search.metrics, "scores", lambda y, p, **named: told.append(p) or real(y, p, **named))

    def make(taken):
        monkeypatch.setattr(trial_comparison, "settled", lambda inner, best: (None, best[0], taken))
        data, ctx = dataset(), context(name=f"taken {taken}")
        split = splits(data, repeats=1)
        probe = types.SimpleNamespace(
            cv_rows=split.train, cv_probabilities=np.random.default_rng(0).dirichlet(np.ones(3), len(split.train))
        )
        on = head_selection.ring(data, split, ctx)
        bench = Workbench(data=data, splits=split, embeddings=(), bases=[], probe=probe, on=on, ctx=ctx)
        monkeypatch.setattr(Workbench, "prepare", lambda self, recipe, learnt: job)
        attempts = [
            RecipeTrial(number=at, recipe=Recipe(rate=rate), origin=origin)
            for at, (origin, rate) in enumerate(RATES.items())
        ]
        search = types.SimpleNamespace(attempts=attempts, interrupted=False, clock=None, strategy="auto")
        nested_search.nested(bench, search, None, ())
        return bench, told[-1], begun

    return make


def test_where_the_rule_keeps_the_probe_the_probe_answers(made):
    bench, p, _ = made(taken=False)
    rows = np.concatenate([bench.rows[bench.held_out(k)] for k in bench.fold_numbers])
    np.testing.assert_array_equal(p, bench.probe_of(rows))


def test_where_the_rule_takes_the_network_the_network_answers(made):
    bench, p, _ = made(taken=True)
    np.testing.assert_allclose(p, np.tile(NETWORK, (len(bench.rows), 1)), rtol=1e-5)


def test_an_outer_fold_begins_with_what_no_held_out_picture_suggested(made):
    bench, _, begun = made(taken=True)
    assert len(begun) == len(bench.fold_numbers) == 4
    for fold, (inner, queue, most) in zip(bench.fold_numbers, begun, strict=True):
        assert [(origin, recipe.rate) for origin, recipe in queue] == [("prior", 0.1)]
        assert most == 3
        assert not np.isin(inner.rows, bench.rows[bench.held_out(fold)]).any()
        assert inner.follow is None and fold not in inner.fold_numbers
