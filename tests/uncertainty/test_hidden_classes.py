"""Near strangers: each class is left out in turn, of detector and head, and what is declined of it is counted."""

import dataclasses

import numpy as np
import pytest

from headstart.core import registry
from headstart.core.types import OodDetector, Score, UncertaintyReport
from headstart.heads import cross_validation
from headstart.uncertainty import hidden_classes
from headstart.uncertainty.ood_threshold import TrainingSample
from headstart.uncertainty.summary import judge_unknown

NAMES = ("ash", "beech", "cedar", "date")
RULE = hidden_classes.SetRule(score="least_ambiguous", coverage=0.9)


def sample(n=400, apart=0.0, classes=4, seed=0):
    """Classes on three axes, a little apart; the last lies `apart` along an axis of its own."""
    rng = np.random.default_rng(seed)
    y = np.sort(np.arange(n) % classes)
    x = rng.normal(size=(n, 10)).astype(np.float32)
    x[np.arange(n), y] += 2.5
    x[y == classes - 1, 9] += apart
    return TrainingSample(rows=np.arange(n), x=x, y=y, fold=rng.permutation(n) % 5)


class Logistic:
    """The real head, and what it was asked to learn from."""

    def __init__(self):
        self.head, self.asked = registry.load_plugin("heads", "logistic"), []

    def __call__(self, data, learnt, answered):
        self.asked.append((learnt, answered))
        x, y = data.x, data.y
        count = int(y[learnt].max()) + 1
        params = list(self.head.grid(len(learnt), x.shape[1], count))[:1]
        return cross_validation.fit_and_predict(
            self.head, x, y, learnt, answered, grid=params, n_classes=count, class_weight=None, seed=0
        )[0]


def scored(data, predict=None, names=NAMES):
    scores = hidden_classes.score_hidden_classes(data, "nearest", predict or Logistic(), RULE, names)
    return {(s.name, s.subject): s for s in scores}


def test_neither_head_nor_references_learn_from_the_class_or_from_the_fold_that_is_judged():
    data, head = sample(), Logistic()
    found = scored(data, head)
    assert len(head.asked) == 4 * 5
    for number, (learnt, answered) in enumerate(head.asked):
        assert not (data.y[learnt] == number // 5).any()
        assert set(data.fold[answered]) == {number % 5}
        assert number % 5 not in data.fold[learnt]
    shifted = dataclasses.replace(data, x=np.where((data.y == 3)[:, None], data.x + 50, data.x))
    far = scored(shifted)  # the hidden class alone lies elsewhere now
    assert found["unknown", "hidden class date"].value < 0.3
    assert far["unknown", "hidden class date"].value == 1
    assert far["novelty_auc", "hidden class date"].value == 1
    assert far["unknown", "hidden class date"].n == 100  # each picture once


def test_all_hidden_pictures_are_told_together():
    found = scored(sample(apart=30.0))
    flags = [found["unknown", f"hidden class {name}"] for name in NAMES]
    together = found["unknown", hidden_classes.ALL]
    assert together.n == sum(s.n for s in flags) == 400
    assert together.value == pytest.approx(np.mean([s.value for s in flags]))
    assert 0.25 <= together.value < 0.5


def test_of_many_classes_the_largest_five_are_left_out_and_of_many_pictures_a_thousand_take_part():
    y = np.repeat(np.arange(8), [300, 300, 300, 300, 300, 200, 200, 100])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(len(y), 10)).astype(np.float32)
    x[np.arange(len(y)), y] += 4
    found = scored(
        TrainingSample(rows=np.arange(len(y)), x=x, y=y, fold=rng.permutation(len(y)) % 5), names=tuple("abcdefgh")
    )
    assert [subject for name, subject in found if name == "unknown"] == [
        *(f"hidden class {name}" for name in "abcde"),
        hidden_classes.ALL,
    ]
    assert found["unknown", hidden_classes.ALL].n == 750


def test_of_two_classes_the_distance_alone_tells():
    found = scored(sample(200, apart=30.0, classes=2), names=NAMES[:2])
    assert found["unknown", "hidden class beech"].value == 1


def test_a_class_that_leaves_too_few_is_not_left_out():
    assert scored(sample(36, classes=2), names=NAMES[:2]) == {}


def report(*shares, novelty=True):
    """What was measured: (subject, share, n) each."""
    scores = tuple(
        Score(split="test", name="unknown", value=v, low=max(v - 0.1, 0), high=min(v + 0.1, 1), n=n, subject=subject)
        for subject, v, n in shares
    )
    detector = OodDetector(method="nearest", neighbour=5, limit=1.0, familiar=0.99, arrays={}, tried=())
    return UncertaintyReport(
        coverage=0.9, promise=0.8, score="adaptive", by_class=False, thresholds=np.ones(2), floors=np.full(2, np.inf),
        kept=0.99, n=300, split="cv", why="", novelty=detector if novelty else None, scores=scores,
    )  # fmt: skip


KNOWN, FAR = ("", 0.01, 300), ("handwritten digits", 1.0, 40)


def test_what_declines_almost_no_near_stranger_is_told_not_to_work():
    near = (("hidden class a", 0.06, 100), ("hidden class b", 0.01, 100), (hidden_classes.ALL, 0.035, 200))
    verdict = judge_unknown(report(KNOWN, FAR, *near), trained=False)
    assert (verdict.code, verdict.answer) == ("unknown", "no")
    assert verdict.sentence.startswith("`unknown` does not work here for pictures that are like yours: ")
    assert "3.5 % [0.0 %, 13.5 %] of 200 pictures of 2 classes, each left out in turn" in verdict.sentence
    assert "(least of `b`: 1.0 % [0.0 %, 11.0 %], n = 100)" in verdict.sentence
    assert "100.0 % [90.0 %, 100.0 %] of 40 handwritten digits" in verdict.sentence


def test_what_declines_no_digit_is_told_not_to_work_at_all():
    verdict = judge_unknown(
        report(KNOWN, ("handwritten digits", 0.0, 103), (hidden_classes.ALL, 0.9, 200), ("hidden class a", 0.9, 200)),
        trained=False,
    )
    assert verdict.answer == "no"
    assert verdict.sentence.startswith("`unknown` does not work here: ")


def test_it_works_where_all_kinds_are_declined_and_is_unclear_where_near_ones_were_not_measured():
    near = ((hidden_classes.ALL, 0.9, 200), ("hidden class a", 0.9, 200))
    assert judge_unknown(report(KNOWN, FAR, *near), trained=False).answer == "yes"
    half = ((hidden_classes.ALL, 0.5, 200), ("hidden class a", 0.5, 200))
    assert judge_unknown(report(KNOWN, FAR, *half), trained=False).answer == "unclear"
    trained = judge_unknown(report(KNOWN, FAR), trained=True)
    assert trained.answer == "unclear"
    assert "no class was left out to see: a trained network has learnt from each" in trained.sentence


def test_what_can_never_say_unknown_is_told_not_to_work():
    verdict = judge_unknown(report(KNOWN, novelty=False), trained=False)
    assert verdict.answer == "no"
    assert "`unknown` does not work here: this model cannot say `unknown`" in verdict.sentence
