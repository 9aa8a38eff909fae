"""Two runs against each other: on the pictures that both were judged by, where there are any.

All differences are of the one run minus the other, with 95 % intervals by resampling clusters of near-duplicates; what
no interval tells apart is a tie. Without common pictures the scores are compared as they are.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.types import Score
from headstart.evaluation.comparison.run_summary import SCORES, RunSummary, list_labels
from headstart.statistics import paired_tests
from headstart.statistics.intervals import Interval, difference_interval
from headstart.statistics.losses import per_picture_loss

SURE = 0.05
FEWEST = 5  # pictures of a class below which nothing is said of it


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDifference:
    """One score of the one run minus that of the other, with its 95 % interval."""

    name: str  # `accuracy`, `balanced_accuracy`, `log_loss`, `recall` of a class, `mse`, `binary_log_loss`, …
    one: float
    other: float
    value: float
    low: float
    high: float
    n: int
    method: str  # of `statistics.paired_tests`, or `unpaired`
    subject: str = ""  # the class, or empty
    p: float | None = None  # of the test that it is 0; None where none was made
    adjusted: float | None = None  # p corrected for the number of tests (Holm)
    test: str = ""  # `exact McNemar`, `sign flips by cluster`, or empty
    tie: bool = True  # whether these pictures do not tell the two apart


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPair:
    """Two runs."""

    one: str
    other: str
    common: int = 0  # pictures that both were judged by; 0 makes it unpaired
    relabelled: int  # pictures that both were judged by, with two labels; left out
    only_one: int = 0  # pictures of which only the one's answer is right, or which number is nearer
    only_other: int = 0  # pictures of which only the other's is
    scores: tuple[ScoreDifference, ...]  # that which is tested first
    classes: tuple[ScoreDifference, ...] = ()  # recall, class by class; accuracy, label by label
    sentence: str = ""  # what it comes to


@dataclass(frozen=True, kw_only=True, eq=False)
class _CommonPictures:
    labels: np.ndarray  # (M,) of str
    clusters: np.ndarray  # (M,) int64
    right: tuple[np.ndarray, ...]  # of both, (M,) bool; labels (M, C)
    losses: tuple[np.ndarray, ...]  # of both, (M,) float64; squared errors of numbers
    relabelled: int


def compare_pair(first: RunSummary, other: RunSummary, seed: int = 0) -> RunPair:
    """Hold two runs against each other; p-values are not yet corrected for several pairs."""
    both = _find_common_pictures(first, other)
    if not len(both.labels):
        return _compare_unpaired(first, other, both.relabelled)
    if not first.dataset.learning_task.has_classes:
        return _compare_losses(first, other, both, seed)
    right, other_right = both.right
    scores = [
        _compare_shares("accuracy", right, other_right, both.clusters, seed),
        _compare_balanced_accuracy(both, seed),
    ]
    if np.isfinite(both.losses).all():
        a, b = both.losses
        interval = paired_tests.difference_of_losses(a, b, both.clusters, seed)
        scores.append(_make_difference(first.dataset.learning_task.metrics[0], a, b, interval))
    return RunPair(
        one=first.name,
        other=other.name,
        common=len(both.labels),
        relabelled=both.relabelled,
        only_one=int((right & ~other_right).sum()),
        only_other=int((other_right & ~right).sum()),
        scores=tuple(scores),
        classes=_compare_recalls(both, seed),
    )


def _compare_losses(first: RunSummary, other: RunSummary, both: _CommonPictures, seed: int) -> RunPair:
    """Of numbers by their squared errors, of labels by their log losses: both are tested."""
    a, b = both.losses
    interval = paired_tests.difference_of_losses(a, b, both.clusters, seed)
    p, labels = paired_tests.sign_flip_p(a - b, both.clusters, seed), tuple[ScoreDifference, ...]()
    if first.dataset.learning_task.has_labels:
        name, (right, other_right), names = "binary_log_loss", both.right, first.dataset.class_names
        exact, other_exact = np.all(right, axis=1), np.all(other_right, axis=1)
        second = _compare_shares("exact_match", exact, other_exact, both.clusters, seed)
        labels = correct_for_number(
            tuple(
                _compare_shares("accuracy", right[:, c], other_right[:, c], both.clusters, seed, label)
                for c, label in enumerate(names)
            )
        )
    else:
        name, (off, other_off) = "mse", (np.sqrt(a), np.sqrt(b))
        mean_errors = paired_tests.difference_of_losses(off, other_off, both.clusters, seed)
        second = _make_difference("mae", off, other_off, mean_errors)
    return RunPair(
        one=first.name,
        other=other.name,
        common=len(both.labels),
        relabelled=both.relabelled,
        only_one=int((a < b).sum()),
        only_other=int((b < a).sum()),
        scores=(_make_difference(name, a, b, interval, p=p, test="sign flips"), second),
        classes=labels,
    )


def _find_common_pictures(first: RunSummary, other: RunSummary) -> _CommonPictures:
    places, other_places = (
        {digest: place for place, digest in reversed(list(enumerate(side.digests)))} for side in (first, other)
    )
    common = sorted((place, other_places[digest]) for digest, place in places.items() if digest in other_places)
    positions = np.array(common, np.int64).reshape(-1, 2)
    labels = [list_labels(side.dataset)[side.rows[k]] for side, k in zip((first, other), positions.T, strict=True)]
    same = labels[0] == labels[1]
    positions, common_labels = positions[same], labels[0][same]
    sides = tuple(zip((first, other), positions.T, strict=True))
    return _CommonPictures(
        labels=common_labels,
        clusters=paired_tests.join_clusters(*(side.clusters[k] for side, k in sides)),
        right=tuple(side.answers[k] == side.truth[k] for side, k in sides),
        losses=tuple(_measure_losses(side, k) for side, k in sides),
        relabelled=int((~same).sum()),
    )


def _measure_losses(side: RunSummary, positions: np.ndarray) -> np.ndarray:
    truth, p = side.truth[positions], side.probabilities[positions]
    task = side.dataset.learning_task
    return np.square(p[:, 0] - truth) if task.is_number else per_picture_loss(task.metrics[0], truth, p)


def _test_pairs(a: np.ndarray, b: np.ndarray, clusters: np.ndarray, seed: int) -> tuple[float, str]:
    if len(np.unique(clusters)) == len(clusters):
        return paired_tests.mcnemar_p(int((a & ~b).sum()), int((b & ~a).sum())), "exact McNemar"
    return paired_tests.sign_flip_p(a * 1.0 - b, clusters, seed), "sign flips by cluster"


def _compare_shares(
    name: str, a: np.ndarray, b: np.ndarray, clusters: np.ndarray, seed: int, subject: str = ""
) -> ScoreDifference:
    """Shares of pictures answered rightly, from (M,) right or wrong, and the test that they are equal."""
    p, test = _test_pairs(a, b, clusters, seed)
    interval = paired_tests.difference_of_shares(a, b, clusters, seed)
    return _make_difference(name, a, b, interval, subject=subject, p=p, test=test)


def _make_difference(
    name: str, a: np.ndarray, b: np.ndarray, interval: tuple[Interval, str], **fields: Any
) -> ScoreDifference:
    ends = _interval_fields(interval[0])
    one, other = float(a.mean()), float(b.mean())
    return ScoreDifference(name=name, one=one, other=other, n=len(a), method=interval[1], **ends, **fields)


def _interval_fields(interval: Interval) -> dict[str, Any]:
    return {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "tie": not (interval.low > 0 or interval.high < 0),
    }


def _compare_balanced_accuracy(both: _CommonPictures, seed: int) -> ScoreDifference:
    """Each picture weighs as little as its class is large."""
    names, class_of, counts = np.unique(both.labels.astype(str), return_inverse=True, return_counts=True)
    weight = len(both.labels) / (len(names) * counts[class_of])
    a, b = (right * weight for right in both.right)
    least = min(len(np.unique(both.clusters[class_of == c])) for c in range(len(names)))
    interval = paired_tests.difference_of_shares(a, b, both.clusters, seed, len(names) * least)
    return _make_difference("balanced_accuracy", a, b, interval)


def _compare_recalls(both: _CommonPictures, seed: int) -> tuple[ScoreDifference, ...]:
    differences = []
    for name in sorted(set(both.labels.tolist())):
        of_class = both.labels == name
        if of_class.sum() >= FEWEST:
            a, b, clusters = both.right[0][of_class], both.right[1][of_class], both.clusters[of_class]
            differences.append(_compare_shares("recall", a, b, clusters, seed, name))
    return correct_for_number(tuple(differences))


def correct_for_number(differences: tuple[ScoreDifference, ...]) -> tuple[ScoreDifference, ...]:
    """The same, their p corrected for their number; a tie is also what the corrected test does not tell apart."""
    tested = [each.p for each in differences if each.p is not None]
    adjusted = iter(paired_tests.holm_adjusted(tested))
    corrected = []
    for each in differences:
        if each.p is not None:
            p = next(adjusted)
            each = dataclasses.replace(each, adjusted=p, tie=each.tie or p > SURE)
        corrected.append(each)
    return tuple(corrected)


# ---------------------------------------------------------------- without common pictures


def _compare_unpaired(first: RunSummary, other: RunSummary, relabelled: int) -> RunPair:
    a, b = ({score.name: score for score in side.scores} for side in (first, other))
    scores = tuple(
        _unpaired_difference(a[name], b[name]) for name in SCORES[first.dataset.task] if name in a and name in b
    )
    return RunPair(one=first.name, other=other.name, relabelled=relabelled, scores=scores)


def _unpaired_difference(a: Score, b: Score) -> ScoreDifference:
    ends = _interval_fields(difference_interval(a, b))
    return ScoreDifference(name=a.name, one=a.value, other=b.value, n=min(a.n, b.n), method="unpaired", **ends)
