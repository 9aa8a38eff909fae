"""Accuracies as log-odds of what lies between chance and 1, so that easy and hard sets of pictures add up alike.

Chance is the share of the largest class for `accuracy`, one over the number of classes for `balanced_accuracy`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

EDGE = 0.005  # log-odds are taken this far from 0 and 1: beyond, they tell of single pictures
_USUAL, _USUAL_SD = 1.6, 1.8  # log-odds above chance, before a score is seen
_GRID = np.linspace(-7.0, 9.0, 321)


def log_odds(share: float) -> float:
    """log(p / (1 - p)), p held inside by `EDGE`."""
    inside = min(max(share, EDGE), 1 - EDGE)
    return math.log(inside / (1 - inside))


def share(odds: float) -> float:
    """The inverse of `log_odds`, also beyond the edge."""
    return 1 / (1 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1 + math.exp(odds))


def chance(name: str, counts: Sequence[int]) -> float:
    """What guessing comes to.

    Args:
        name: `accuracy` or `balanced_accuracy`.
        counts: Pictures of each class.
    """
    return max(counts) / sum(counts) if name == "accuracy" else 1 / len(counts)


def effective(name: str, n: int, counts: Sequence[int]) -> float:
    """Pictures that would scatter an accuracy as n pictures scatter this score; fewer where rare classes count more."""
    if name == "accuracy":
        return float(n)
    total = sum(counts)
    return n * len(counts) ** 2 / sum(total / one for one in counts)


def above(accuracy: float, floor: float) -> float:
    """Accuracy as log-odds of what lies between chance, `floor` below 1, and 1."""
    return log_odds((accuracy - floor) / (1 - floor))


def back(odds: float, floor: float) -> float:
    """The inverse of `above`."""
    return floor + (1 - floor) * share(odds)


@functools.lru_cache(maxsize=4096)
def seen(accuracy: float, floor: float, n: float) -> tuple[float, float]:
    """What a score of n pictures tells of the log-odds above chance, as a Gaussian: its centre and standard deviation.

    The binomial likelihood is matched by its first two moments beside a wide belief (one step of expectation
    propagation, Minka 2001), so a perfect score, or one below chance, is neither infinite nor nothing.
    """
    p = floor + (1 - floor) / (1 + np.exp(-_GRID))
    log = n * (accuracy * np.log(p) + (1 - accuracy) * np.log1p(-p)) - ((_GRID - _USUAL) / _USUAL_SD) ** 2 / 2
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    mean = float(weight @ _GRID)
    precision = 1 / float(weight @ (_GRID - mean) ** 2)
    of_score = max(precision - _USUAL_SD**-2, 1e-3)
    return (mean * precision - _USUAL * _USUAL_SD**-2) / of_score, of_score**-0.5
