"""Areas under curves, one class against the rest, with the influence of every picture on them.

The sum of the squared influences is the estimate's variance; summed within clusters first, it is that with
near-duplicates taken into account.
"""

from __future__ import annotations

from typing import Literal

import numpy as np


def roc_auc(positive: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray]:
    """Area under the ROC curve, ties half, and (M,) float64 influences that sum to 0 (DeLong 1988).

    `positive` (M,) bool with both kinds, `score` (M,) higher for positives.
    """
    positives, negatives = np.sort(score[positive]), np.sort(score[~positive])
    sides: tuple[Literal["left"], Literal["right"]] = ("left", "right")
    below = sum(np.searchsorted(negatives, score[positive], side) for side in sides) / 2
    under = sum(np.searchsorted(positives, score[~positive], side) for side in sides) / 2
    area = float(below.sum() / (len(positives) * len(negatives)))
    influence = np.empty(len(score))
    influence[positive] = (below / len(negatives) - area) / len(positives)
    influence[~positive] = (1 - under / len(positives) - area) / len(negatives)
    return area, influence


def average_precision(positive: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean precision at the positives' scores, ties together as in scikit-learn, and (M,) float64 influences."""
    levels, level = np.unique(-score, return_inverse=True)  # 0 is the highest score
    hits = np.bincount(level, weights=positive, minlength=len(levels))
    answered = np.cumsum(np.bincount(level, minlength=len(levels)))
    precision = np.cumsum(hits) / answered
    total = hits.sum()
    area = float(np.sum(hits * precision) / total)
    lower = np.cumsum((hits / answered)[::-1])[::-1][level]  # positives at or below each picture's score
    lost = np.cumsum((hits * precision / answered)[::-1])[::-1][level]
    return area, (positive * (precision[level] - area + lower) - lost) / total
