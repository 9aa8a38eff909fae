"""Adapt hands over an ensemble of the heads that it tried where that beats the best of them, and says so."""

import dataclasses
import io

import pytest

from headstart.core.console import Console
from headstart.core.storage import serialization
from headstart.core.types import FitResult
from headstart.features.feature_matrix import list_feature_names, predict_rows
from headstart.selection.probe.nested_validation import validate_nested
from headstart.selection.probe.train_probe import train_probe
from headstart.selection.ranking.rank_backbones import rank_backbones
from headstart.statistics.losses import log_losses
from headstart.uncertainty.temperature import apply_temperature
from judged_sets import dataset, embeddings, splits


@pytest.fixture(scope="module")
def data():
    """Fewer than 20 pictures to learn from in a class: no levels are put side by side."""
    return dataset(130, shares=(0.34, 0.33, 0.33))


@pytest.fixture(scope="module")
def split(data):
    return splits(data, test=0.6, repeats=1, folds=3)


@pytest.fixture(scope="module")
def backbones(data):
    """One whose levels know different things, and one that knows a little."""
    strong = embeddings(data, "made:strong", {"inner": 2.0, "last": 2.0}, flops=2 * 10**9)
    return embeddings(data, "made:weak", {"last": 0.5}, flops=10**9), strong


def adapt(data, split, backbones, ctx):
    ranking = rank_backbones(data, split, backbones, ctx=ctx)
    return train_probe(data, split, ranking, backbones, ctx=ctx)


def test_levels_that_know_different_things_are_pooled_in_one_pass(data, split, backbones, context):
    ctx = dataclasses.replace(context(), console=Console(err=io.StringIO()))
    pooled = adapt(data, split, backbones, ctx)
    alone = context(name="alone")
    alone.record_decision("adapt/ensemble", lambda: False)
    single = adapt(data, split, backbones, alone)
    assert (pooled.fitted.head, pooled.fitted.kind) == ("ensemble", "linear")
    assert set(list_feature_names(pooled.features)) == {"made:strong@inner", "made:strong@last"}
    assert single.fitted.head != "ensemble"
    row = next(row for row in pooled.tried if row.head == "ensemble")
    assert (row.status, row.flops) == ("chosen", 2 * 10**9)
    assert sum(member["share"] for member in row.params["members"]) == pytest.approx(1)
    y = data.targets[split.test]
    losses = [
        log_losses(
            y, apply_temperature(predict_rows(r.fitted, backbones, r.features, split.test), r.temperature)
        ).mean()
        for r in (pooled, single)
    ]
    assert losses[0] < losses[1] - 0.02
    text = ctx.console.err.getvalue()
    assert "ensemble on made:strong@" in text
    assert "with a temperature set by other pictures" in text
    loaded = serialization.load_value(FitResult, ctx.make_step_folder("adapt"))
    assert loaded.fitted.params == pooled.fitted.params


def test_its_held_out_answers_are_of_members_that_did_not_see_the_picture(data, split, backbones, context):
    """Each member's own held-out answers, pooled: hardly surer than on new pictures, unlike those of training."""
    pooled = adapt(data, split, backbones, context())
    y, test = data.targets[split.train], predict_rows(pooled.fitted, backbones, pooled.features, split.test)
    held, seen = log_losses(y, pooled.cv_probabilities).mean(), log_losses(y, pooled.train_probabilities).mean()
    assert seen < held - 0.1
    assert held == pytest.approx(log_losses(data.targets[split.test], test).mean(), abs=0.12)


def test_a_level_without_signal_is_not_pooled(data, split, context):
    only = embeddings(data, "made:one", {"inner": 2.5, "last": 0.0}, dim=40)
    found = adapt(data, split, (only,), context())
    assert list_feature_names(found.features) == ("made:one@inner",)


def test_nested_validation_pools_anew_in_every_fold(data, backbones, context):
    drawn, ctx = splits(data, test=0.6, folds=3), context()
    whole = dataclasses.replace(drawn, test=drawn.test[:0])
    ctx.console.err, ctx.console.quiet = io.StringIO(), False
    ranking = rank_backbones(data, whole, backbones, ctx=ctx)
    probe = train_probe(data, whole, ranking, backbones, ctx=ctx)
    validate_nested(probe, data, whole, ranking, backbones, ctx=ctx)
    assert "chose an ensemble" in ctx.console.err.getvalue()
