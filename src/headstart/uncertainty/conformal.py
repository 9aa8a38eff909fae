"""Prediction sets that hold the true class as often as promised, whatever the model (Vovk 2005).

A score tells how odd a class would be for a picture; a threshold is the score that the promised share of held-out
pictures keep, counted so that the promise holds for any number of them. Two scores: `least_ambiguous` (one minus the
class's probability, Sadinle 2019) makes the smallest sets; `adaptive` (the probability of all likelier classes, with a
penalty on long sets, after Romano 2020 and Angelopoulos 2021) makes larger ones of harder pictures.
"""

from __future__ import annotations

import math

import numpy as np

from headstart.statistics.intervals import Interval, mean_interval, wilson_interval

SCORES = ("least_ambiguous", "adaptive")
_PENALTY, _FREE = 0.01, 2  # for each class beyond the second
_ROUNDING = 1e-9
_BLOCK = 1 << 20  # probabilities looked at at once


def compute_scores(p: np.ndarray, kind: str) -> np.ndarray:
    """How odd each class of (M, C) probabilities would be: (M, C) float64, the likeliest class lowest.

    Raises:
        ValueError: There is no such score.
    """
    wide = np.asarray(p, np.float64)
    if kind == "least_ambiguous":
        return np.asarray(1.0 - wide)
    if kind != "adaptive":
        raise ValueError(f"no score is named `{kind}`; known: {', '.join(SCORES)}")
    order = np.argsort(-wide, axis=1, kind="stable")
    ranked = np.take_along_axis(wide, order, axis=1)
    likelier = np.concatenate([np.zeros((len(wide), 1)), np.cumsum(ranked, axis=1)[:, :-1]], axis=1)
    likelier += _PENALTY * np.maximum(np.arange(wide.shape[1]) + 1 - _FREE, 0)
    oddness = np.empty_like(wide)
    np.put_along_axis(oddness, order, likelier, axis=1)
    return oddness


def score_true_classes(p: np.ndarray, y: np.ndarray, kind: str) -> np.ndarray:
    """How odd the true classes are, (M,) float64, in the memory of a few pictures."""
    parts = [
        compute_scores(p[block], kind)[np.arange(block.stop - block.start), y[block]] for block in _split_blocks(p)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def count_set_sizes(
    p: np.ndarray, kind: str, limits: np.ndarray, answers: np.ndarray, *, ordered: bool = False
) -> np.ndarray:
    """How many classes each prediction set holds, (M,) int64; see `make_sets`."""
    parts = [
        make_sets(p[block], kind, limits, answers[block], ordered=ordered).sum(axis=1) for block in _split_blocks(p)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _split_blocks(p: np.ndarray) -> list[slice]:
    step = max(1, _BLOCK // p.shape[1])
    return [slice(start, min(start + step, len(p))) for start in range(0, len(p), step)]


def quantile_rank(n: int, coverage: float) -> int:
    """Which of `n` sorted scores keeps the promise: the ceil((n + 1) coverage)-th; above `n` none does."""
    return math.ceil((n + 1) * coverage - _ROUNDING)


def count_needed_pictures(coverage: float) -> int:
    """Held-out pictures without which no promise of this coverage can be kept but by naming all classes."""
    return math.ceil(coverage / (1 - coverage) - _ROUNDING)


def cross_validation_guarantee(n: int, folds: int, coverage: float) -> float:
    """CV+'s guarantee where `n` pictures in K folds set the thresholds (Barber 2021, theorem 4), rounded down.

    1 - 2 alpha - min(2 (1 - 1 / K) / (n / K + 1), (1 - K / n) / (K + 1)), where `coverage` is 1 - alpha.
    """
    n = max(n, 1)
    folds = min(max(folds, 1), n)
    excess = min(2 * (1 - 1 / folds) / (n / folds + 1), (1 - folds / n) / (folds + 1))
    return math.floor(1000 * max(0.0, 2 * coverage - 1 - excess) + _ROUNDING) / 1000


def conformal_quantile(held_out: np.ndarray, coverage: float) -> float:
    """The score that a new picture keeps with at least the promised probability; infinity where too few are known."""
    position = quantile_rank(len(held_out), coverage)
    return math.inf if position > len(held_out) else float(np.sort(held_out)[max(position, 1) - 1])


def split_by_fold(fold: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Masks (M,) of each fold and of the others; of one fold alone, fifths take the place of folds."""
    parts = fold if len(np.unique(fold)) > 1 else np.arange(len(fold)) % 5
    return [(parts == number, parts != number) for number in np.unique(parts)]


def compute_thresholds(
    true_scores: np.ndarray, y: np.ndarray, n_classes: int, coverage: float, *, by_class: bool
) -> np.ndarray:
    """(C,) float64 from the scores (n,) of true classes.

    `by_class` keeps the promise in every class (Mondrian), not only on average.
    """
    if not by_class:
        return np.full(n_classes, conformal_quantile(true_scores, coverage))
    return np.array([conformal_quantile(true_scores[y == c], coverage) for c in range(n_classes)])


def make_sets(
    p: np.ndarray, kind: str, limits: np.ndarray, answers: np.ndarray | None = None, *, ordered: bool = False
) -> np.ndarray:
    """(M, C) bool; the class that is answered is always in, which can only raise the coverage.

    So are of `ordered` classes those between two that are in. Without `answers` a set may be empty.
    """
    inside = np.asarray(compute_scores(p, kind) <= limits)
    if answers is not None:
        inside[np.arange(len(p)), answers] = True
    if ordered:
        inside = np.maximum.accumulate(inside, axis=1) & np.maximum.accumulate(inside[:, ::-1], axis=1)[:, ::-1]
    return inside


def flag_empty_sets(p: np.ndarray, floors: np.ndarray) -> np.ndarray:
    """(M,) bool, whether no class of (M, C) probabilities keeps its floor, by the first score."""
    return np.asarray(~np.any(np.asarray(1.0 - np.asarray(p, np.float64)) <= floors, axis=1))


def size_interval(sizes: np.ndarray, most: int) -> Interval:
    """Interval of the mean set size; where all of (M,) are equal, as if the next could be one larger or smaller."""
    if not len(sizes):
        return Interval(float("nan"), 1.0, float(most))
    value, low, high = mean_interval(np.asarray(sizes, np.float64))
    if np.ptp(sizes) == 0:
        step = wilson_interval(0, len(sizes)).high
        low, high = value - step, value + step
    return Interval(value, min(value, max(low, 1.0)), max(value, min(high, float(most))))
