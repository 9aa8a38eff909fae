"""Evaluation on synthetic features: the headline, baselines on the same pictures, verdicts, files."""

import csv
import dataclasses
import io
import types

import numpy as np
import pytest

from headstart.core import registry
from headstart.core.console import Console
from headstart.core.errors import UsageError
from headstart.core.storage import serialization
from headstart.core.types import (
    CLASSIFICATION,
    MULTILABEL,
    Calibrated,
    CurvePoint,
    Evaluation,
    Feature,
    FitResult,
    Ranking,
    Score,
)
from headstart.evaluation import verdicts
from headstart.evaluation.baselines import HISTOGRAM, MODEL, RANDOM
from headstart.evaluation.curve_forecast import forecast_score, format_more, list_targets
from headstart.evaluation.evaluate_model import _format_line, evaluate_model
from headstart.evaluation.held_out_scores import JudgedSplit
from headstart.evaluation.suspect_labels import find_suspect_labels
from headstart.heads import cross_validation, prediction
from headstart.statistics import metrics
from headstart.uncertainty.temperature import apply_cross_fitted_temperature, apply_temperature, mean_log_loss
from judged_sets import NAMES, dataset, embeddings, splits

RANKING = Ranking(metric="log_loss", rows=(), chosen="made:good@last", why="", ties=(), survivors=("made:good",))


def adapt(data, split, backbone, nested=None, curve=()):
    """A logistic head as the adapt stage leaves it."""
    head, x, y = registry.load_plugin("heads", "logistic"), backbone.vectors["last"], np.asarray(data.targets)
    grid = list(head.grid(len(split.train), x.shape[1], 3))
    params = [grid[len(grid) // 2]]
    shared = {"n_classes": 3, "class_weight": None, "seed": 0}
    train = split.train
    fitted = next(iter(head.path(x[train], y[train], params=params, **shared)))
    held = cross_validation.predict_held_out(head, x[train], y[train], split.folds[:, train], grid=params, **shared)[0]
    return FitResult(
        strategy="probe",
        features=(Feature(backbone=backbone.spec.name, depth="last", dim=x.shape[1]),),
        fitted=fitted,
        tried=(),
        why="for a test",
        cv_rows=train,
        cv_probabilities=held.mean(axis=0).astype(np.float32),
        train_probabilities=prediction.predict_probabilities(fitted.kind, fitted.arrays, x[train]),
        nested=(),
        nested_probabilities=nested,
        curve=curve,
    )


def made(context, *, n=400, signal=2.0, data=None, split=None, control=0.0, nested=None, curve=(), **settings):
    data = data or dataset(n)
    split = split or splits(data)
    backbone = embeddings(data, "made:good", {"last": signal})
    controls = (
        ()
        if control is None
        else (
            embeddings(
                data,
                "random:made:good",
                {"inner": 0.0, "last": control},
                rows=split.train[:: len(split.train) // 200][:200],
                seed=7,
            ),
        )
    )
    ctx = context(**settings)
    ctx.console = Console(err=io.StringIO())
    adapted = adapt(data, split, backbone, nested, curve)
    found = evaluate_model(data, split, (backbone,), adapted, RANKING, ctx=ctx, controls=controls)
    return found, ctx, data, split


def one(scores, split, name, subject=""):
    [found] = [s for s in scores if (s.split, s.name, s.subject) == (split, name, subject)]
    return found


def verdict(found, code):
    [answer] = [v for v in found.verdicts if v.code == code]
    return answer


def test_the_headline_is_of_exactly_the_test_pictures(context):
    found, ctx, data, split = made(context)
    assert found.split == "test"
    np.testing.assert_array_equal(found.rows, split.test)
    accuracy = one(found.scores, "test", "accuracy")
    right = found.probabilities.argmax(axis=1) == data.targets[split.test]
    assert accuracy.value == pytest.approx(right.mean())
    assert accuracy.n == 100
    assert np.trace(found.confusion) == right.sum()
    assert found.confusion.sum() == sum(b.n for b in found.calibration) == 100
    assert {s.split for s in found.scores} == {"train", "cv", "test"}
    assert {s.subject for s in found.scores} == {"", *NAMES}
    line = ctx.console.err.getvalue()
    shown = f"{accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}] (n = 100)"
    assert line.startswith(f"evaluate    test accuracy {shown}")
    assert "majority class" in line


def test_without_a_test_split_val_and_then_cv_judge(context):
    data = dataset(300)
    found, *_ = made(context, data=data, split=splits(data, test=0, val=0.2))
    assert found.split == "val"
    found, *_ = made(context, data=data, split=splits(data, test=0), name="b")
    assert found.split == "cv"
    assert len(found.rows) == 300
    assert one(found.baselines, "cv", "accuracy", "kNN").n == 300


def test_baselines_come_in_the_same_scores(context):
    found, _, data, split = made(context)
    assert {s.subject for s in found.baselines} == {
        "majority class",
        "kNN",
        "colour histogram",
        "random trunk",
        "model on the same pictures",
    }
    own = {s.name for s in found.scores if not s.subject}
    for subject in {s.subject for s in found.baselines}:
        assert {s.name for s in found.baselines if s.subject == subject} == own
    majority = one(found.baselines, "test", "accuracy", "majority class")
    common = np.bincount(data.targets[split.train]).argmax()
    assert majority.value == pytest.approx(np.mean(data.targets[split.test] == common))
    assert one(found.baselines, "test", "roc_auc", "majority class").value == 0.5
    assert one(found.baselines, "test", "accuracy", "kNN").value > majority.value
    assert {s.n for s in found.baselines if s.split == "screen"} == {200}
    same = one(found.baselines, "screen", "accuracy", "model on the same pictures")
    assert same.value > one(found.baselines, "screen", "accuracy", "random trunk").value


def test_verdicts_say_what_was_built_in(context):
    found, *_ = made(context, n=1600)
    assert verdict(found, "headline").answer == "yes"
    transfer = verdict(found, "transfer")
    assert transfer.answer == "yes"
    assert "on the same 200 pictures" in transfer.sentence
    assert "random trunk" in transfer.sentence
    assert "colour histogram" in transfer.sentence
    assert verdict(found, "overfitting").answer == "no"
    assert verdict(found, "enough_data").answer == "unclear"
    assert "uneven_classes" not in {v.code for v in found.verdicts}


def test_transfer_that_does_not_pay_is_called_so(context):
    found, *_ = made(context, signal=0.5, control=3.0)
    assert verdict(found, "transfer").answer == "no"
    found, *_ = made(context, control=None, name="c")
    assert "random trunk" not in verdict(found, "transfer").sentence
    assert verdict(found, "transfer").answer == "yes"


def test_transfer_that_cannot_be_told_is_unclear():
    rng, y = np.random.default_rng(0), np.arange(60) % 3
    given = {name: _part(y, rng.dirichlet(np.ones(3), 60)) for name in (MODEL, RANDOM)}
    found = verdicts.judge_transfer(given, np.arange(60))
    assert found.answer == "unclear"
    assert "is unclear" in found.sentence


@pytest.mark.parametrize(("count", "answer"), [(18, "unclear"), (21, "yes")])
def test_from_a_handful_of_pictures_nothing_is_claimed_of_transfer(count, answer):
    y = np.arange(count) % 3
    sure, blind = 0.85 * np.eye(3)[y] + 0.05, np.full((count, 3), 1 / 3)
    given = {name: _part(y, p) for name, p in ((MODEL, sure), (RANDOM, blind))}
    found = verdicts.judge_transfer(given, np.arange(count))
    assert found.answer == answer
    assert ("from so few pictures" in found.sentence) == (answer == "unclear")


def test_a_model_of_noise_is_not_called_better_than_the_majority(context):
    found, *_ = made(context, signal=0.0)
    assert verdict(found, "headline").answer in ("no", "unclear")


@pytest.mark.parametrize(
    ("rights", "answer", "words"),
    [(55, "yes", "which it beats"), (30, "unclear", "a tie"), (3, "no", "which is better")],
)
def test_the_headline_says_whether_it_beats_the_majority_class(rights, answer, words):
    """Of 60 pictures, 30 are of the majority class; `rights` are answered rightly, in an order without a pattern."""
    y = np.arange(60) % 2
    order = np.random.default_rng(0).permutation(60)
    answers = np.where(np.isin(np.arange(60), order[:rights]), y, 1 - y)
    part = _part(y, np.eye(2)[answers], answers)
    accuracy = Score(split="test", name="accuracy", value=rights / 60, low=0.0, high=1.0, n=60)
    scores = [accuracy, dataclasses.replace(accuracy, name="balanced_accuracy")]
    found = verdicts.judge_headline(part, scores, np.array([0.5, 0.5]), ("ash", "oak"))
    assert found.answer == answer
    assert found.sentence.endswith(f"always answering `ash` gives 0.500, {words}")


def test_an_accuracy_that_hides_a_class_is_told(context):
    data = dataset(600, shares=(0.7, 0.2, 0.1))
    rng = np.random.default_rng(0)
    part = _part(data.targets, rng.dirichlet(np.ones(3), 600), np.where(data.targets == 2, 0, data.targets))
    accuracy = Score(split="test", name="accuracy", value=0.9, low=0.87, high=0.92, n=600)
    scores = [accuracy, dataclasses.replace(accuracy, name="balanced_accuracy", value=0.667)]
    table = np.array([[420, 0, 0], [0, 120, 0], [60, 0, 0]])
    [found] = verdicts.find_uneven_classes(part, scores, table, NAMES)
    assert "of 60 pictures of `cedar` 0 are found and 60 are called `ash`" in found.sentence


@pytest.mark.parametrize(("missed", "is_told"), [(60, True), (24, True), (6, False)])
def test_a_class_that_a_rule_misses_is_told_where_accuracy_is_no_lower(missed, is_told):
    """Equal classes: balanced accuracy is accuracy; probabilities are right, and a rule answers otherwise."""
    y = np.arange(180) % 3
    answers = y.copy()
    answers[np.flatnonzero(y == 2)[:missed]] = 0
    accuracy = Score(split="test", name="accuracy", value=1 - missed / 180, low=0.0, high=1.0, n=180)
    scores = [accuracy, dataclasses.replace(accuracy, name="balanced_accuracy")]
    table = metrics.confusion_matrix(y, answers, 3)
    found = verdicts.find_uneven_classes(_part(y, np.eye(3)[y], answers), scores, table, NAMES)
    never = "; `cedar` is never answered" if missed == 60 else ""
    sentence = f"of 60 pictures of `cedar` {60 - missed} are found and {missed} are called `ash`"
    sentence += f"; of 60 it is the likeliest class{never}"
    assert [one.sentence for one in found] == ([sentence] if is_told else [])


def _part(y, p, answers=None, split="test"):
    rows = np.arange(len(y))
    return JudgedSplit(
        split=split, rows=rows, y=y, p=p, answers=p.argmax(axis=1) if answers is None else answers, clusters=rows
    )


def test_learning_by_heart_is_called_overfitting():
    y = np.arange(600) % 3
    perfect, chance = np.eye(3)[y], np.random.default_rng(0).dirichlet(np.ones(3), 600)
    found = verdicts.judge_overfitting(_part(y, perfect, split="train"), _part(y, chance))
    assert found.answer == "yes"
    assert "a gap of 0.6" in found.sentence


def test_a_few_pictures_without_an_error_tell_nothing_of_overfitting():
    for n, said in ((6, "unclear"), (30, "unclear"), (300, "no")):
        y = np.arange(n) % 2
        part = _part(y, np.eye(2)[y])
        found = verdicts.judge_overfitting(dataclasses.replace(part, split="train"), part)
        assert found.answer == said
        assert "000]" not in found.sentence


def test_overfitting_on_few_pictures_cannot_be_told():
    y = np.arange(20) % 2
    answers = np.where(np.arange(20) < 2, 1 - y, y)
    part = _part(y, np.eye(2)[answers], answers, split="cv")
    found = verdicts.judge_overfitting(dataclasses.replace(part, split="train"), part)
    assert found.answer == "unclear"
    assert found.sentence.startswith("this is unclear on so few pictures: accuracy is 0.900")
    assert "held-out ones in plain cross-validation" in found.sentence


def _fit_with_curve(points, width, name="accuracy", strategy="probe"):
    curve = tuple(
        CurvePoint(n_train=n, score=Score(split="cv", name=name, value=v, low=v - width, high=v + width, n=400))
        for n, v in points
    )
    return types.SimpleNamespace(curve=curve, train_probabilities=np.zeros((points[-1][0] + 100, 2)), strategy=strategy)


@pytest.mark.parametrize(
    ("adapted", "answer"),
    [
        (_fit_with_curve([(100, 0.6), (200, 0.7), (400, 0.8), (800, 0.9)], 0.02), "no"),
        (_fit_with_curve([(100, 1.0), (200, 0.9), (400, 0.8), (800, 0.7)], 0.02, "log_loss"), "no"),
        (_fit_with_curve([(100, 0.8), (200, 0.801), (400, 0.8), (800, 0.801)], 0.005), "yes"),
        (_fit_with_curve([(100, 0.8), (200, 0.81), (400, 0.8), (800, 0.82)], 0.2), "unclear"),
        (_fit_with_curve([(100, 0.6), (200, 0.9)], 0.01), "unclear"),
        (_fit_with_curve([(20, 0.6), (23, 0.65), (26, 0.7)], 0.2), "unclear"),  # many classes of three pictures
    ],
)
def test_the_curve_tells_whether_more_pictures_help(adapted, answer):
    assert verdicts.judge_enough_data(adapted).answer == answer


def test_of_more_pictures_the_verdict_says_what_was_measured_and_what_the_next_score_takes():
    adapted = _fit_with_curve([(100, 0.6), (200, 0.67), (400, 0.73)], 0.01)
    band, [(target, more), *_] = forecast_score(adapted.curve, 800), list_targets(adapted.curve, 500).items()
    measured = "accuracy is 0.670 with 200 pictures and 0.730 with 400 pictures"
    expected = f"it is expected to be {band.low:.3f} to {band.high:.3f} with 800"
    sentence = verdicts.judge_enough_data(adapted).sentence
    assert target == 0.8 and sentence == (
        f"more pictures would help, the curve still rises: {measured}; {expected}; "
        f"0.80 takes {format_more(more)} (now 500)"
    )
    assert verdicts.judge_enough_data(adapted, 21).sentence.endswith(
        f"{measured}; what more would bring cannot be said below 20 pictures a class"
    )
    tuned = verdicts.judge_enough_data(_fit_with_curve([(100, 0.6), (200, 0.67), (400, 0.73)], 0.01, strategy="lora"))
    assert tuned.sentence == f"{sentence}; this is the curve of the frozen probe, a fine-tuned network may have another"


def test_where_the_curve_is_flat_labels_are_to_be_checked_and_no_number_of_pictures_is_told():
    flat = verdicts.judge_enough_data(_fit_with_curve([(100, 0.876), (200, 0.877), (400, 0.877)], 0.002))
    assert flat.answer == "yes" and flat.sentence.startswith(
        "the curve is flat, so check labels rather than add pictures"
    )
    assert "takes" not in flat.sentence


def test_a_curve_that_rose_early_and_no_more_is_not_said_to_rise():
    """The line through all points goes up surely; the last doubling gained nothing."""
    points = [(100, 0.6), (200, 0.8), (400, 0.9)]
    for last in (0.9, 0.85):
        assert verdicts.judge_enough_data(_fit_with_curve([*points, (800, last)], 0.01)).answer == "unclear"


def test_where_folds_judge_each_picture_is_tempered_by_what_others_say(context):
    data = dataset(150)
    split, backbone = splits(data, test=0.0), embeddings(data, "made:good", {"last": 2.0})
    adapted = adapt(data, split, backbone)
    calibrated = Calibrated(temperature=2.0, before=1.0, after=0.9, n=150, why="")
    found = evaluate_model(
        data,
        split,
        (backbone,),
        dataclasses.replace(adapted, calibrated=calibrated),
        RANKING,
        ctx=context(),
    )
    y, clusters, held_out = data.targets[found.rows], split.clusters[found.rows], np.asarray(adapted.cv_probabilities)
    honest = apply_cross_fitted_temperature(held_out, y, clusters, split.seed)
    assert found.split == "cv" and not np.allclose(honest, apply_temperature(held_out, 2.0))
    np.testing.assert_array_equal(found.probabilities, honest)
    [loss] = [s.value for s in found.scores if (s.split, s.name, s.subject) == ("cv", "log_loss", "")]
    assert loss == pytest.approx(mean_log_loss(honest, y), rel=1e-6)


def test_suspects_are_wrong_labels_and_there_are_none_without(context):
    data = dataset(400)
    split = splits(data)
    backbone = embeddings(data, "made:good", {"last": 12.0}, dim=100)
    wrong = split.train[:24]
    targets = data.targets.copy()
    targets[wrong] = (targets[wrong] + 1) % 3
    flipped = dataclasses.replace(data, targets=targets)
    found = evaluate_model(flipped, split, (backbone,), adapt(flipped, split, backbone), RANKING, ctx=context())
    assert len(found.suspects) >= 8 and set(found.suspects.tolist()) <= set(wrong.tolist())
    assert list(found.rival_classes) == data.targets[found.suspects].tolist()
    expected, low, high = found.wrong_labels
    assert low <= len(found.suspects) <= high and expected > 0.5 * len(found.suspects)
    sound = evaluate_model(data, split, (backbone,), adapt(data, split, backbone), RANKING, ctx=context())
    assert not len(sound.suspects) and sound.wrong_labels == ()


def test_a_suspect_of_any_split_carries_the_class_and_probability_that_contradict_its_label():
    rng = np.random.default_rng(0)
    logits = 4 * rng.normal(size=(1200, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = (p.cumsum(axis=1) < rng.random((1200, 1))).sum(axis=1)  # the labels are as sure as the model says
    labels, wrong = y.copy(), np.arange(600, 1200, 10)
    labels[wrong] = (y[wrong] + 1) % 3
    sound, flipped = (_part(labels, p).select(half) for half in (np.arange(600), np.arange(600, 1200)))
    found = find_suspect_labels({"test": sound, "val": flipped})
    assert np.isin(found.rows, wrong).mean() > 0.7 and len(found.rows) > 30
    np.testing.assert_array_equal(found.rivals, p[found.rows].argmax(axis=1))
    np.testing.assert_array_equal(found.rival_probabilities, p[found.rows].max(axis=1))
    assert found.wrong[1] <= np.isin(found.rows, wrong).sum() <= found.wrong[2]
    assert not len(find_suspect_labels({"test": sound, "train": flipped}).rows)  # learnt by heart


def test_confident_right_answers_are_no_suspects():
    y = np.arange(30) % 3
    found = find_suspect_labels({"test": _part(y, np.eye(3)[y] * 0.9 + 1 / 30)})
    assert len(found.rows) == 0 and found.wrong == ()


def test_a_threshold_comes_from_cross_validation_and_moves_the_answers(context):
    plain, _, data, split = made(context)
    found, *_ = made(context, positive="cedar", name="b")
    assert 0 < found.threshold < 1
    assert plain.threshold is None
    answered = found.confusion[:, 2].sum()
    assert answered == (found.probabilities[:, 2] >= found.threshold).sum()
    targets = data.targets.copy()
    targets[split.test] = 0
    other, *_ = made(context, data=dataclasses.replace(data, targets=targets), split=split, positive="cedar", name="c")
    assert other.threshold == found.threshold


def test_nested_answers_are_the_headline_in_every_number(context):
    """All numbers come from searches that had not seen the fold, under a threshold too."""
    data = dataset(300)
    rng, y = np.random.default_rng(3), np.asarray(data.targets)
    nested = rng.dirichlet(np.ones(3), 300).astype(np.float32)
    right = float(np.mean(nested.argmax(axis=1) == y))
    found, ctx, *_ = made(context, data=data, split=splits(data, test=0), nested=nested)
    assert found.nested and not found.is_optimistic
    assert one(found.scores, "cv", "accuracy").value == pytest.approx(right)
    assert np.trace(found.confusion) / 300 == pytest.approx(right)
    assert np.array_equal(found.probabilities, nested)
    assert "nested cv accuracy" in ctx.console.err.getvalue()
    assert "on nested held-out folds (n = 300)" in verdict(found, "headline").sentence
    found, *_ = made(context, data=data, split=splits(data, test=0), nested=nested, positive="cedar", name="b")
    assert one(found.scores, "cv", "accuracy").value == pytest.approx(np.trace(found.confusion) / 300)
    assert found.confusion[:, 2].sum() == (nested[:, 2] >= found.threshold).sum()


def test_without_nested_answers_the_headline_says_that_it_flatters(context):
    data = dataset(300)
    found, ctx, *_ = made(context, data=data, split=splits(data, test=0))
    assert found.is_optimistic
    assert "held-out folds (n = 300, optimistic: these folds also chose" in verdict(found, "headline").sentence
    assert "optimistic: these folds also chose the model" in ctx.console.err.getvalue()


def test_costs_are_counted_and_move_the_answers(context, tmp_path):
    path = tmp_path / "costs.csv"
    path.write_text("truth,ash,beech,cedar\nash,0,1,1\nbeech,1,0,1\ncedar,20,20,0\n")
    plain, _, _, _ = made(context)
    found, *_ = made(context, costs=str(path), name="b")
    cost = one(found.scores, "test", "mean_cost")
    assert cost.low <= cost.value <= cost.high
    [cheapest] = [score for score in found.baselines if score.name == "mean_cost"]
    shares = found.confusion.sum(axis=1) / found.confusion.sum()
    assert cheapest.subject == "always answering cedar"  # any other answer costs 20 for each of its pictures
    assert cheapest.value == pytest.approx(shares[0] + shares[1])
    assert cheapest.low < cheapest.value < cheapest.high and cheapest.n == cost.n
    assert not [score for score in plain.baselines if score.name == "mean_cost"]
    assert found.confusion[:, 2].sum() > plain.confusion[:, 2].sum()
    with pytest.raises(UsageError, match="both say how to answer"):
        made(context, costs=str(path), positive="ash", name="c")
    with pytest.raises(UsageError, match="no class is named `oak`"):
        made(context, positive="oak", name="d")


def test_straddling_pictures_are_told_apart(context):
    data = dataset(300)
    split = splits(data)
    pairs = [(int(split.train[i]), int(split.test[i])) for i in range(9)]
    found, *_ = made(context, data=data, split=dataclasses.replace(split, straddling=np.array(pairs)))
    assert one(found.scores, "test", "accuracy").n == 75
    apart = one(found.scores, "test", "accuracy", "without straddling pictures")
    assert apart.n == 66
    line = _format_line(found, CLASSIFICATION)
    assert f", {apart.value:.3f} [{apart.low:.3f}, {apart.high:.3f}] without 9 that straddle the splits" in line
    caveat = f"9 of these look like a picture of another split, the other 66 have {apart.value:.3f} ["
    assert caveat in verdict(found, "headline").sentence
    assert "another split" not in verdict(made(context, name="b")[0], "headline").sentence


def test_a_class_that_no_picture_of_the_test_shows_is_named_in_the_headline(context):
    data = dataset(300)
    split = splits(data)
    test = split.test[np.asarray(data.targets)[split.test] != 2]
    found, *_ = made(context, data=data, split=dataclasses.replace(split, test=test))
    assert "none of these shows `cedar`; " in verdict(found, "headline").sentence


def test_the_files_are_whole_and_equal_byte_for_byte(context):
    found, ctx, data, split = made(context)
    folder = ctx.make_step_folder("evaluate")
    with (folder / "predictions.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [r["uri"] for r in rows if r["split"] == "test"] == [data.uris[i] for i in split.test]
    assert {r["split"] for r in rows} == {"test", "cv"}
    right = np.mean([r["truth"] == r["answer"] for r in rows if r["split"] == "test"])
    assert right == pytest.approx(one(found.scores, "test", "accuracy").value)
    assert float(rows[0]["p ash"]) == pytest.approx(found.probabilities[0, 0], rel=1e-5)
    with (folder / "scores.csv").open() as handle:
        assert len(list(csv.DictReader(handle))) == len(found.scores) + len(found.baselines)
    loaded = serialization.load_value(Evaluation, folder)
    assert serialization.as_json(loaded) == serialization.as_json(found)
    _, again, *_ = made(context, name="again")
    for path in sorted(folder.iterdir()):
        assert path.read_bytes() == (again.make_step_folder("evaluate") / path.name).read_bytes(), path.name


def test_knn_learns_from_fewer_pictures_when_many_are_asked(context, monkeypatch):
    monkeypatch.setattr("headstart.evaluation.baselines.SEARCHED", 60)
    monkeypatch.setattr("headstart.evaluation.baselines.PAIRS", 100)
    found, *_ = made(context)
    assert one(found.baselines, "test", "accuracy", "kNN").n == 100
    data = dataset(300)
    found, *_ = made(context, data=data, split=splits(data, test=0), name="b")
    assert one(found.baselines, "cv", "accuracy", "kNN").n == 60


def test_neighbours_learn_from_the_other_folds_where_one_fold_alone_is_judged(context):
    """As after a fine-tuning that had time for one fold."""
    data = dataset(300)
    split, backbone = splits(data, test=0), embeddings(data, "made:good", {"last": 2.0})
    adapted = adapt(data, split, backbone)
    is_judged = split.folds[0, adapted.cv_rows] == 0
    adapted = dataclasses.replace(
        adapted, cv_rows=adapted.cv_rows[is_judged], cv_probabilities=adapted.cv_probabilities[is_judged]
    )
    found = evaluate_model(data, split, (backbone,), adapted, RANKING, ctx=context(), controls=())
    neighbours = one(found.baselines, "cv", "accuracy", "kNN")
    assert neighbours.n == is_judged.sum() and neighbours.value > 0.6


@pytest.mark.parametrize(("share_found", "is_told"), [(0.2, True), (0.8, False)])
def test_a_label_that_is_missed_far_more_than_others_is_named(share_found, is_told):
    rng = np.random.default_rng(0)
    y = rng.random((300, 3)) < 0.4
    answers = y & (rng.random((300, 3)) < [0.9, share_found, 0.9])
    part = dataclasses.replace(_part(y, answers * 1.0, answers), task=MULTILABEL)
    verdict_list = verdicts.find_uneven_labels(part, ("ash", "oak", "yew"))
    assert bool(verdict_list) == is_told
    if is_told:
        n, hits = y[:, 1].sum(), answers[:, 1].sum()
        assert verdict_list[0].sentence.startswith(
            f"of {n} pictures with `oak` {hits} are found, of the other labels 0."
        )


def test_a_difference_of_rare_labels_matters_in_parts_of_their_loss():
    """1,000 labels, each on one picture of 300: to know all would gain 0.02 nats a label."""
    y = np.zeros((300, 1000), bool)
    y[np.arange(1000) % 300, np.arange(1000)] = True
    p = np.where(y, 0.9, 0.0005)
    rows = np.arange(300)
    parts = {
        name: JudgedSplit(split="screen", rows=rows, y=y, p=q, answers=q >= 0.5, clusters=rows, task=MULTILABEL)
        for name, q in ((MODEL, p), (HISTOGRAM, np.full_like(p, y.mean())), (RANDOM, np.full_like(p, y.mean())))
    }
    assert verdicts.judge_transfer(parts, rows).answer == "yes"
