"""Scores agree with scikit-learn, their intervals cover the truth, and odd splits give NaN with n = 0."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.statistics import metrics
from headstart.statistics.auc import average_precision, roc_auc

NAMES = ("a", "b", "c")


def drawn(n=300, seed=0, shares=(0.6, 0.3, 0.1), skill=1.0):
    """Labels and probabilities of a middling classifier."""
    rng = np.random.default_rng(seed)
    y = rng.choice(len(shares), n, p=shares)
    logits = rng.normal(size=(n, len(shares)))
    logits[np.arange(n), y] += skill
    p = np.exp(logits)
    return y, p / p.sum(axis=1, keepdims=True)


def by_key(scores):
    return {(s.name, s.subject): s for s in scores}


@given(seed=st.integers(0, 10_000), n=st.integers(30, 200), skill=st.floats(0, 3))
@settings(deadline=None, max_examples=25)
def test_values_are_those_of_scikit_learn(seed, n, skill):
    from sklearn import metrics as sk

    y, p = drawn(n, seed, (0.4, 0.35, 0.25), skill)
    if len(np.unique(y)) < 3:
        return
    answers, hot = p.argmax(axis=1), np.eye(3)[y]
    found = {
        key: score.value for key, score in by_key(metrics.compute_scores(y, p, split="t", class_names=NAMES)).items()
    }
    precision, recall, f1, _ = sk.precision_recall_fscore_support(y, answers, labels=[0, 1, 2], zero_division=0)
    expected = {
        ("accuracy", ""): sk.accuracy_score(y, answers),
        ("balanced_accuracy", ""): sk.balanced_accuracy_score(y, answers),
        ("macro_precision", ""): precision.mean(),
        ("macro_recall", ""): recall.mean(),
        ("macro_f1", ""): f1.mean(),
        ("log_loss", ""): sk.log_loss(y, p),
        ("brier", ""): np.mean(np.sum((p - hot) ** 2, axis=1)),
        ("roc_auc", ""): sk.roc_auc_score(y, p, multi_class="ovr"),
        ("average_precision", ""): sk.average_precision_score(hot, p),
    }
    for c, name in enumerate(NAMES):
        table = sk.confusion_matrix(y == c, answers == c)
        expected |= {
            ("precision", name): precision[c],
            ("recall", name): recall[c],
            ("f1", name): f1[c],
            ("specificity", name): table[0, 0] / table[0].sum(),
            ("roc_auc", name): sk.roc_auc_score(hot[:, c], p[:, c]),
            ("average_precision", name): sk.average_precision_score(hot[:, c], p[:, c]),
        }
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-9), key


@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), classes=st.integers(2, 5))
@settings(deadline=None, max_examples=60)
def test_every_interval_holds_its_value_and_has_n_and_method(seed, n, classes):
    rng = np.random.default_rng(seed)
    y, p = rng.integers(0, classes, n), rng.dirichlet(np.full(classes, 0.3), n)
    clusters = rng.integers(0, n, n)
    for score in metrics.compute_scores(y, p, split="t", class_names=tuple("abcde"[:classes]), clusters=clusters):
        assert score.method
        if not np.isnan(score.value):
            assert score.low <= score.value <= score.high
            if score.name not in ("log_loss", "brier"):
                assert 0 <= score.low <= score.high <= 1


def test_a_class_without_pictures_is_nan_with_n_0_and_out_of_the_average():
    y, p = drawn(seed=1)
    kept = y != 2
    found = by_key(metrics.compute_scores(y[kept], p[kept], split="t", class_names=NAMES))
    for name in ("precision", "recall", "specificity", "f1", "roc_auc", "average_precision"):
        assert np.isnan(found[name, "c"].value)
        assert found[name, "c"].n == 0
        assert np.isfinite(found[name, "a"].value)
    recalls = [found["recall", name].value for name in "ab"]
    assert found["balanced_accuracy", ""].value == pytest.approx(np.mean(recalls))


def test_one_class_alone_has_no_area_and_no_picture_no_scores():
    y, p = drawn(40)
    found = by_key(metrics.compute_scores(np.zeros(40, int), p, split="t", class_names=NAMES))
    assert np.isnan(found["roc_auc", ""].value)
    assert found["roc_auc", ""].n == 0
    assert metrics.compute_scores(y[:0], p[:0], split="t", class_names=NAMES) == ()


def test_score_is_the_same_as_in_scores():
    y, p = drawn(seed=2)
    clusters = np.arange(300) // 3
    found = by_key(metrics.compute_scores(y, p, split="t", class_names=NAMES, clusters=clusters))
    for name in metrics.NAMES:
        assert metrics.compute_score(name, y, p, split="t", clusters=clusters) == found[name, ""]
    with pytest.raises(ValueError, match="no score is named `auc`; known: accuracy"):
        metrics.compute_score("auc", y, p, split="t")
    with pytest.raises(ValueError, match="do not fit 299 labels"):
        metrics.compute_score("accuracy", y[1:], p, split="t")


def test_answers_may_differ_from_the_most_probable_class():
    y, p = drawn(seed=3)
    found = by_key(metrics.compute_scores(y, p, split="t", class_names=NAMES, answers=y))
    assert found["accuracy", ""].value == 1
    assert found["roc_auc", ""].value < 1


def test_a_perfect_score_keeps_a_lower_end_below_1():
    y = np.arange(24) % 3
    found = metrics.compute_scores(y, np.eye(3)[y] * 0.97 + 0.01, split="t", class_names=NAMES)
    for score in found:
        if score.name not in ("log_loss", "brier", "ece"):
            assert score.value == pytest.approx(1)
            assert 0.5 < score.low < 0.96, score


def test_twins_widen_every_interval_and_move_no_value():
    y, p = drawn(100, seed=4)
    y2, p2, clusters = np.repeat(y, 2), np.repeat(p, 2, axis=0), np.repeat(np.arange(100), 2)
    once = by_key(metrics.compute_scores(y, p, split="t", class_names=NAMES))
    twice = by_key(metrics.compute_scores(y2, p2, split="t", class_names=NAMES, clusters=clusters))
    for key, score in once.items():
        if key[0] != "ece":
            assert twice[key].value == pytest.approx(score.value)
            assert twice[key].high - twice[key].low == pytest.approx(score.high - score.low, rel=0.05), key


COVERED = ("accuracy", "balanced_accuracy", "macro_precision", "macro_f1", "roc_auc", "average_precision", "log_loss")


@pytest.mark.medium
@pytest.mark.parametrize(("n", "shares", "skill"), [(60, (0.5, 0.3, 0.2), 1.0), (400, (0.6, 0.3, 0.1), 2.0)])
def test_intervals_cover_the_truth(n, shares, skill):
    y, p = drawn(100_000, 99, shares, skill)
    truth = {k: s.value for k, s in by_key(metrics.compute_scores(y, p, split="t", class_names=NAMES)).items()}
    hits = dict.fromkeys(truth, 0)
    rounds = 600
    for seed in range(rounds):
        found = by_key(metrics.compute_scores(*drawn(n, seed, shares, skill), split="t", class_names=NAMES))
        for key, score in found.items():
            hits[key] += score.low <= truth[key] <= score.high
    rates = {key: hit / rounds for key, hit in hits.items()}
    assert {k: r for k, r in rates.items() if k[0] != "ece" and not 0.92 <= r <= 0.995} == {}
    assert rates["ece", ""] > 0.87  # a model that is calibrated at n = 60, one that is not at n = 400
    assert all(rates[name, ""] <= 0.99 for name in COVERED)


@pytest.mark.medium
def test_intervals_cover_when_pictures_come_in_look_alikes():
    def family(seed, n):
        y, p = drawn(n, seed)
        return np.repeat(y, 4), np.repeat(p, 4, axis=0), np.repeat(np.arange(n), 4)

    y, p, _ = family(99, 50_000)
    truth = {k: s.value for k, s in by_key(metrics.compute_scores(y, p, split="t", class_names=NAMES)).items()}
    hits = dict.fromkeys(COVERED, 0)
    for seed in range(400):
        y, p, clusters = family(seed, 60)
        found = by_key(metrics.compute_scores(y, p, split="t", class_names=NAMES, clusters=clusters))
        for name in COVERED:
            hits[name] += found[name, ""].low <= truth[name, ""] <= found[name, ""].high
    assert all(0.92 <= hit / 400 <= 0.99 for hit in hits.values()), hits


@pytest.mark.parametrize("area", [roc_auc, average_precision])
def test_influence_is_the_derivative(area):
    rng = np.random.default_rng(5)
    positive, score = rng.random(80) < 0.3, rng.integers(0, 12, 80) / 12.0
    value, influence = area(positive, score)
    assert influence.sum() == pytest.approx(0, abs=1e-9)
    many = 400  # one picture more among many copies of all
    for m in (3, 17, 50):
        more = np.concatenate([np.tile(positive, many), positive[m : m + 1]])
        moved, _ = area(more, np.concatenate([np.tile(score, many), score[m : m + 1]]))
        assert (moved - value) * many == pytest.approx(influence[m], abs=2e-3)


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "balanced_accuracy"])
def test_the_mean_of_the_losses_is_the_metric(metric):
    y, p = drawn(seed=6)
    loss = metrics.per_picture_loss(metric, y, p)
    value = metrics.compute_score(metric, y, p, split="t").value
    assert loss.mean() == pytest.approx(value if metric == "log_loss" else 1 - value)
    with pytest.raises(ValueError, match="no loss is known"):
        metrics.per_picture_loss("f1", y, p)


def test_calibration_bins_have_equal_mass_and_hold_every_picture():
    y, p = drawn(3000, seed=7)
    bins = metrics.calibration_bins(y, p)
    assert len(bins) == 15
    assert {b.n for b in bins} == {200}
    assert sum(b.n * b.accuracy for b in bins) == pytest.approx((p.argmax(axis=1) == y).sum())
    gaps = np.array([b.accuracy - b.confidence for b in bins])
    noise = np.mean(p.max(axis=1) * (1 - p.max(axis=1))) * 15 / 3000  # of the squared gap, were it calibrated perfectly
    ece = np.abs(gaps).mean() * np.sqrt(1 - noise / np.mean(gaps**2))
    assert metrics.compute_score("ece", y, p, split="t").value == pytest.approx(ece)
    assert [b.n for b in metrics.calibration_bins(y[:12], p[:12])] == [12]
    assert len(metrics.calibration_bins(y, np.full((3000, 3), 1 / 3))) == 1


def test_confusion_has_truth_in_rows():
    table = metrics.confusion_matrix(np.array([0, 0, 1]), np.array([0, 2, 1]), 3)
    assert table.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_all_scores_of_a_large_split_take_less_than_seconds():
    y, p = drawn(100_000)
    found = metrics.compute_scores(y, p, split="t", class_names=NAMES, clusters=np.arange(100_000) // 2)
    assert found[0].high - found[0].low < 0.01


def test_pictures_without_an_error_leave_losses_and_calibration_uncertain():
    for n in (6, 60, 600):
        y = np.arange(n) % 2
        p = np.where(np.eye(2)[y] > 0, 0.9999, 0.0001)
        of = {
            name: metrics.compute_score(name, y, p, split="train") for name in ("accuracy", "ece", "log_loss", "brier")
        }
        unseen = 1 - of["accuracy"].low
        assert (of["ece"].low, of["ece"].high) == (0.0, pytest.approx(unseen - 0.0001))
        assert of["log_loss"].high == pytest.approx(np.log(2) * unseen, abs=2e-4)
        assert of["brier"].high == pytest.approx(0.5 * unseen, abs=2e-4)
        alike = metrics.compute_score(
            "ece", y, p, split="train", clusters=np.arange(n) // 2
        )  # two of each: half as many
        assert alike.high > of["ece"].high
    timid = metrics.compute_score("ece", y, np.where(np.eye(2)[y] > 0, 0.6, 0.4), split="train")
    assert 0.3 < timid.low < timid.value == pytest.approx(0.4, abs=0.001)


@pytest.mark.parametrize(("sharpening", "n"), [(1.0, 150), (1.3, 150), (1.7, 150), (1.7, 1000)])
def test_calibration_error_is_told_about_as_large_as_it_is(sharpening, n):
    """The plain mean gap is 0.10 of a model that is calibrated perfectly, and twice the error of a good one."""

    def answer(count, rng):
        p = np.exp(rng.normal(size=(count, 3)) * 1.8)
        p /= p.sum(axis=1, keepdims=True)
        y = (p.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
        sharp = p**sharpening
        return y, sharp / sharp.sum(axis=1, keepdims=True)

    def mean_gap(y, p):
        return sum(b.n * abs(b.accuracy - b.confidence) for b in metrics.calibration_bins(y, p)) / len(y)

    rng = np.random.default_rng(3)
    truth, draws = mean_gap(*answer(200_000, rng)), [answer(n, rng) for _ in range(120)]
    told = np.mean([metrics.compute_score("ece", y, p, split="t").value for y, p in draws])
    plain = np.mean([mean_gap(y, p) for y, p in draws])
    assert abs(told - truth) < (0.03 if sharpening == 1 else 0.012)
    if sharpening < 1.5:
        assert plain > 2 * max(truth, told) * 0.95
