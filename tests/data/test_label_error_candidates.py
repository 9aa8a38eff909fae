"""D203 on scikit-learn's handwritten digits: wrong labels are named, right ones are not."""

import dataclasses

import numpy as np
import pytest
from sklearn.datasets import load_digits

import audit_sets
from headstart.core.types import AuditInput
from headstart.data.checks.d203_label_errors import PLUGIN

DIGITS = load_digits()
VECTORS, TRUTH = DIGITS.data[:900].astype(np.float32), DIGITS.target[:900].astype(np.int64)


def check(targets, vectors=VECTORS, clusters=None, **about):
    data = dataclasses.replace(audit_sets.from_targets(targets), **about)
    return PLUGIN(AuditInput(data=data, folds=5, vectors=vectors, rows=np.arange(len(targets)), clusters=clusters))


@pytest.fixture(scope="module")
def flipped():
    """Labels of which 45 of 900, 5 %, are wrong."""
    rng, targets = np.random.default_rng(0), TRUTH.copy()
    rows = rng.choice(len(TRUTH), 45, replace=False)
    targets[rows] = (TRUTH[rows] + rng.integers(1, 10, 45)) % 10
    return targets


@pytest.mark.parametrize("task", ["classification", "ordinal"])
def test_right_labels_raise_no_candidate(task):
    outcome = check(TRUTH, task=task)
    assert outcome.status == "passed" and "beyond what the model's own mistakes explain" in outcome.why


@pytest.mark.parametrize("task", ["classification", "ordinal"])
def test_wrong_labels_are_ranked_candidates_with_likelier_classes(flipped, task):
    outcome = check(flipped, task=task)
    [finding] = outcome.findings
    rows, wrong = np.array(finding.rows), flipped != TRUTH
    assert outcome.status == "issue" and finding.severity == "warning" and not finding.remove_rows
    assert wrong[rows].sum() >= 0.7 * 45 and wrong[rows].mean() >= 0.7  # in random order 5 % of those named
    assert wrong[rows[:20]].mean() >= 0.9
    hits = [row for row in range(len(rows)) if wrong[rows[row]]]
    right = [finding.likelier_classes[hit] == f"class{TRUTH[rows[hit]]}" for hit in hits]
    assert len(finding.likelier_classes) == len(rows) and np.mean(right) > 0.8
    assert "label-error candidates" in finding.sentence and "of 900 pictures are likely to be wrong" in finding.sentence
    assert "may be right" in finding.fix


def test_copies_and_groups_do_not_vouch_for_each_other():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(0, 600, 3), 3)  # 200 pictures of noise, three of each; of 40 one is mislabelled
    vectors = rng.normal(size=(200, 200)).astype(np.float32)[clusters // 3]
    targets = rng.integers(0, 2, 200)[clusters // 3]
    targets[:120:3] = 1 - targets[:120:3]
    assert check(targets, vectors).status == "issue"  # learnt by heart from the other copies
    assert check(targets, vectors, clusters).status == "passed"


def test_what_cannot_be_judged_is_said(flipped):
    few = check(TRUTH[:90], VECTORS[:90])
    assert few.status == "skipped" and "90 pictures" in few.why and "100 are needed" in few.why
    rare = np.where(np.arange(900) < 3, 10, TRUTH)
    assert "1 class of fewer than 5 pictures or groups left out" in check(rare).why
    labels = dataclasses.replace(
        audit_sets.from_targets(TRUTH), task="multilabel", targets=np.eye(10, dtype=bool)[TRUTH]
    )
    outcome = PLUGIN(AuditInput(data=labels, folds=5, vectors=VECTORS, rows=np.arange(900)))
    assert outcome.status == "not_applicable" and "it asks about classes" in outcome.why
