"""The stage `doubt` on synthetic features: which pictures set the thresholds, what is promised, what is measured."""

import dataclasses
import functools
import io
import math

import numpy as np
import pytest
from scipy.stats import norm

from headstart.core import registry
from headstart.core.console import Console
from headstart.core.storage import serialization
from headstart.core.types import (
    AdaptedTarget,
    Calibrated,
    Evaluation,
    Feature,
    FineTuningResult,
    FitResult,
    TargetDomain,
    UncertaintyReport,
)
from headstart.heads import cross_validation, prediction
from headstart.statistics import intervals
from headstart.statistics.calibration_error import calibration_bins
from headstart.uncertainty import conformal, hidden_classes, ood_detection, ood_threshold, selective_prediction
from headstart.uncertainty import coverage as promise
from headstart.uncertainty import temperature as tempering
from headstart.uncertainty.assessment import assess_uncertainty
from headstart.uncertainty.ood_images import DIGITS, PHOTOGRAPHS, make_ood_images
from headstart.uncertainty.summary import NEW_DOMAIN, format_coverage
from judged_sets import NAMES, dataset, embeddings, splits


def adapt(data, split, backbone, temperature=1.0, strategy="probe"):
    """A logistic head as the adapt stage leaves it."""
    head = registry.load_plugin("heads", "binary_logistic" if data.learning_task.has_labels else "logistic")
    x, y = backbone.vectors["last"], np.asarray(data.targets)
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
        tuning=None if strategy == "probe" else tuned(data, split, backbone),
        calibrated=Calibrated(temperature=temperature, before=1.0, after=1.0, n=len(train), why="for a test"),
    )


def tuned(data, split, backbone):
    """As if a trunk had been trained: the folds' networks, here with the same features, tell distances."""
    fold = split.folds[0][split.train].astype(np.int64)
    x, y = backbone.vectors["last"][split.train], np.asarray(data.targets)[split.train]
    sample = ood_threshold.TrainingSample(rows=split.train, x=x, y=y, fold=fold)
    empty = np.empty((0, 3), np.float32)
    return FineTuningResult(
        trials=(),
        logs=(),
        outcomes=(),
        network=None,
        scratch=None,
        taken=True,
        why="for a test",
        rows=split.train,
        probabilities=empty,
        probe_probabilities=empty,
        distances={m: ood_threshold.cross_fold_distances(sample, m) for m in ood_detection.METHODS},
    )


def evaluated(data, split, backbone, adapted):
    """What evaluation hands over, as far as doubt reads it."""
    rows, name = (split.test, "test") if len(split.test) else (adapted.cv_rows, "cv")
    p = adapted.cv_probabilities
    if name == "test":
        p = prediction.predict_probabilities(adapted.fitted.kind, adapted.fitted.arrays, backbone.vectors["last"][rows])
    p, nothing = tempering.apply_temperature(p, adapted.temperature, data.learning_task), np.zeros(0, np.int64)
    return Evaluation(
        split=name,
        scores=(),
        baselines=(),
        confusion=np.zeros((3, 3), np.int64),
        rows=rows,
        probabilities=p,
        calibration=() if data.learning_task.has_labels else calibration_bins(np.asarray(data.targets)[rows], p),
        suspects=nothing,
        threshold=None,
        verdicts=(),
    )


def made(
    context,
    n=600,
    *,
    foreign=True,
    data=None,
    split=None,
    strategy="probe",
    temperature=1.0,
    judge=None,
    find_target=None,
    **settings,
):
    """The stage's value, what it said, and what it was given."""
    data = data or dataset(n)
    split = split or splits(data)
    backbone = embeddings(data, "made:good", {"last": 2.0})
    adapted = adapt(data, split, backbone, temperature, strategy)
    ctx, said = context(**settings), io.StringIO()
    ctx.console = Console(err=said)
    judged = evaluated(data, split, backbone, adapted)
    others = strangers(backbone) if foreign is True else foreign or None
    judged = (judge or (lambda evaluation: evaluation))(judged)
    target = find_target(data, backbone) if find_target else None
    found = assess_uncertainty(data, split, (backbone,), adapted, judged, ctx=ctx, foreign=others, target=target)
    return found, said.getvalue(), (ctx, split, backbone, adapted)


def strangers(backbone):
    """40 pictures of other things, twelve times as far out as the known ones."""
    vectors = {"last": np.random.default_rng(1).normal(size=(40, 12)).astype(np.float32) * 12}
    data = dataclasses.replace(dataset(40, seed=9), class_names=("stones", "clouds", "seas"))
    return data, (dataclasses.replace(backbone, vectors=vectors, rows=np.arange(40)),)


def one(found, name, subject=""):
    [score] = [s for s in found.scores if (s.name, s.subject) == (name, subject)]
    return score


def test_out_of_fold_pictures_set_the_thresholds_of_each_class(context):
    found, said, (ctx, *_) = made(context)
    assert (found.split, found.n, found.by_class, found.coverage) == ("cv", 450, True, 0.9)
    assert "450 out-of-fold training pictures set the thresholds, for 90 % in each class" in found.why
    assert len(set(found.thresholds)) == 3
    coverage = one(found, "coverage")
    assert coverage.split == "test"
    assert coverage.low < 0.9 <= coverage.value + 0.03
    assert coverage.n == 150
    assert 1 <= one(found, "set_size").value < 2.5
    assert {one(found, "coverage", name).n for name in NAMES} < set(range(20, 100))
    assert "of 150 pictures have their class in the prediction set" in said
    worst = min((one(found, "coverage", name) for name in NAMES), key=lambda s: s.value)
    assert f"in the worst class, `{worst.subject}`, {100 * worst.value:.1f} %" in said
    back = serialization.load_value(UncertaintyReport, ctx.run.path / "doubt")
    assert len(set(found.floors)) >= 1
    assert (found.floors >= found.thresholds).all()  # so that an empty set takes nothing from the promise
    np.testing.assert_array_equal(back.thresholds, found.thresholds)
    assert back.scores == found.scores
    assert back.novelty.arrays.keys() == found.novelty.arrays.keys()


@pytest.mark.parametrize("strategy", ["probe", "finetune"])
def test_the_test_split_sets_nothing_that_is_saved(context, strategy):
    """Other answers to the test pictures, and other test pictures, change what is measured and nothing else."""

    def spoil(evaluation):
        p = np.roll(evaluation.probabilities, 1, axis=1)[: len(evaluation.rows) // 2]
        return dataclasses.replace(evaluation, rows=evaluation.rows[: len(p)], probabilities=p)

    found, *_ = made(context, strategy=strategy)
    other, *_ = made(context, strategy=strategy, name="spoilt", judge=spoil)
    assert one(found, "coverage").value > one(other, "coverage").value + 0.2
    entries = [selective_prediction.make_entry(each, "", "") for each in (found, other)]
    assert entries[0] == entries[1]
    arrays, others = map(selective_prediction.collect_arrays, (found, other))
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name])


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


def known(p, y, split="test", folds=5):
    p = np.asarray(p, float)
    return promise.HeldOutPredictions(
        split=split,
        rows=np.arange(len(y)),
        y=np.asarray(y),
        p=p,
        answers=p.argmax(axis=1),
        fold=np.arange(len(y)) % folds,
    )


def drawn(n, seed):
    """Calibrated probabilities of three classes, and classes drawn by them."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([2.0, 2.0, 2.0], n)
    return p, np.minimum((p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1), 2)


def test_an_empty_set_is_judged_as_empty_and_takes_nothing_from_the_promise():
    p, y = drawn(400, 0)
    given, learnt = known(p, y), known(p, y, "cv")
    for kind, coverage, some in (
        ("least_ambiguous", 0.5, True),
        ("least_ambiguous", 0.995, False),
        ("adaptive", 0.9, False),
    ):
        made = promise.set_thresholds(learnt, kind, coverage)
        floors = promise.compute_floors(learnt, made, 0.6)
        empty = conformal.flag_empty_sets(p, floors)  # strict: many would be hopeless by 0.6 alone
        assert empty.any() == some
        assert not conformal.make_sets(p[empty], kind, made.thresholds).any()  # before what is answered is added
        np.testing.assert_array_equal(promise.judge_sets(given, made, floors).hopeless, empty)
        nothing = promise.judge_sets(given, made, np.full(3, -1.0))  # floors that no class keeps empty every set
        assert not nothing.sizes.any()
        assert not nothing.hits.any()


def test_a_fold_is_judged_by_the_thresholds_of_the_others():
    """One fold of pictures that no other looks like: by a threshold of all it would be covered."""
    p, y = drawn(100, 1)
    fold = np.arange(100) // 20
    odd = fold == 4
    p[odd], y[odd] = [0.05, 0.15, 0.8], 0  # the true class is always the least probable
    p[~odd], y[~odd] = [0.8, 0.15, 0.05], 0
    given = dataclasses.replace(known(p, y, "cv"), fold=fold)
    made = promise.set_thresholds(given, "least_ambiguous", 0.9)
    assert promise.judge_sets(given, made, np.full(3, np.inf)).hits.all()  # who sets the threshold is covered by it
    outcomes = promise.judge_sets_by_fold(given, made, 0.9, 0.99)
    assert not outcomes.hits[odd].any()
    assert outcomes.hits[~odd].all()
    scores = {(s.name, s.subject): s for s in promise.score_sets(given, outcomes, NAMES)}
    assert scores["coverage", ""].value == 0.8
    assert scores["coverage_of_folds", "lowest"].value == 0
    assert scores["coverage_of_folds", "highest"].value == 1
    assert scores["coverage_of_folds", "lowest"].n == 20
    far = ood_threshold.KnownDistances(rows=np.arange(100), values=np.where(odd, 9.0, 1.0), fold=fold)
    np.testing.assert_array_equal(far.flag_strange(), odd)
    assert far.find_limit()[0] == 9.0  # which would have declined none


@pytest.mark.parametrize("n", [40, 100])
def test_intervals_of_folds_hold_what_the_model_does_to_new_pictures(n):
    """What a model does varies with the few pictures that set its thresholds: its coverage, and whom it declines."""
    held = {"coverage": 0, "unknown": 0, "unwidened": 0}
    for seed in range(200):
        (p, y), (new_p, new_y) = drawn(n, [seed, 0]), drawn(4000, [seed, 1])
        given, new = known(p, y, "cv"), known(new_p, new_y)
        made = promise.set_thresholds(given, "least_ambiguous", 0.9)
        made = dataclasses.replace(
            made,
            by_class=False,
            thresholds=np.full(3, conformal.conformal_quantile(given.score_true_classes("least_ambiguous"), 0.9)),
        )
        outcomes = promise.judge_sets_by_fold(given, made, 0.9, 0.99)
        told = promise.score_share("coverage", given, outcomes.hits)[0]
        truth = promise.judge_sets(new, made, promise.compute_floors(given, made, 0.99)).hits.mean()
        held["coverage"] += told.low <= truth <= told.high
        plain = intervals.share_interval(outcomes.hits)
        held["unwidened"] += plain.low <= truth <= plain.high
        far = np.random.default_rng([seed, 2]).normal(size=n)
        distances = ood_threshold.KnownDistances(rows=np.arange(n), values=far, fold=given.fold)
        told = promise.score_share("unknown", given, distances.flag_strange())[0]
        truth = norm.sf(distances.find_limit()[0])
        held["unknown"] += told.low <= truth <= told.high
    print(n, held)
    assert held["coverage"] >= 190
    assert held["unknown"] >= 190


def test_without_a_test_split_the_folds_judge_each_other(context):
    data = dataset(300)
    found, said, _ = made(context, data=data, split=splits(data, test=0.0))
    assert (found.split, found.n) == ("cv", 300)
    assert one(found, "coverage").split == one(found, "unknown").split == "cv"
    assert one(found, "unknown").value <= 0.04
    for name in ("coverage", "unknown"):
        lowest, highest = one(found, f"{name}_of_folds", "lowest"), one(found, f"{name}_of_folds", "highest")
        assert lowest.value <= one(found, name).value <= highest.value
        assert lowest.n == 75
    assert f"from {100 * one(found, 'coverage_of_folds', 'lowest').value:.1f} % (n = 75)" in said
    assert "in the worst class" in said


def test_the_promise_is_that_of_cross_validation(context):
    data = dataset(300)
    found, *_ = made(context, data=data, split=splits(data, test=0.0))
    fewest = np.bincount(data.targets).min()
    assert found.by_class
    assert found.promise == conformal.cross_validation_guarantee(fewest, 4, 0.9)
    # 1 - 2 alpha, less the smaller of what few folds and what small folds cost (Barber 2021, theorem 4)
    assert conformal.cross_validation_guarantee(300, 4, 0.9) == 0.78
    assert conformal.cross_validation_guarantee(100, 5, 0.9) == 0.723
    assert conformal.cross_validation_guarantee(100, 100, 0.9) == 0.8  # the jackknife+
    assert f"theory guarantees {100 * found.promise:g} %, and that of the folds' models" in found.why


def test_whole_searches_set_the_thresholds_where_there_are_such(context):
    """Folds that chose the head flatter it; nested answers do not."""
    data = dataset(300)
    split = splits(data, test=0.0)
    plain, _, (_, _, backbone, adapted) = made(context, data=data, split=split)
    nested = dataclasses.replace(
        adapted, nested_probabilities=tempering.apply_temperature(adapted.cv_probabilities, 3.0)
    )
    judged = evaluated(data, split, backbone, nested)
    found = assess_uncertainty(data, split, (backbone,), nested, judged, ctx=context(name="nested"))
    assert (found.thresholds > plain.thresholds).any()


def test_a_larger_promise_makes_larger_sets(context):
    sizes = [one(made(context, coverage=c, name=str(c))[0], "set_size").value for c in (0.6, 0.8, 0.95)]
    assert sizes[0] <= sizes[1] <= sizes[2]
    assert sizes[0] < sizes[2]


@pytest.mark.parametrize("learnt", [False, True])
def test_coverage_of_another_domain_is_measured_on_its_labels_or_not_claimed(context, learnt):
    """The same features, a third of them under another label; heads that had not learnt these answer as given."""

    def find_target(count, data, backbone):
        labels = np.where(np.arange(600) < count, (np.asarray(data.targets) + (np.arange(600) % 3 == 0)) % 3, -1)
        domain = TargetDomain(pictures=dataclasses.replace(data, targets=labels), labels=labels, copies=())
        p = np.eye(3, dtype=np.float32)[labels] if learnt else None  # all right
        return AdaptedTarget(domain=domain, embeddings=(backbone,), judged=domain.labelled, probabilities=p)

    few, said, _ = made(context, foreign=False, name="few", find_target=functools.partial(find_target, 19))
    assert "measured on the labelled domain: it need not hold in the new one" in said
    assert "not of the new one" in few.why and not [s for s in few.scores if s.split == "target"]
    found, said, _ = made(context, foreign=False, find_target=functools.partial(find_target, 90))
    score = one(found, "coverage", NEW_DOMAIN)
    assert (score.split, score.n) == ("target", 90)
    assert score.value == 1 if learnt else score.value < 0.75 < one(found, "coverage").value
    assert f"of the new domain {100 * score.value:.1f} %" in said
    assert f"in the worst class, `{NEW_DOMAIN}`" not in said


def test_foreign_pictures_are_told_and_known_ones_kept(context):
    found, *_ = made(context)
    assert found.novelty.familiar >= 0.99
    assert one(found, "unknown").value < 0.05
    assert one(found, "unknown", "stones").value > 0.9
    assert one(found, "novelty_auc", "stones").value > 0.97
    assert {s.subject for s in found.scores if s.name == "novelty_auc"} >= {f"hidden class {name}" for name in NAMES}
    assert {s.subject for s in found.novelty.tried} == set(ood_detection.METHODS)
    assert found.novelty.method == max(found.novelty.tried, key=lambda s: round(s.value, 6)).subject


def test_digits_are_no_pictures_of_other_things_for_a_set_of_digits(context, store):
    digits, rng = make_ood_images(store), np.random.default_rng(0)
    features = rng.normal(size=(len(digits.uris), 12)).astype(np.float32)
    features[np.arange(40), np.arange(40) % 10] += 8.0  # as a digit of each class looks to the trunk
    for names, subjects in ((("0", "1", "2"), {PHOTOGRAPHS}), (NAMES, {DIGITS, PHOTOGRAPHS})):
        data = dataclasses.replace(dataset(600), class_names=names)
        backbone = embeddings(data, "made:good", {"last": 2.0})
        shown = dataclasses.replace(backbone, vectors={"last": features}, rows=np.arange(len(features)))
        found, said, _ = made(context, data=data, foreign=(digits, (shown,)), name=names[0])
        assert (f"{DIGITS} do not count as strange" in said) == (DIGITS not in subjects)
        assert {s.subject for s in found.scores if s.subject in (DIGITS, PHOTOGRAPHS)} == subjects
        assert (DIGITS in found.verdict.sentence) == (DIGITS in subjects)


def test_classes_left_out_tell_of_near_strangers_and_the_verdict_says_so(context):
    found, said, (ctx, *_) = made(context)
    together = one(found, "unknown", hidden_classes.ALL)
    assert together.n == 450  # each training picture once
    assert together.value == np.average(
        [one(found, "unknown", f"hidden class {name}").value for name in NAMES],
        weights=[one(found, "unknown", f"hidden class {name}").n for name in NAMES],
    )
    assert together.high < 0.5  # two units apart is near
    assert found.verdict.answer == "no"
    assert found.verdict.sentence in said
    assert "`unknown` does not work here for pictures that are like yours" in said
    assert serialization.load_value(UncertaintyReport, ctx.run.path / "doubt").verdict == found.verdict
    trained, *_ = made(context, strategy="finetune", name="trained")  # its trunk has learnt from every class
    assert not [s for s in trained.scores if s.subject == hidden_classes.ALL]
    assert trained.verdict.answer == "unclear"


@pytest.mark.parametrize("head", ["ensemble", "knn", "lda", "logistic", "nearest_mean", "ridge", "ridge_from_names"])
def test_every_head_is_fitted_anew_without_a_class(context, head):
    data = dataset(300)
    split = splits(data)
    backbone = embeddings(data, "made:good", {"last": 2.0})
    adapted = adapt(data, split, backbone)
    member = {"head": "ridge", "columns": [[0, 12]], "share": 0.5, "params": {"strength": 1.0}}
    params = {"members": [member, member | {"head": "lda", "params": {"shrinkage": 0.5}}]}
    if head != "ensemble":
        plugin = registry.load_plugin("heads", head.removesuffix("_from_names"))
        params = next(iter(plugin.grid(len(split.train), 12, 3)))
    adapted = dataclasses.replace(adapted, fitted=dataclasses.replace(adapted.fitted, head=head, params=params))
    judged = evaluated(data, split, backbone, adapted)
    found = assess_uncertainty(data, split, (backbone,), adapted, judged, ctx=context(class_weight="balanced"))
    assert one(found, "unknown", hidden_classes.ALL).n == 225


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
    assert one(found, "coverage").n == len(np.unique(twins.clusters[twins.test])) < 150
    assert found.n == len(np.unique(twins.clusters[twins.train])) < 450


def test_the_networks_of_the_folds_tell_the_limit_of_a_trained_trunk(context):
    found, _, (_, split, _, adapted) = made(context, strategy="finetune")
    distances = adapted.tuning.distances[found.novelty.method]
    np.testing.assert_array_equal(found.novelty.arrays["known"], np.sort(distances).astype(np.float32))
    assert one(found, "unknown").split == "test"
    assert one(found, "unknown").n == len(split.test)
    data = dataset(300)
    alone, *_ = made(context, data=data, split=splits(data, test=0.0), strategy="finetune", name="cv")
    assert one(alone, "unknown").value == pytest.approx(0.01, abs=0.02)


def test_a_trained_trunk_whose_folds_told_no_distance_declines_nothing_for_it(context):
    data = dataset(300)
    split = splits(data)
    backbone = embeddings(data, "made:good", {"last": 2.0})
    adapted = dataclasses.replace(adapt(data, split, backbone, strategy="finetune"), tuning=None)
    judged = evaluated(data, split, backbone, adapted)
    found = assess_uncertainty(data, split, (backbone,), adapted, judged, ctx=context())
    assert found.novelty is None
    assert not [s for s in found.scores if s.name == "novelty_auc"]


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


def test_heads_without_a_class_learn_by_the_weights_of_their_pictures(context, monkeypatch):
    data, asked = dataset(240), []
    weights = np.random.default_rng(0).uniform(0.01, 2, 240)
    monkeypatch.setattr(hidden_classes, "score_hidden_classes", lambda *values: asked.append(values) or [])
    _, _, (_, _, _, adapted) = made(context, data=dataclasses.replace(data, weights=weights), foreign=False)
    [(sample, _, predict, *_)] = asked
    learnt, answered = np.flatnonzero(sample.fold != 0), np.flatnonzero(sample.fold == 0)
    head = cross_validation.loosen_head(registry.load_plugin("heads", "logistic"))
    params = [cross_validation.resize_params(adapted.fitted.params, len(learnt), 180)]
    shared = {"params": params, "n_classes": 3, "class_weight": None, "seed": 0}
    fitted = next(
        iter(head.path(sample.x[learnt], sample.y[learnt], sample_weight=weights[sample.rows][learnt], **shared))
    )
    expected = prediction.predict_probabilities(fitted.kind, fitted.arrays, sample.x[answered])
    np.testing.assert_allclose(predict(sample, learnt, answered), expected, atol=1e-6)


@pytest.mark.parametrize("test", [0.25, 0.0])
def test_labels_have_a_set_each_and_a_calibration_of_choices_of_two(context, test):
    classes, rng = dataset(600), np.random.default_rng(3)
    targets = np.eye(3, dtype=bool)[np.asarray(classes.targets)] | (rng.random((600, 3)) < 0.1)
    data = dataclasses.replace(classes, task="multilabel", targets=targets)
    split, backbone = splits(classes, test=test), embeddings(classes, "made:good", {"last": 2.0})
    adapted = adapt(data, split, backbone, temperature=2.0)
    evaluation = evaluated(data, split, backbone, adapted)
    found = assess_uncertainty(
        data, split, (backbone,), adapted, evaluation, ctx=context(), foreign=strangers(backbone)
    )
    where = "test" if test else "cv"
    assert found.thresholds.shape == (3, 2) and found.has_labels and one(found, "coverage").split == where
    assert {s.subject for s in found.scores if s.name == "coverage"} == {"", *NAMES}
    assert all(one(found, "coverage_where_present", name).value > 0.8 for name in NAMES)
    assert one(found, "unknown", "stones").value > 0.9 and not [
        s for s in found.scores if s.subject == hidden_classes.ALL
    ]
    y, p = targets[evaluation.rows], evaluation.probabilities
    if test:
        assert one(found, "log_loss", "after").value == pytest.approx(np.mean(-np.log(np.where(y, p, 1 - p))), rel=1e-5)
    assert one(found, "log_loss", "after").n == len(y)
    assert one(found, "log_loss", "after").value > one(found, "log_loss", "before").value  # it was right before
    told = format_coverage(found)
    worst = min((one(found, "coverage_where_present", name) for name in NAMES), key=lambda score: score.value)
    assert "% stay open; 90 % asked for" in told and f"where the worst label, `{worst.subject}`, is there, " in told
    assert "on pictures like yours was not measured" in found.verdict.sentence
