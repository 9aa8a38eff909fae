"""The table "did it pay", on answers made by hand: rows, paired differences to the digit, and what is concluded."""

import dataclasses

import numpy as np
import pytest

from headstart.core.types import (
    ORDINAL,
    CurvePoint,
    Embeddings,
    EmbedKey,
    Feature,
    FeatureLevel,
    FineTuningResult,
    FitResult,
    FittedHead,
    Score,
    TunedNetwork,
)
from headstart.evaluation import ablation, transfer_verdicts
from headstart.evaluation.ablation import PROBE, RANDOM, TUNED
from headstart.evaluation.baselines import HISTOGRAM, MAJORITY, MEDIAN, BaselineInputs
from headstart.statistics.intervals import mean_bootstrap
from judged_sets import dataset, splits
from tuned_samples import RECIPE, SPEC, log

SURE = 4.0


def answers(name, y, right):
    """A trunk whose features say the true class where `right`, else the next one; a head that passes them on."""
    said = np.where(right, y, (y + 1) % 3)
    x = (SURE * np.eye(3)[said]).astype(np.float32)
    spec = dataclasses.replace(SPEC, name=name, depths=(FeatureLevel(name="features", dim=3),))
    key = EmbedKey(backbone=name, revision="1", input=spec.input, depths=spec.depths, precision="f32", engine="made")
    rows, vectors = np.arange(len(y)), {"features": x}
    return Embeddings(key=key, spec=spec, rows=rows, vectors=vectors, seconds=0.0, cached=0, latency_ms=1.0)


HEAD = FittedHead(
    head="softmax",
    kind="linear",
    params={},
    arrays={"weights": np.eye(3, dtype=np.float32), "bias": np.zeros(3, np.float32)},
    trainable_params=12,
)


def network(embeddings, n_train, trained):
    return TunedNetwork(
        spec=embeddings.spec,
        backbone="bundled:efficientnet_lite0",
        recipe=RECIPE,
        file="adapt/model.keras",
        fitted=dataclasses.replace(HEAD, trainable_params=trained),
        epochs=3,
        alpha=1.0,
        temperature=1.0,
        soup=(0,),
        trainable_params=trained,
        n_train=n_train,
        flops=1e12,
    )


class Made:
    """A data set, a probe, a tuned network and one from random weights, each right on the pictures that are named."""

    def __init__(self, context, *, probe, tuned=None, random=None, data=None, split=None, taken=True, folds_only=None):
        self.data = data or dataset(240)
        self.split = split or splits(self.data)
        y, n = np.asarray(self.data.targets), len(self.data.uris)
        right = {"probe": probe, "tuned": tuned, "random": random}
        made = {k: answers(f"{k}:made", y, np.isin(np.arange(n), r)) for k, r in right.items() if r is not None}
        train = self.split.train
        held = {k: softmax(np.asarray(e.vectors["features"])[train]) for k, e in made.items()}
        adapted = FitResult(
            strategy="probe",
            features=(Feature(backbone="probe:made", depth="features", dim=3),),
            fitted=dataclasses.replace(HEAD, head="logistic"),
            tried=(),
            why="",
            cv_rows=train,
            cv_probabilities=held["probe"],
            train_probabilities=held["probe"],
            nested=(),
            curve=(),
        )
        self.tuning = FineTuningResult(
            trials=(),
            logs=(),
            outcomes=(),
            network=network(made["tuned"], len(train), 700) if tuned is not None else None,
            scratch=network(made["random"], len(train), 900) if random is not None else None,
            taken=taken,
            why="for a test",
            rows=train,
            probabilities=held.get("tuned", held["probe"]),
            probe_probabilities=held["probe"],
        )
        embeddings = tuple(made.values())
        on = BaselineInputs(
            data=self.data, splits=self.split, embeddings=embeddings, adapted=adapted, seed=context().seed
        )
        self.rows = {row.name: row for row in ablation.make_ablation(on, self.tuning, embeddings)}
        self.test = self.split.test

    def accuracy(self, name):
        return next(s for s in self.rows[name].scores if s.name == "accuracy")

    def verdicts(self, curve=()):
        rows, task = tuple(self.rows.values()), self.data.learning_task
        return {v.code: v for v in transfer_verdicts.make_transfer_verdicts(rows, self.tuning, curve, task)}


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def judged_rows():
    return splits(dataset(240)).test


@pytest.fixture
def made(context, judged_rows):
    """Of 60 test pictures the probe knows 40, the tuned network 50 (30 of the probe's) and random weights 15."""
    known = {"probe": judged_rows[:40], "tuned": judged_rows[10:60], "random": judged_rows[:15]}
    return Made(context, **known)


def test_every_row_answers_for_the_same_pictures_the_plainest_first(made):
    assert list(made.rows) == [MAJORITY, HISTOGRAM, PROBE, TUNED, RANDOM]
    for row in made.rows.values():
        assert {s.name for s in row.scores} == {"accuracy", "balanced_accuracy", "log_loss"}
        assert {(s.split, s.n) for s in row.scores if s.name != "balanced_accuracy"} == {("test", 60)}


def test_grades_are_judged_by_ranks_against_the_median_grade(context, judged_rows):
    data = dataclasses.replace(dataset(240), task="ordinal")
    graded = Made(context, data=data, probe=judged_rows[:40], tuned=judged_rows[10:60], random=judged_rows[:15])
    assert next(iter(graded.rows)) == MEDIAN
    scores = {s.name: s for s in graded.rows[TUNED].scores}
    assert {"quadratic_weighted_kappa", "mean_rank_error", "accuracy", "balanced_accuracy"} < scores.keys()
    y = np.asarray(data.targets)[judged_rows]
    off = np.where(np.arange(60) < 10, np.abs((y + 1) % 3 - y), 0)
    assert scores["mean_rank_error"].value == pytest.approx(off.mean())
    assert {"fine_tuning", "negative_transfer", "data_saved"} == graded.verdicts().keys()


def test_accuracies_are_those_of_the_answers(made):
    y, train = np.asarray(made.data.targets), np.asarray(made.data.targets)[made.split.train]
    largest = np.bincount(train).argmax()
    assert made.accuracy(MAJORITY).value == np.mean(y[made.test] == largest)
    assert [made.accuracy(name).value for name in (PROBE, TUNED, RANDOM)] == [40 / 60, 50 / 60, 15 / 60]
    sure = np.exp(SURE) / (np.exp(SURE) + 2)
    expected = -(40 * np.log(sure) + 20 * np.log((1 - sure) / 2)) / 60
    found = next(s for s in made.rows[PROBE].scores if s.name == "log_loss")
    assert found.value == pytest.approx(expected, abs=1e-5)


def test_differences_are_taken_picture_by_picture(made, context):
    difference = made.rows[TUNED].difference
    hits = np.isin(made.test, made.test[10:60]) * 1.0 - np.isin(made.test, made.test[:40])
    assert difference.value == pytest.approx(10 / 60)
    assert (difference.low, difference.high) == mean_bootstrap(hits, None, seed=0)[1:]
    assert difference.method == "paired bootstrap by cluster"
    assert difference.n == 60
    assert made.rows[PROBE].difference is None
    assert made.rows[RANDOM].difference.value == pytest.approx(-25 / 60)


def test_the_same_accuracy_by_other_pictures_is_told_apart_from_the_same_answers(context, judged_rows):
    same = Made(context, probe=judged_rows[:40], tuned=judged_rows[:40]).rows[TUNED].difference
    assert (same.value, same.method) == (0.0, "rule of three")  # the same answers are no certainty
    assert same.high == -same.low == pytest.approx(1 - 0.05 ** (1 / 60))
    other = Made(context, probe=judged_rows[:40], tuned=judged_rows[20:60]).rows[TUNED].difference
    assert other.value == 0.0
    assert other.low < -0.1
    assert other.high > 0.1


def test_look_alikes_count_once(context, judged_rows):
    data = dataset(240)
    clusters = np.arange(240)
    clusters[judged_rows] = judged_rows[0] - np.arange(60) // 10  # six groups of ten
    split = dataclasses.replace(splits(data), clusters=clusters)
    known = {"probe": judged_rows[:30], "tuned": judged_rows[:45]}
    alone = Made(context, **known).rows[TUNED].difference
    grouped = Made(context, **known, data=data, split=split).rows[TUNED].difference
    assert alone.value == grouped.value == 0.25
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_counts_of_pictures_and_weights(made):
    n = len(made.split.train)
    assert {name: row.n_train for name, row in made.rows.items()} == dict.fromkeys(made.rows, n)
    assert [made.rows[name].trained for name in (MAJORITY, PROBE, TUNED, RANDOM)] == [0, 12, 700, 900]
    assert made.rows[HISTOGRAM].trained == 64 * 3 + 3


def test_the_histogram_learns_from_training_pictures_alone(context, judged_rows):
    """Pictures whose histogram is their class are told; that of test pictures does not teach."""
    data, only_test = dataset(240), np.zeros(240, bool)
    only_test[judged_rows] = True
    told = np.full((240, 64), 1 / 64, np.float32)
    told[:, :3] += np.eye(3, dtype=np.float32)[np.asarray(data.targets)]
    known = {"probe": judged_rows[:40], "tuned": judged_rows[:40]}

    def accuracy(histogram):
        facts = dataclasses.replace(data.facts, histogram=histogram)
        return Made(context, **known, data=dataclasses.replace(data, facts=facts)).accuracy(HISTOGRAM).value

    assert accuracy(told) == 1.0
    assert accuracy(np.where(only_test[:, None], told, np.float32(1 / 64))) < 0.6


def test_without_a_test_split_the_given_val_judges(context):
    data = dataset(240)
    split = splits(data, test=0.0, val=0.25)
    made = Made(context, probe=split.val[:20], tuned=split.val[:30], data=data, split=split)
    assert {s.split for row in made.rows.values() for s in row.scores} == {"val"}
    assert made.rows[TUNED].difference.value == pytest.approx(10 / 60)


def test_with_neither_the_first_fold_judges_and_nobody_learnt_from_it(context):
    data = dataset(240)
    split = splits(data, test=0.0)
    first = np.flatnonzero(split.folds[0] == 0)
    made = Made(context, probe=first[:20], tuned=first[:45], random=first[:10], data=data, split=split)
    assert {(s.split, s.n) for row in made.rows.values() for s in row.scores if s.name == "accuracy"} == {("cv", 60)}
    assert [made.accuracy(name).value for name in (PROBE, TUNED, RANDOM)] == [20 / 60, 45 / 60, 10 / 60]
    assert [made.rows[name].n_train for name in (PROBE, HISTOGRAM, TUNED)] == [180, 180, 180]


def test_without_a_random_twin_nothing_is_said_of_transfer(context, judged_rows):
    made = Made(context, probe=judged_rows[:40], tuned=judged_rows[:50])
    assert RANDOM not in made.rows
    assert set(made.verdicts()) == {"fine_tuning"}


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("known", "answer", "said"),
    [(58, "yes", "fine-tuning pays"), (41, "unclear", "is unclear"), (15, "no", "fine-tuning loses")],
)
def test_fine_tuning_pays_when_the_interval_says_so(context, judged_rows, known, answer, said):
    verdict = Made(context, probe=judged_rows[:40], tuned=judged_rows[:known], taken=False).verdicts()["fine_tuning"]
    assert verdict.answer == answer
    assert verdict.sentence.startswith(said) or said in verdict.sentence
    assert f"accuracy {(known - 40) / 60:+.3f} [" in verdict.sentence
    assert "the frozen probe is handed over: for a test" in verdict.sentence


def test_a_network_of_which_nothing_was_trained_is_no_result(context, judged_rows):
    made = Made(context, probe=judged_rows[:40], tuned=judged_rows[:58])
    made.tuning = dataclasses.replace(made.tuning, network=dataclasses.replace(made.tuning.network, alpha=0.0))
    verdict = made.verdicts()["fine_tuning"]
    assert verdict.answer == "no"
    assert verdict.sentence == "fine-tuning gave nothing: for a test"
    made.tuning = dataclasses.replace(made.tuning, taken=False)
    sentence = "fine-tuning gave nothing: for a test; the frozen probe is handed over"
    assert made.verdicts()["fine_tuning"].sentence == sentence


YES, NO = (
    "negative transfer: random weights, trained, do better than pre-trained ones",
    "no negative transfer: the same",
)
ORDERS = {  # how many of 60 pictures each knows; random weights harm only where they beat whatever else there is
    "tuned > random > probe": ((15, 58, 35), "no"),
    "tuned > probe > random": ((35, 58, 15), "no"),
    "probe > tuned > random": ((58, 35, 15), "no"),
    "probe > random > tuned": ((58, 15, 35), "no"),
    "random > tuned > probe": ((15, 35, 58), "yes"),
    "random > probe > tuned": ((35, 15, 58), "yes"),
    "all nearly alike": ((40, 41, 42), "unclear"),
}


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("order", ORDERS)
def test_negative_transfer_is_judged_against_the_better_of_probe_and_network(context, judged_rows, order, taken):
    (probe, tuned, random), answer = ORDERS[order]
    counts = {"probe": probe, "tuned": tuned, "random": random}
    made = Made(context, taken=taken, **{name: judged_rows[:count] for name, count in counts.items()})
    verdict = made.verdicts()["negative_transfer"]
    assert verdict.answer == answer
    said = {"yes": YES, "no": NO, "unclear": "whether pre-trained weights help or harm is unclear"}[answer]
    assert verdict.sentence.startswith(said)
    assert f"{(random - tuned) / 60:+.3f} [" in verdict.sentence
    assert f"{(random - probe) / 60:+.3f} [" in verdict.sentence
    rival = "fine-tuned network" if taken else "frozen probe"
    assert f"against the {rival}, which is handed over" in verdict.sentence


def test_grades_are_rated_by_the_median_grade_and_have_the_score_of_their_curve(context, judged_rows):
    data = dataclasses.replace(dataset(240), task="ordinal")
    made = Made(context, probe=judged_rows[:20], tuned=judged_rows[:40], random=judged_rows[:15], data=data)
    names = [score.name for score in made.rows["fine-tuned"].scores]
    assert {*ORDINAL.headline, ORDINAL.curve, ORDINAL.metrics[0]} == {*names}
    assert made.rows["fine-tuned"].difference.name == "accuracy" and made.rows["fine-tuned"].difference.value > 0
    verdicts = transfer_verdicts.make_transfer_verdicts(tuple(made.rows.values()), made.tuning, (), ORDINAL)
    assert [v.code for v in verdicts] == ["fine_tuning", "negative_transfer", "data_saved"]


def test_what_is_said_of_random_weights_names_how_long_they_were_trained(context, judged_rows):
    made = Made(context, probe=judged_rows[:40], tuned=judged_rows[:40], random=judged_rows[:15])
    losses = {"still": [0.9, 0.7, 0.5], "done": [0.9, 0.2, 0.199]}
    said = {}
    for name, curve in losses.items():
        scratch = dataclasses.replace(made.tuning.scratch, flops=2e12)
        logs = (dataclasses.replace(log(curve, curve, 3, fold=-1), trial=-1),)
        tuning = dataclasses.replace(made.tuning, logs=logs, scratch=scratch)
        verdicts = transfer_verdicts.make_transfer_verdicts(tuple(made.rows.values()), tuning, ())
        said[name] = next(v.sentence for v in verdicts if v.code == "negative_transfer")
    assert "after 3 epochs, 2.0 times its operations; it was still learning" in said["still"]
    assert said["done"].endswith("after 3 epochs, 2.0 times its operations")


def point(n_train, value):
    return CurvePoint(n_train=n_train, score=dataclasses.replace(BALANCED, value=value))


BALANCED = Score(split="cv", name="balanced_accuracy", value=0.0, low=0.0, high=0.1, n=60, method="wilson")


def test_labels_saved_are_read_from_the_real_curve(context, judged_rows):
    made = Made(context, probe=judged_rows, tuned=judged_rows, random=judged_rows[::2])
    target = next(s.value for s in made.rows[RANDOM].scores if s.name == "balanced_accuracy")
    assert 0.4 < target < 0.6
    curve = [point(180, 0.9), point(20, target - 0.2), point(45, target)]
    verdict = made.verdicts(curve)["data_saved"]
    assert verdict.answer == "yes"
    assert "with 45 pictures" in verdict.sentence
    assert "1/4 [1/" in verdict.sentence
    first = made.verdicts([point(60, target)])["data_saved"]
    assert "with 60 or fewer pictures" in first.sentence
    assert "1/3 [1/3, " in first.sentence
    assert ": 72 % [72 %, no bound) of the labels" in made.verdicts([point(130, target)])["data_saved"].sentence
    assert ": 200 % [" in made.verdicts([point(360, target)])["data_saved"].sentence


def test_the_interval_of_labels_saved_widens_with_the_score_and_can_leave_the_answer_open(context, judged_rows):
    made = Made(context, probe=judged_rows, tuned=judged_rows, random=judged_rows[::2])
    target = next(s.value for s in made.rows[RANDOM].scores if s.name == "balanced_accuracy")
    steep = made.verdicts([point(30, target - 0.4), point(60, target), point(120, target + 0.4)])["data_saved"]
    flat = made.verdicts([point(30, target - 0.05), point(60, target), point(240, target + 0.05)])["data_saved"]
    assert steep.answer == "yes"
    assert flat.answer == "unclear"
    assert "no bound)" in flat.sentence


def test_labels_saved_cannot_be_said_where_random_weights_guess(context, judged_rows):
    made = Made(context, probe=judged_rows, tuned=judged_rows, random=judged_rows[:1])
    verdict = made.verdicts([point(12, 0.4), point(180, 0.9)])["data_saved"]
    assert verdict.answer == "unclear"
    assert "guessing has 0.333: what it would need to learn the same cannot be said" in verdict.sentence


def test_a_curve_that_never_gets_there_saves_nothing(context, judged_rows):
    made = Made(context, probe=judged_rows[:10], tuned=judged_rows, random=judged_rows)
    verdict = made.verdicts([point(45, 0.5), point(180, float("nan"))])["data_saved"]
    assert verdict.answer == "no"
    assert "no point of the probe's learning curve reaches the 1.000 [" in verdict.sentence


def test_work_saved_is_read_from_the_tuned_network_s_own_epochs(context, judged_rows):
    """Two folds; balanced accuracy is 1 - 0.45 of the log loss or a little more: the target is passed at epoch 2."""
    made = Made(context, probe=judged_rows, tuned=judged_rows, random=judged_rows[:48])
    target = next(s.value for s in made.rows[RANDOM].scores if s.name == "balanced_accuracy")
    near = (1 - target) / 0.45
    held = [[near + 0.2, near - 0.1, 0.01], [near + 0.1, near - 0.1, 0.01]]
    logs = [log(losses, losses, 3, start=near + 0.3, fold=fold) for fold, losses in enumerate(held)]
    scratch = dataclasses.replace(made.tuning.scratch, flops=6e12)

    def said(**changes):
        tuning = dataclasses.replace(made.tuning, **{"logs": tuple(logs), "scratch": scratch, **changes})
        return transfer_verdicts.make_transfer_verdicts(tuple(made.rows.values()), tuning, [point(60, 1.0)])[
            -1
        ].sentence

    # 1e12 operations are three epochs, so that two are 2/3e12: 1/9 of 6e12
    assert "; the tuned network passes it after epoch 2, 1/9 [1/" in said()
    assert said().endswith("] of the operations")
    assert said(scratch=dataclasses.replace(scratch, flops=5e11)).endswith("passes it after epoch 2")
    assert said(scratch=dataclasses.replace(scratch, flops=8e11)).endswith("of the operations")
    assert "after epoch 2, 83 % [" in said(scratch=dataclasses.replace(scratch, flops=8e11))
    short = dataclasses.replace(made.tuning.network, epochs=1)  # what the folds did after it is not in the network
    assert said(network=short).endswith("of the labels")
    past = [dataclasses.replace(one, start=one.epochs[-1].val) for one in logs]
    assert said(logs=tuple(past)).endswith("the tuned network is past it before its first step")
    late = [dataclasses.replace(one, epochs=one.epochs[:1]) for one in logs]
    assert said(logs=tuple(late)).endswith("of the labels")
