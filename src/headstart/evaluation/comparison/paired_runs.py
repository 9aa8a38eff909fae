"""Two runs against each other: on the pictures that both were judged by, where there are any.

All differences are of the one run minus the other, with 95 % intervals by resampling clusters of near-duplicates; what
no interval tells apart is a tie. Without common pictures the scores are compared as they are, with wider intervals, and
may differ because of the pictures alone.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.types import Score
from headstart.evaluation.comparison.run_summary import SCORES, RunSummary
from headstart.statistics import paired_tests
from headstart.statistics.intervals import Interval, difference, mean_bootstrap
from headstart.statistics.losses import log_losses

SURE = 0.05
FEWEST = 5  # pictures of a class below which nothing is said of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One score of the one run minus that of the other.

    Attributes:
        name: `accuracy`, `balanced_accuracy`, `log_loss`, or `recall` of a class.
        subject: The class, or empty.
        one: The one's score on these pictures.
        other: The other's.
        value: The difference.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: Pictures.
        method: Of the interval: `paired bootstrap by cluster`; `rule of three` where both are right on the very same
            pictures, from how rare a difference must then be; or `unpaired`.
        p: Of the test that it is 0; None where none was made.
        adjusted: The same, corrected for the number of tests (Holm); None where p is.
        test: `exact McNemar`, `sign flips by cluster`, or empty.
        tie: Whether these pictures do not tell the two apart.
    """

    name: str
    one: float
    other: float
    value: float
    low: float
    high: float
    n: int
    method: str
    subject: str = ""
    p: float | None = None
    adjusted: float | None = None
    test: str = ""
    tie: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two runs.

    Attributes:
        one: Name of the one.
        other: Name of the other.
        common: Pictures that both were judged by; 0 makes it unpaired.
        relabelled: Pictures that both were judged by, with two labels; left out.
        only_one: Pictures of which only the one's answer is right.
        only_other: Pictures of which only the other's is.
        scores: Accuracy first.
        classes: Recall, class by class.
        sentence: What it comes to.
    """

    one: str
    other: str
    common: int
    relabelled: int
    only_one: int
    only_other: int
    scores: tuple[Difference, ...]
    classes: tuple[Difference, ...]
    sentence: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Common:
    """Pictures that both were judged by, as the two see them."""

    labels: np.ndarray  # (M,) of str
    clusters: np.ndarray  # (M,) int64
    right: tuple[np.ndarray, ...]  # of both, (M,) bool
    losses: tuple[np.ndarray, ...]  # of both, (M,) float64
    relabelled: int


def compare(one: RunSummary, other: RunSummary, seed: int = 0) -> Pair:
    """Hold two runs against each other; p-values are not yet corrected for several pairs."""
    both = _common(one, other)
    if not len(both.labels):
        return _unpaired(one, other, both.relabelled)
    a, b = both.right
    p, test = _test(a, b, both.clusters, seed)
    accuracy = _difference("accuracy", a, b, both.clusters, seed, p=p, test=test)
    scores = [accuracy, _balanced(both, seed)]
    if np.isfinite(both.losses).all():
        scores.append(_difference("log_loss", both.losses[0], both.losses[1], both.clusters, seed))
    return Pair(
        one=one.name,
        other=other.name,
        common=len(both.labels),
        relabelled=both.relabelled,
        only_one=int((a & ~b).sum()),
        only_other=int((b & ~a).sum()),
        scores=tuple(scores),
        classes=_classes(both, seed),
    )


def _common(one: RunSummary, other: RunSummary) -> _Common:
    places = {digest: at for at, digest in reversed(list(enumerate(other.digests)))}
    first = {digest: at for at, digest in reversed(list(enumerate(one.digests)))}
    at = np.array([[here, places[digest]] for digest, here in first.items() if digest in places], np.int64)
    at = np.sort(at.reshape(-1, 2), axis=0) if not len(at) else at[np.argsort(at[:, 0])]
    labels = [
        np.array(side.dataset.class_names, object)[side.truth[k]] for side, k in zip((one, other), at.T, strict=True)
    ]
    same = labels[0] == labels[1]
    at, kept = at[same], labels[0][same]
    sides = tuple(zip((one, other), at.T, strict=True))
    return _Common(
        labels=kept,
        clusters=paired_tests.joined(*(side.clusters[k] for side, k in sides)),
        right=tuple(side.answers[k] == side.truth[k] for side, k in sides),
        losses=tuple(log_losses(side.truth[k], side.probabilities[k]) for side, k in sides),
        relabelled=int((~same).sum()),
    )


def _test(a: np.ndarray, b: np.ndarray, clusters: np.ndarray, seed: int) -> tuple[float, str]:
    if len(np.unique(clusters)) == len(clusters):
        return paired_tests.mcnemar(int((a & ~b).sum()), int((b & ~a).sum())), "exact McNemar"
    return paired_tests.sign_flip(a * 1.0 - b, clusters, seed), "sign flips by cluster"


def _difference(
    name: str,
    a: np.ndarray,
    b: np.ndarray,
    clusters: np.ndarray,
    seed: int,
    *,
    subject: str = "",
    p: float | None = None,
    test: str = "",
    known: int = 0,
) -> Difference:
    """The mean of a minus that of b; `known` unlike pictures bound what went unseen where they are the same."""
    found, method = mean_bootstrap(a * 1.0 - b, clusters, seed), "paired bootstrap by cluster"
    if name != "log_loss" and np.array_equal(a, b):  # nothing to resample, which is no certainty
        half, method = 1 - SURE ** (1 / (known or len(np.unique(clusters)))), "rule of three"
        found = Interval(0.0, -half, half)
    told: dict[str, Any] = {"one": float(a.mean()), "other": float(b.mean()), "n": len(a)}
    return Difference(name=name, subject=subject, p=p, test=test, method=method, **told, **_ends(found))


def _ends(found: Interval) -> dict[str, Any]:
    return {"value": found.value, "low": found.low, "high": found.high, "tie": not (found.low > 0 or found.high < 0)}


def _balanced(both: _Common, seed: int) -> Difference:
    """Every class counts the same: each picture weighs as little as its class is large.

    Where both are right on the very same pictures, as much may go unseen as in the class with the fewest of them.
    """
    names, at, counts = np.unique(both.labels.astype(str), return_inverse=True, return_counts=True)
    weight = len(both.labels) / (len(names) * counts[at])
    a, b = (right * weight for right in both.right)
    least = min(len(np.unique(both.clusters[at == c])) for c in range(len(names)))
    return _difference("balanced_accuracy", a, b, both.clusters, seed, known=len(names) * least)


def _classes(both: _Common, seed: int) -> tuple[Difference, ...]:
    found = []
    for name in sorted(set(both.labels.tolist())):
        here = both.labels == name
        if here.sum() >= FEWEST:
            a, b, clusters = both.right[0][here], both.right[1][here], both.clusters[here]
            p, test = _test(a, b, clusters, seed)
            found.append(_difference("recall", a, b, clusters, seed, subject=name, p=p, test=test))
    return corrected(tuple(found))


def corrected(found: tuple[Difference, ...]) -> tuple[Difference, ...]:
    """The same, their p corrected for their number; a tie is also what the corrected test does not tell apart."""
    tested = [each.p for each in found if each.p is not None]
    adjusted = iter(paired_tests.holm(tested))
    made = []
    for each in found:
        if each.p is not None:
            p = next(adjusted)
            each = dataclasses.replace(each, adjusted=p, tie=each.tie or p > SURE)
        made.append(each)
    return tuple(made)


# ---------------------------------------------------------------- without common pictures


def _unpaired(one: RunSummary, other: RunSummary, relabelled: int) -> Pair:
    a, b = ({score.name: score for score in side.scores} for side in (one, other))
    scores = tuple(_apart(a[name], b[name]) for name in SCORES if name in a and name in b)
    return Pair(
        one=one.name,
        other=other.name,
        common=0,
        relabelled=relabelled,
        only_one=0,
        only_other=0,
        scores=scores,
        classes=(),
    )


def _apart(a: Score, b: Score) -> Difference:
    ends = _ends(difference(a, b))
    return Difference(name=a.name, one=a.value, other=b.value, n=min(a.n, b.n), method="unpaired", **ends)
