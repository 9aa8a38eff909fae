"""Scores over repeats."""

import numpy as np
import pytest

from headstart.heads.repeated_cv import average_scores, make_difference_score
from headstart.statistics import metrics
from headstart.statistics.intervals import Interval

Y = np.array([0, 0, 1, 1, 1])


def said(*answers):
    return np.eye(2, dtype=np.float32)[list(answers)]


def test_value_and_ends_are_means_over_the_repeats():
    one, other = said(0, 0, 1, 1, 1), said(0, 1, 1, 1, 0)
    found = average_scores("accuracy", Y, np.stack([one, other]), split="cv")
    each = [metrics.compute_score("accuracy", Y, p, split="cv") for p in (one, other)]
    assert (found.value, found.n, found.split) == (pytest.approx(0.8), 5, "cv")
    assert found.low == pytest.approx(np.mean([s.low for s in each]))
    assert found.high == pytest.approx(np.mean([s.high for s in each]))


def test_what_a_repeat_did_not_judge_stays_out_with_its_cluster():
    held = said(0, 0, 1, 1, 0)
    held[4] = np.nan
    clusters = np.array([0, 1, 2, 2, 4])
    found = average_scores("accuracy", Y, held[None], split="cv", clusters=clusters)
    assert found == metrics.compute_score("accuracy", Y[:4], held[:4], split="cv", clusters=clusters[:4])
    assert found.value == 1.0


def test_of_accuracies_more_is_better():
    lost = Interval(0.1, 0.05, 0.2)
    worse = make_difference_score(lost, "balanced_accuracy", split="cv", n=9)
    assert (worse.value, worse.low, worse.high, worse.n) == (-0.1, -0.2, -0.05, 9)
    assert make_difference_score(lost, "log_loss", split="cv", n=9).high == 0.2
