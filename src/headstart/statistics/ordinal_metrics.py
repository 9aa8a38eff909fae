"""Scores of grades, classes in an order: how many ranks an answer is off, and weighted kappa; and the median grade.

Intervals are as those of `headstart.statistics.regression_metrics`; where every answer is right, by the errors that
the number of pictures leaves possible.
"""

from __future__ import annotations

import numpy as np

from headstart.statistics.intervals import Interval, design_effect, mean_interval, wilson_interval


def measure_distances(n_classes: int) -> np.ndarray:
    """(C, C) float64: how many ranks two grades are apart."""
    ranks = np.arange(n_classes, dtype=np.float64)
    return np.abs(ranks[:, None] - ranks)


def find_median_grades(p: np.ndarray) -> np.ndarray:
    """(M,) int64: of each row of `p` (M, C) the grade with the fewest ranks off on average, which is its median."""
    return np.asarray(np.argmin(np.asarray(p, np.float64) @ measure_distances(p.shape[1]), axis=1))


def measure_rank_error(y: np.ndarray, answers: np.ndarray, groups: np.ndarray | None, effect: float) -> Interval:
    """The mean of how many ranks `answers` (M,) are off the grades `y` (M,)."""
    value, low, high = mean_interval(np.abs(answers - y), groups, effect)
    return Interval(value, max(0.0, low), high + _bound_unseen_errors(y, answers, groups, effect))


def measure_kappa(y: np.ndarray, answers: np.ndarray, groups: np.ndarray | None, effect: float) -> Interval:
    """Quadratic weighted kappa (Cohen 1968): 1 less the squared ranks off in parts of what chance would leave.

    The interval is of the delta method. NaN where truth and answers are all one grade.
    """
    truth, answered = np.asarray(y, np.float64), np.asarray(answers, np.float64)
    off = (truth - answered) ** 2
    of_truth = (truth - answered.mean()) ** 2 + answered.var()  # against the answers to all pictures
    of_answers = (answered - truth.mean()) ** 2 + truth.var()
    chance = float(of_truth.mean())
    if chance <= 0:
        return Interval(np.nan, -1.0, 1.0)
    part = float(off.mean()) / chance
    influence = (part * (of_truth + of_answers - 2 * chance) - (off - off.mean())) / chance
    _, low, high = mean_interval(influence, groups, effect)
    unseen = _bound_unseen_errors(y, answers, groups, effect) / chance
    return Interval(1 - part, max(-1.0, 1 - part + low - unseen), min(1.0, 1 - part + high))


def _bound_unseen_errors(y: np.ndarray, answers: np.ndarray, groups: np.ndarray | None, effect: float) -> float:
    """The share of errors, each a rank at least, that may be there although none was seen; 0 where one was."""
    if not np.array_equal(y, answers):
        return 0.0
    return wilson_interval(0, len(y) / (effect * design_effect(np.zeros(len(y)), groups))).high
