"""Prediction sets: which pictures set the thresholds, what that promises, and what was measured of it.

Out-of-fold predictions of the training pictures set the thresholds, as in CV+ (Barber 2021); pictures held back measure
their coverage and set nothing. Where none are held back, each fold is judged by the thresholds of the other folds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from headstart.core.types import Score
from headstart.statistics.intervals import exact_interval, make_score, make_share_score
from headstart.uncertainty import conformal

FEWEST = 10  # pictures of which no share is told below


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutPredictions:
    """Pictures that the model did not learn from, one of each cluster of near-duplicates."""

    split: str  # where they are from
    rows: np.ndarray  # (M,) int64
    y: np.ndarray  # (M,) int64 classes; labels are (M, C) bool
    p: np.ndarray  # (M, C) tempered probabilities
    answers: np.ndarray  # (M,) int64 classes that would be answered; of labels the likeliest
    fold: np.ndarray  # (M,) int64; one number where all were held back together
    ordered: bool = False  # whether the classes have an order

    def select(self, which: np.ndarray) -> HeldOutPredictions:
        """Some of the pictures, by a mask (M,)."""
        names = ("rows", "y", "p", "answers", "fold")
        return replace(self, **{name: getattr(self, name)[which] for name in names})

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
        sizes = conformal.count_set_sizes(predictions.p, kind, limits, predictions.answers, ordered=predictions.ordered)
        return round(float(sizes.mean()), 6)

    return min(conformal.SCORES, key=mean_set_size)


def set_thresholds(predictions: HeldOutPredictions, kind: str, coverage: float) -> CoveragePromise:
    """Thresholds from out-of-fold pictures: of each class where each has enough, else of all together."""
    n_classes, n = predictions.p.shape[1], len(predictions.y)
    needed, counts = conformal.count_needed_pictures(coverage), np.bincount(predictions.y, minlength=n_classes)
    by_class = bool(counts.min() >= 2 * needed)  # with fewer the highest score of a class alone would be its threshold
    limits = conformal.compute_thresholds(
        predictions.score_true_classes(kind), predictions.y, n_classes, coverage, by_class=by_class
    )
    if n < needed:
        why = (
            f"{n:,} out-of-fold pictures cannot promise {format_percent(coverage)}, {needed:,} could: "
            "every class stays in the set"
        )
        return CoveragePromise(score=kind, by_class=False, thresholds=limits, guaranteed=1.0, why=why)
    shortage = f"the smallest class has {counts.min():,} of them, and {2 * needed:,} would be needed for each"
    scope = "in each class" if by_class else f"on average over the classes: {shortage}"
    fewest = int(counts.min()) if by_class else n
    guaranteed = conformal.cross_validation_guarantee(fewest, len(np.unique(predictions.fold)), coverage)
    why = (
        f"{n:,} out-of-fold training pictures set the thresholds, for {format_percent(coverage)} {scope}; theory "
        f"guarantees {format_percent(guaranteed)}, and that of the folds' models"
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


def format_percent(share: float) -> str:
    """`90 %`."""
    return f"{round(100 * share, 4):g} %"


@dataclass(frozen=True, kw_only=True, eq=False)
class SetOutcomes:
    """Of each picture's prediction set, (M,) each, by thresholds that the picture had no part in."""

    hits: np.ndarray  # bool, whether the true class is in it
    sizes: np.ndarray  # int64 classes
    hopeless: np.ndarray  # bool, whether no class kept its floor


def judge_sets(predictions: HeldOutPredictions, promise: CoveragePromise, floors: np.ndarray) -> SetOutcomes:
    """The sets that thresholds and floors make of pictures which set neither."""
    sets = conformal.make_sets(
        predictions.p, promise.score, promise.thresholds, predictions.answers, ordered=predictions.ordered
    )
    hopeless = conformal.flag_empty_sets(predictions.p, floors)
    sets[hopeless] = False
    return SetOutcomes(
        hits=sets[np.arange(len(sets)), predictions.y], sizes=sets.sum(axis=1).astype(np.int64), hopeless=hopeless
    )


def judge_sets_by_fold(
    predictions: HeldOutPredictions, promise: CoveragePromise, coverage: float, familiar: float
) -> SetOutcomes:
    """The sets of each fold by thresholds and floors that the other folds set."""
    n, n_classes = predictions.p.shape
    outcomes = SetOutcomes(hits=np.zeros(n, bool), sizes=np.zeros(n, np.int64), hopeless=np.zeros(n, bool))
    for inside, others in conformal.split_by_fold(predictions.fold):
        other_folds = predictions.select(others)
        limits = conformal.compute_thresholds(
            other_folds.score_true_classes(promise.score), other_folds.y, n_classes, coverage, by_class=promise.by_class
        )
        fold_promise = replace(promise, thresholds=limits)
        judged = judge_sets(
            predictions.select(inside), fold_promise, compute_floors(other_folds, fold_promise, familiar)
        )
        for name in ("hits", "sizes", "hopeless"):
            getattr(outcomes, name)[inside] = getattr(judged, name)
    return outcomes


def score_sets(predictions: HeldOutPredictions, outcomes: SetOutcomes, names: tuple[str, ...]) -> list[Score]:
    """Coverage, sizes and shares of the sets, and the coverage of each class and of the folds furthest apart."""
    if len(predictions.y) < FEWEST:
        return []
    split, classes = predictions.split, np.unique(predictions.y).tolist()
    size = conformal.size_interval(outcomes.sizes, predictions.p.shape[1])
    return [
        *score_share("coverage", predictions, outcomes.hits),
        make_score("set_size", split, size, len(outcomes.sizes), method="t"),
        make_share_score("singletons", split, outcomes.sizes == 1),
        make_share_score("empty_sets", split, outcomes.hopeless),
        *(make_held_out_share("coverage", split, outcomes.hits[predictions.y == c], subject=names[c]) for c in classes),
    ]


def score_share(name: str, predictions: HeldOutPredictions, flags: np.ndarray) -> list[Score]:
    """A share of pictures (M,) bool or 0..1; where folds judge each other, also the lowest and highest of folds."""
    share = make_held_out_share(name, predictions.split, flags)
    if predictions.split != "cv":
        return [share]
    by_fold = [flags[inside] for inside, _ in conformal.split_by_fold(predictions.fold)]
    ends: dict[str, Callable[..., np.ndarray]] = {"lowest": min, "highest": max}
    return [share] + [
        make_share_score(f"{name}_of_folds", "cv", choose(by_fold, key=np.mean), subject)
        for subject, choose in ends.items()
    ]


def make_held_out_share(name: str, split: str, flags: np.ndarray, subject: str = "") -> Score:
    """A share; where each fold is judged by others, half the pictures count for the interval.

    What the model will do varies with the pictures that set its threshold (Vovk 2012) as much as with those that judge.
    """
    if split != "cv":
        return make_share_score(name, split, flags, subject)
    interval = exact_interval(float(flags.sum()) / 2, len(flags) / 2)
    return make_score(name, split, interval, len(flags), subject=subject, method="clopper-pearson")
