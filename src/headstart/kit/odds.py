"""Accuracies as log-odds of what lies between chance and 1, so that easy and hard sets of pictures add up alike.

Chance is the share of the largest class for `accuracy`, one over the number of classes for `balanced_accuracy`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

EDGE = 0.005  # log-odds are taken this far from 0 and 1: beyond, they tell of single pictures


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


def scatter(accuracy: float, floor: float, n: float) -> float:
    """Standard deviation of `above` that n pictures leave."""
    q = share(above(accuracy, floor))
    p = floor + (1 - floor) * q
    return math.sqrt(p * (1 - p) / max(n, 1.0)) / ((1 - floor) * q * (1 - q))
