"""Scores of repeated cross-validation: averaged over the repeats, and paired differences with the sign of the metric.

Repeats judge the same pictures again, so the ends of an interval are averaged, not pooled.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from headstart.core.types import Score
from headstart.statistics import metrics
from headstart.statistics.intervals import Interval
from headstart.statistics.losses import is_gain


def average_scores(
    name: str,
    y: np.ndarray,
    held_RMC: np.ndarray,
    *,
    split: str,
    n_folds: int,
    clusters: np.ndarray | None = None,
    seed: int = 0,
) -> Score:
    """A score and the ends of its interval, averaged over repeats: held_RMC (R, M, C) is NaN where not judged."""
    repeats = []
    for p_MC in held_RMC:
        judged = np.isfinite(p_MC[:, 0])
        shared: dict[str, Any] = {
            "clusters": None if clusters is None else clusters[judged],
            "seed": seed,
            "n_folds": n_folds,
        }
        repeats.append(metrics.compute_score(name, y[judged], p_MC[judged], split=split, **shared))
    value, low, high = (float(np.mean(ends)) for ends in zip(*((s.value, s.low, s.high) for s in repeats), strict=True))
    return dataclasses.replace(repeats[0], value=value, low=low, high=high)


def make_difference_score(interval: Interval, metric: str, *, split: str, n: int) -> Score:
    """A paired difference of losses as a score; where more is better the sign is turned."""
    value, low, high = interval
    if is_gain(metric):
        value, low, high = -value, -high, -low
    return Score(split=split, name=metric, value=value, low=low, high=high, n=n, method="paired t")
