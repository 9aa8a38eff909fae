"""The stage `doubt` on synthetic features: which pictures set the thresholds, what is promised, what is measured."""

import dataclasses
import io
import math

import numpy as np
import pytest

from headstart.core import registry
from headstart.core.console import Console
from headstart.core.storage import serialization
from headstart.core.types import Calibrated, Evaluation, Feature, FitResult, UncertaintyReport
from headstart.heads import cross_validation, prediction
from headstart.statistics.calibration_error import calibration_bins
from headstart.uncertainty import conformal, ood_detection, ood_threshold, selective_prediction
from headstart.uncertainty import coverage as promise
from headstart.uncertainty import temperature as tempering
from headstart.uncertainty.assessment import assess_uncertainty
from judged_sets import NAMES, dataset, embeddings, splits


def adapt(data, split, backbone, temperature=1.0, strategy="probe"):
    """A logistic head as the adapt stage leaves it."""
    head, x, y = registry.load_plugin("heads", "logistic"), backbone.vectors["last"], np.asarray(data.targets)
    grid = list(head.grid(len(split.train), x.shape[1], 3))
    params, train = [grid[len(grid) // 2]], split.train
    shared = {"n_classes": 3, "class_weight": None, "seed": 0}
    fitted = next(iter(head.path(x[train], y[train], params=params, **shared)))
    held = cross_validation.predict_held_out(head, x[train], y[train], split.folds[:, train], grid=params, **shared)[0]
    return FitResult(
        strategy=strategy,
        features=(Feature(backbone=backbone.spec.name, depth="last", dim=x.shape[1]),),
        fitted=fitted,
        tried=(),
        why="for a test",
        cv_rows=train,
        cv_probabilities=held.mean(axis=0).astype(np.float32),
        train_probabilities=prediction.predict_probabilities(fitted.kind, fitted.arrays, x[train]),
        nested=(),
        curve=(),
        calibrated=Calibrated(temperature=temperature, before=1.0, after=1.0, n=len(train), why="for a test"),
    )


def evaluated(data, split, backbone, adapted):
    """What evaluation hands over, as far as doubt reads it."""
    rows, name = (split.test, "test") if len(split.test) else (adapted.cv_rows, "cv")
    p = adapted.cv_probabilities
    if name == "test":
        p = prediction.predict_probabilities("linear", adapted.fitted.arrays, backbone.vectors["last"][rows])
    p, nothing = tempering.apply_temperature(p, adapted.temperature), np.zeros(0, np.int64)
    return Evaluation(
        split=name,
        scores=(),
        baselines=(),
        confusion=np.zeros((3, 3), np.int64),
        rows=rows,
        probabilities=p,
        calibration=calibration_bins(np.asarray(data.targets)[rows], p),
        suspects=nothing,
        threshold=None,
        verdicts=(),
    )


def made(context, n=600, *, foreign=True, data=None, split=None, strategy="probe", temperature=1.0, **settings):
    """The stage's value, what it said, and what it was given."""
    data = data or dataset(n)
    split = split or splits(data)
    backbone = embeddings(data, "made:good", {"last": 2.0})
    adapted = adapt(data, split, backbone, temperature, strategy)
    ctx, said = context(**settings), io.StringIO()
    ctx.console = Console(err=said)
    judged = evaluated(data, split, backbone, adapted)
    others = strangers(backbone) if foreign else None
    found = assess_uncertainty(data, split, (backbone,), adapted, judged, ctx=ctx, foreign=others)
    return found, said.getvalue(), (ctx, split, backbone, adapted)


def strangers(backbone):
    """40 pictures of other things, twelve times as far out as the known ones."""
    vectors = {"last": np.random.default_rng(1).normal(size=(40, 12)).astype(np.float32) * 12}
    data = dataclasses.replace(dataset(40, seed=9), class_names=("stones", "clouds", "seas"))
    return data, (dataclasses.replace(backbone, vectors=vectors, rows=np.arange(40)),)


def one(found, name, subject=""):
    [score] = [s for s in found.scores if (s.name, s.subject) == (name, subject)]
    return score


def test_held_out_pictures_set_the_thresholds_of_each_class(context):
    found, said, (ctx, *_) = made(context)
    assert (found.split, found.n, found.by_class, found.promise, found.coverage) == ("test", 150, True, 0.9, 0.9)
    assert "150 held-out pictures set the thresholds, for 90 % in each class" in found.why
    assert len(set(found.thresholds)) == 3
    coverage = one(found, "coverage")
    assert coverage.low < 0.9 <= coverage.value + 0.03
    assert coverage.n == 150
    assert 1 <= one(found, "set_size").value < 2.5
    assert {one(found, "coverage", name).n for name in NAMES} < set(range(20, 100))
    assert one(found, "coverage", promise.CHECKED).n == 150
    assert "of 150 pictures have, on average over re-draws, their class in the prediction set" in said
    assert "unknown`" not in said
    back = serialization.load_value(UncertaintyReport, ctx.run.path / "doubt")
    assert len(set(found.floors)) >= 1
    assert (found.floors >= found.thresholds).all()  # so that an empty set takes nothing from the promise
    np.testing.assert_array_equal(back.thresholds, found.thresholds)
    assert back.scores == found.scores
    assert back.novelty.arrays.keys() == found.novelty.arrays.keys()


def test_few_in_a_class_promise_on_average_alone(context):
    found, *_ = made(context, n=240, data=dataset(240, shares=(0.6, 0.35, 0.05)))
    assert not found.by_class
    assert len(set(found.thresholds)) == 1
    assert "on average over the classes: the smallest class has" in found.why


def test_too_few_promise_nothing_and_every_class_is_plausible(context):
    found, *_ = made(context, n=600, coverage=0.999)
    assert np.isinf(found.thresholds).all()
    assert "cannot promise 99.9 %, 999 could: every class stays in the set" in found.why
    assert one(found, "set_size").value == 3
    assert one(found, "coverage").value == 1
    assert np.isinf(found.floors).all()  # and none is hopeless


def known(p, y, split="test"):
    p = np.asarray(p, float)
    return promise.HeldOutPredictions(
        split=split, rows=np.arange(len(y)), y=np.asarray(y), p=p, answers=p.argmax(axis=1)
    )


def test_an_empty_set_is_judged_as_empty_and_takes_nothing_from_the_promise():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([2.0, 2.0, 2.0], 400)
    y = (p.cumsum(axis=1) < rng.random((400, 1))).sum(axis=1)
    given, learnt = known(p, y), known(p, y, "cv")
    for kind, coverage, some in (
        ("least_ambiguous", 0.5, True),
        ("least_ambiguous", 0.995, False),
        ("adaptive", 0.9, False),
    ):
        made = promise.set_thresholds(given, kind, coverage)
        empty = conformal.flag_empty_sets(
            p, promise.compute_floors(learnt, made, 0.6)
        )  # strict: many would be hopeless by 0.6 alone
        assert empty.any() == some
        assert not conformal.make_sets(p[empty], kind, made.thresholds).any()  # before what is answered is added
        [size] = [
            s
            for s in promise.measure_coverage(given, made, np.full(3, -1.0), coverage, NAMES, 0)
            if s.name == "set_size"
        ]
        assert size.value == 0  # floors that no class keeps empty every set
        [none] = promise.check_thresholds(learnt, given, made, np.full(3, -1.0), coverage)
        assert none.value == 0


def test_pictures_that_set_the_limit_are_judged_by_the_limit_of_the_others():
    far = np.random.default_rng(0).permutation(150.0 + np.arange(150))
    assert (
        ood_threshold.flag_beyond_others(far).sum() == 1
    )  # the farthest; by the limit that it helps to set it were not strange
    assert ood_threshold.flag_beyond_others(far)[far.argmax()]
    by_hand = [
        one > np.sort(np.delete(far, at))[min(conformal.quantile_rank(149, 0.99), 149) - 1]
        for at, one in enumerate(far)
    ]
    np.testing.assert_array_equal(ood_threshold.flag_beyond_others(far), by_hand)
    wide = np.random.default_rng(1).normal(size=1000)
    assert ood_threshold.flag_beyond_others(wide).mean() == pytest.approx(0.01, abs=0.001)
    assert not ood_threshold.flag_beyond_others(np.array([3.0])).any()


def test_without_a_test_split_the_weaker_promise_is_told(context):
    data = dataset(300)
    found, *_ = made(context, data=data, split=splits(data, test=0.0))
    assert (found.split, found.n) == ("cv", 300)
    assert found.promise == 0.718  # 2 * 0.9 - 1 - sqrt(2 / 300)
    assert "for such pictures theory guarantees 71.8 % alone" in found.why
    assert not [s for s in found.scores if s.subject == promise.CHECKED]
    assert one(found, "unknown").value <= 0.02


def test_a_larger_promise_makes_larger_sets(context):
    sizes = [one(made(context, coverage=c, name=str(c))[0], "set_size").value for c in (0.6, 0.8, 0.95)]
    assert sizes[0] <= sizes[1] <= sizes[2]
    assert sizes[0] < sizes[2]


def test_foreign_pictures_are_told_and_known_ones_kept(context):
    found, *_ = made(context)
    assert found.novelty.familiar >= 0.99
    assert one(found, "unknown").value < 0.05
    assert one(found, "unknown", "stones").value > 0.9
    assert one(found, "novelty_auc", "stones").value > 0.97
    assert {s.subject for s in found.scores if s.name == "novelty_auc"} >= {f"hidden class {name}" for name in NAMES}
    assert {s.subject for s in found.novelty.tried} == set(ood_detection.METHODS)
    assert found.novelty.method == max(found.novelty.tried, key=lambda s: round(s.value, 6)).subject


def test_the_value_answers_as_a_saved_model_will(context):
    found, _, (_, split, backbone, adapted) = made(context)
    x = backbone.vectors["last"][split.test]
    p = prediction.predict_probabilities("linear", adapted.fitted.arrays, x)
    told = selective_prediction.measure_uncertainty(
        selective_prediction.make_entry(found, "", ""),
        selective_prediction.collect_arrays(found),
        p,
        x,
        p.argmax(axis=1),
    )
    assert told.unknown.mean() == pytest.approx(one(found, "unknown").value)
    assert told.plausible.sum(axis=1).min() >= 1


def test_look_alikes_count_once(context):
    data = dataset(600)
    twins = splits(data, clusters=np.arange(600) // 2 * 2)
    found, *_ = made(context, data=data, split=twins)
    firsts = len(np.unique(twins.clusters[twins.test]))
    assert found.n == firsts < 150


def test_a_trained_trunk_is_judged_by_pictures_it_never_saw(context):
    found, *_ = made(context, strategy="finetune")
    assert len(found.novelty.arrays["known"]) == 150  # those of the test split, not of training
    assert one(found, "unknown").value > 0  # each by the limit of the others: the farthest lies beyond it
    many = dataset(8400)
    split = splits(many)
    thinned, *_ = made(context, data=many, split=split, strategy="finetune", name="many", foreign=False)
    assert one(thinned, "unknown").n == len(thinned.novelty.arrays["known"]) == ood_detection.MOST < len(split.test)
    assert one(thinned, "unknown").value == pytest.approx(0.01, abs=0.005)
    data = dataset(300)
    alone, *_ = made(context, data=data, split=splits(data, test=0.0), strategy="finetune", name="cv")
    assert alone.novelty is None
    assert not [s for s in alone.scores if s.name == "novelty_auc"]


def test_the_temperature_is_told_before_and_after(context):
    found, *_ = made(context, temperature=3.0)
    before, after = one(found, "log_loss", "before"), one(found, "log_loss", "after")
    assert before.value < after.value  # three is far too much here, and is told as that
    same, *_ = made(context, name="same")
    assert one(same, "ece", "before") == dataclasses.replace(one(same, "ece", "after"), subject="before")


def test_few_pictures_measure_no_novelty(context):
    data = dataset(36)
    found, *_ = made(context, data=data, split=splits(data, test=0.3), foreign=False)
    assert found.novelty is None
    assert selective_prediction.make_entry(found, "", "").novelty == ""
    assert math.isfinite(one(found, "unknown").value)


def test_the_area_counts_ties_half():
    found = ood_threshold.novelty_auc(np.array([1.0, 2.0]), np.array([2.0, 3.0]), split="test", subject="x")
    assert found.value == pytest.approx((0.75 + 1.0) / 2)


def test_the_same_run_twice_is_the_same(context):
    one_, _, _ = made(context)
    other, _, _ = made(context, name="again")
    np.testing.assert_array_equal(one_.thresholds, other.thresholds)
    assert one_.scores == other.scores
    for name, array in one_.novelty.arrays.items():
        np.testing.assert_array_equal(array, other.novelty.arrays[name])
