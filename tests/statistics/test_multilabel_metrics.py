"""Scores of several labels a picture: scikit-learn's values, and intervals that hold the truth as often as promised."""

import numpy as np
import pytest

from headstart.core.types import MULTILABEL
from headstart.statistics import metrics, multilabel_metrics


def draw_sample(n, rng, sure=2.0):
    """Labels (n, 3) of which one is rare and two go together, and calibrated probabilities of them."""
    common = rng.normal(size=(n, 1))
    logits = sure * rng.normal(size=(n, 3)) + common * [1, 1, 0] - [0, 0.5, 2.5]
    p = 1 / (1 + np.exp(-logits))
    return rng.random((n, 3)) < p, p


def test_scores_are_those_of_scikit_learn():
    from sklearn import metrics as theirs

    y, p = draw_sample(400, np.random.default_rng(0))
    ours = {
        (s.subject, s.name): s
        for s in metrics.compute_scores(y, p, split="test", class_names=("a", "b", "c"), task=MULTILABEL)
    }
    answers = p >= 0.5
    expected = {
        "micro_f1": theirs.f1_score(y, answers, average="micro"),
        "macro_f1": theirs.f1_score(y, answers, average="macro"),
        "mean_average_precision": theirs.average_precision_score(y, p, average="macro"),
        "exact_match": theirs.accuracy_score(y, answers),
        "binary_log_loss": np.mean([theirs.log_loss(y[:, c], p[:, c]) for c in range(3)]),
    }
    assert {name: ours["", name].value for name in multilabel_metrics.NAMES} == pytest.approx(expected)
    assert ours["c", "roc_auc"].value == pytest.approx(theirs.roc_auc_score(y[:, 2], p[:, 2]))
    assert ours["a", "recall"].value == pytest.approx(theirs.recall_score(y[:, 0], answers[:, 0]))
    assert all(s.low <= s.value <= s.high and s.low < s.high for s in ours.values())


def test_intervals_hold_the_long_run_score_about_as_often_as_promised():
    rng = np.random.default_rng(1)
    y, p = draw_sample(200_000, rng)
    truth = {name: metrics.compute_score(name, y, p, split="test").value for name in multilabel_metrics.NAMES}
    inside = dict.fromkeys(multilabel_metrics.NAMES, 0)
    for _ in range(120):
        rows = rng.integers(0, len(y), 150)
        for name in inside:
            score = metrics.compute_score(name, y[rows], p[rows], split="test")
            inside[name] += score.low <= truth[name] <= score.high
    assert min(inside.values()) >= 0.88 * 120, inside


def test_a_label_without_a_picture_stays_out_of_the_averages():
    y, p = draw_sample(100, np.random.default_rng(2))
    alone = metrics.compute_score("macro_f1", y[:, :2], p[:, :2], split="test")
    y[:, 2] = False
    scores = metrics.compute_scores(y, p, split="test", class_names=("a", "b", "c"), task=MULTILABEL)
    absent = next(s for s in scores if (s.subject, s.name) == ("c", "f1"))
    assert np.isnan(absent.value) and absent.n == 0
    assert next(s for s in scores if s.name == "macro_f1").value == pytest.approx(alone.value)


def test_copies_of_pictures_widen_every_interval():
    y, p = draw_sample(60, np.random.default_rng(3))
    rows = np.repeat(np.arange(60), 4)
    for name in multilabel_metrics.NAMES:
        one, copies = (metrics.compute_score(name, y[r], p[r], split="test", clusters=r) for r in (np.arange(60), rows))
        assert copies.high - copies.low > 0.8 * (one.high - one.low), name


def test_no_right_label_at_all_is_no_certainty():
    y, _ = draw_sample(40, np.random.default_rng(4))
    score = metrics.compute_score("micro_f1", y, np.zeros(y.shape), split="test")
    assert score.value == score.low == 0 and 0.02 < score.high < 0.3
