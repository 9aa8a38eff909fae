"""D204: sides of given splits that pictures of one class tell apart, and sides drawn at random."""

import dataclasses

import numpy as np
import pytest

import audit_sets
from headstart.core.types import AuditInput
from headstart.data.checks.d204_split_drift import LEAST_ROWS
from headstart.data.checks.d204_split_drift import PLUGIN as CHECK

N, WIDTH = 240, 24


def draw(seed=0):
    """Three classes that lie apart, of which the test has other shares than the training side; and vectors."""
    rng = np.random.default_rng(seed)
    targets = np.repeat([0, 1, 2], N // 3)
    sides = np.where(rng.random(N) < np.array([0.2, 0.3, 0.5])[targets], "test", "train")
    vectors = 4 * np.eye(3, WIDTH)[targets] + rng.normal(size=(N, WIDTH)) * np.linspace(0.2, 2, WIDTH)
    return audit_sets.from_targets(targets, split=tuple(sides.tolist())), vectors.astype(np.float32)


def ask(data, vectors):
    return CHECK(AuditInput(data=data, folds=5, vectors=vectors, rows=np.arange(len(data.uris))))


def is_test(data):
    return np.array(data.split) == "test"


def test_shares_of_classes_are_no_drift_and_random_splits_keep_the_level():
    """At the level of 1 % 12 random splits give one alarm at most, but once in 150 times."""
    outcomes = [ask(*draw(seed)) for seed in range(12)]
    assert sum(outcome.status != "passed" for outcome in outcomes) <= 1
    assert "`test` ROC AUC 0." in outcomes[0].why and "0.5 is chance (p = " in outcomes[0].why


def test_a_shift_that_no_class_explains_is_found_with_the_pictures_that_show_it():
    data, vectors = draw()
    other = np.flatnonzero(is_test(data))[::2]  # half of the test is from another camera
    vectors[other, 5:9] += 2.5
    outcome = ask(data, vectors)
    (finding,) = outcome.findings
    assert outcome.status == "issue" and finding.sentence.startswith("pictures of `test` are told from pictures of `tr")
    assert "(p = 0.001, " in finding.sentence and "add such ones to `train`" in finding.fix
    assert len(finding.rows) == 12 and np.isin(finding.rows, other).mean() > 0.9
    moved = ask(dataclasses.replace(data, targets=np.arange(float(N)), task="regression", class_names=()), vectors)
    assert moved.status == "issue"


def test_both_sides_that_judge_are_compared_with_the_one_that_learns():
    data, vectors = draw()
    judging = np.flatnonzero(is_test(data))
    sides = np.array(data.split)
    sides[judging[::2]] = "val"
    vectors[judging[::2], 5:9] += 2.5
    (finding,) = ask(dataclasses.replace(data, split=tuple(sides.tolist())), vectors).findings
    assert "`val`" in finding.sentence


def test_frames_of_one_scene_count_once():
    """Whole scenes lie on one side: as single pictures the sides differ, as scenes they do not."""
    rng = np.random.default_rng(3)
    scenes = np.repeat(np.arange(120), 5)
    sides = tuple("test" if scene % 3 == 0 else "train" for scene in scenes.tolist())
    vectors = (rng.normal(size=(120, WIDTH))[scenes] + 0.1 * rng.normal(size=(600, WIDTH))).astype(np.float32)
    data = audit_sets.from_targets(scenes % 2, split=sides)
    assert ask(data, vectors).status != "passed"
    assert ask(dataclasses.replace(data, groups=tuple(map(str, scenes))), vectors).status == "passed"
    assert ask(dataclasses.replace(data, digests=tuple(map(str, scenes))), vectors).status == "passed"


def test_copies_on_both_sides_hide_no_drift_and_are_none():
    data, vectors = draw()
    judging, learning = np.flatnonzero(is_test(data)), np.flatnonzero(~is_test(data))
    copies, originals = judging[::3], learning[::3][: len(judging[::3])]
    digests = np.array(data.digests)
    digests[copies] = digests[originals]
    vectors[np.setdiff1d(judging, copies), 5:9] += 2.5
    vectors[copies] = vectors[originals]
    (finding,) = ask(dataclasses.replace(data, digests=tuple(digests)), vectors).findings
    assert f"{len(learning) - len(originals)} and {len(judging) - len(copies)} pictures" in finding.sentence


@pytest.mark.parametrize("count", [0, LEAST_ROWS - 1])
def test_without_given_splits_or_with_few_pictures_nothing_is_said(count):
    data, vectors = draw()
    sides = ("test",) * count + ("train" * (count > 0),) * (N - count)
    assert ask(dataclasses.replace(data, split=sides), vectors).status == "not_applicable"


def test_pictures_without_labels_are_not_compared_and_it_says_what_is_missing():
    data, vectors = draw()
    data = dataclasses.replace(data, task="unlabelled", class_names=(), targets=np.zeros(N, np.int64))
    assert ask(data, vectors).why == "pictures of one label are compared, and there are no labels"
    assert "gives no splits" in ask(dataclasses.replace(data, split=("",) * N), vectors).why
