"""Prediction sets: which pictures set the thresholds, which promise that keeps, and what was measured of it.

Pictures held back set the thresholds (split conformal, Vovk 2005); those of nine tenths are judged on the last one,
many times over. As a check, thresholds of cross-validated pictures are judged on the part held back. Without such a
part the cross-validated pictures set the thresholds, for which theory guarantees less (Barber 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.core.types import Score
from headstart.statistics.intervals import make_score, make_share_score
from headstart.uncertainty import conformal

REPEATS, PARTS = 10, 10
CHECKED = "thresholds of cross-validation"


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutPredictions:
    """Pictures that the model did not learn from, one of each cluster of near-duplicates."""

    split: str  # where they are from
    rows: np.ndarray  # (M,) int64
    y: np.ndarray  # (M,) int64 classes
    p: np.ndarray  # (M, C) tempered probabilities
    answers: np.ndarray  # (M,) int64 classes that would be answered

    def score_true_classes(self, kind: str) -> np.ndarray:
        """(M,) scores."""
        return conformal.score_true_classes(self.p, self.y, kind)


@dataclass(frozen=True, kw_only=True, eq=False)
class CoveragePromise:
    """How the sets are made; see `UncertaintyReport`."""

    score: str
    by_class: bool
    thresholds: np.ndarray
    guaranteed: float
    why: str


def choose_score(predictions: HeldOutPredictions, coverage: float) -> str:
    """The score whose sets are smaller on cross-validated pictures, by thresholds of these; of equals the first."""
    if not len(predictions.y):
        return conformal.SCORES[0]

    def mean_set_size(kind: str) -> float:
        limits = conformal.compute_thresholds(
            predictions.score_true_classes(kind), predictions.y, predictions.p.shape[1], coverage, by_class=False
        )
        return round(float(conformal.count_set_sizes(predictions.p, kind, limits, predictions.answers).mean()), 6)

    return min(conformal.SCORES, key=mean_set_size)


def set_thresholds(predictions: HeldOutPredictions, kind: str, coverage: float) -> CoveragePromise:
    """Thresholds from known pictures: of each class where each has enough, else of all together."""
    n_classes, n = predictions.p.shape[1], len(predictions.y)
    needed, counts = conformal.count_needed_pictures(coverage), np.bincount(predictions.y, minlength=n_classes)
    by_class = bool(counts.min() >= 2 * needed)  # with fewer the highest score of a class alone would be its threshold
    limits = conformal.compute_thresholds(
        predictions.score_true_classes(kind), predictions.y, n_classes, coverage, by_class=by_class
    )
    if n < needed:
        why = (
            f"{n:,} held-out pictures cannot promise {_format_percent(coverage)}, {needed:,} could: "
            "every class stays in the set"
        )
        return CoveragePromise(score=kind, by_class=False, thresholds=limits, guaranteed=1.0, why=why)
    source = "cross-validated" if predictions.split == "cv" else "held-out"
    shortage = f"the smallest class has {counts.min():,} of them, and {2 * needed:,} would be needed for each"
    scope = "in each class" if by_class else f"on average over the classes: {shortage}"
    guaranteed = coverage if predictions.split != "cv" else conformal.cross_validation_guarantee(n, coverage)
    why = f"{n:,} {source} pictures set the thresholds, for {_format_percent(coverage)} {scope}"
    if predictions.split == "cv":
        why += (
            f"; for such pictures theory guarantees {_format_percent(guaranteed)} alone, and that of the folds' models"
        )
    return CoveragePromise(score=kind, by_class=by_class, thresholds=limits, guaranteed=guaranteed, why=why)


def compute_floors(predictions: HeldOutPredictions, promise: CoveragePromise, familiar: float) -> np.ndarray:
    """(C,) what a class must keep to be in a set at all, from cross-validated pictures.

    No floor is stricter than the class's threshold, and none is set where the likeliest class always keeps its
    threshold, so an empty set takes nothing from the promise. Of true classes the share `familiar` keeps its floor.
    """
    n_classes = predictions.p.shape[1]
    if promise.score != conformal.SCORES[0]:
        return np.full(n_classes, np.inf)
    true_scores = predictions.score_true_classes(conformal.SCORES[0])
    limits = conformal.compute_thresholds(true_scores, predictions.y, n_classes, familiar, by_class=False)
    return np.asarray(np.maximum(limits, promise.thresholds))


def _format_percent(share: float) -> str:
    return f"{round(100 * share, 4):g} %"


def measure_coverage(
    predictions: HeldOutPredictions,
    promise: CoveragePromise,
    floor: np.ndarray,
    coverage: float,
    names: tuple[str, ...],
    seed: int,
) -> list[Score]:
    """Coverage, sizes and shares of the sets, each picture judged by thresholds of others."""
    if len(predictions.y) < PARTS:
        return []
    hits, sizes, singletons, empties = _judge_repeatedly(predictions, promise, floor, coverage, seed)
    classes, size = np.unique(predictions.y).tolist(), conformal.size_interval(sizes, predictions.p.shape[1])
    return [
        make_share_score("coverage", predictions.split, hits),
        make_score("set_size", predictions.split, size, len(hits), method="t"),
        make_share_score("singletons", predictions.split, singletons),
        make_share_score("empty_sets", predictions.split, empties),
        *(make_share_score("coverage", predictions.split, hits[predictions.y == c], names[c]) for c in classes),
    ]


def _judge_repeatedly(
    predictions: HeldOutPredictions, promise: CoveragePromise, floor: np.ndarray, coverage: float, seed: int
) -> tuple[np.ndarray, ...]:
    """Of each set, (M,) each: how often the true class is in it, its size, one is alone, none kept its threshold."""
    scores = conformal.compute_scores(predictions.p, promise.score)
    true_scores = predictions.score_true_classes(promise.score)
    hopeless = conformal.flag_empty_sets(predictions.p, floor)
    n, n_classes = scores.shape
    draw = np.random.default_rng(seed)
    hits, sizes, singletons, empties = np.zeros((4, n))
    for _ in range(REPEATS):
        folds = draw.permutation(n) % PARTS
        for fold in range(PARTS):
            inside = folds == fold
            limits = conformal.compute_thresholds(
                true_scores[~inside], predictions.y[~inside], n_classes, coverage, by_class=promise.by_class
            )
            in_set = scores[inside] <= limits
            empties[inside] += ~in_set.any(axis=1)
            in_set[np.arange(len(in_set)), predictions.answers[inside]] = True
            in_set[hopeless[inside]] = False
            count = in_set.sum(axis=1)
            hits[inside] += in_set[np.arange(len(in_set)), predictions.y[inside]]
            sizes[inside] += count
            singletons[inside] += count == 1
    return tuple(total / REPEATS for total in (hits, sizes, singletons, empties))


def check_thresholds(
    cross_validated: HeldOutPredictions,
    judged: HeldOutPredictions,
    promise: CoveragePromise,
    floor: np.ndarray,
    coverage: float,
) -> list[Score]:
    """Coverage on held-back pictures of thresholds that cross-validated ones set; nothing where these are the same."""
    if judged.split == "cv" or not len(cross_validated.y) or not len(judged.y):
        return []
    limits = conformal.compute_thresholds(
        cross_validated.score_true_classes(promise.score),
        cross_validated.y,
        cross_validated.p.shape[1],
        coverage,
        by_class=promise.by_class,
    )
    sets = conformal.make_sets(judged.p, promise.score, limits, judged.answers)
    hits = sets[np.arange(len(judged.y)), judged.y] & ~conformal.flag_empty_sets(judged.p, floor)
    return [make_share_score("coverage", judged.split, hits, CHECKED)]
