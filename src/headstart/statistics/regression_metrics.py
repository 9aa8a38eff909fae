"""Scores of numbers, each with its 95 % interval: R2, mean absolute error, root mean squared error, rank correlation.

Intervals are Student's t on each picture's influence, robust to near-duplicates and widened for cross-validation as
those of `headstart.statistics.metrics` are; that of the squared error is taken before its root, that of the
correlation of Fisher's z.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from headstart.core.types import Score
from headstart.statistics.intervals import (
    Interval,
    compact_clusters,
    cross_validation_effect,
    make_score,
    mean_interval,
)

_MOST_Z = 1 - 1e-12  # a correlation is kept this far from 1, where Fisher's z is infinite


@dataclass(eq=False)
class _Case:
    y: np.ndarray  # (M,) float64
    answers: np.ndarray  # (M,) float64
    groups: np.ndarray | None  # (M,) int64
    effect: float

    @cached_property
    def errors(self) -> np.ndarray:
        return np.asarray(self.answers - self.y)

    def find_interval(self, value: float, influence: np.ndarray) -> Interval:
        """Around a value that each picture moves by its part of (M,) `influence`, whose mean is 0."""
        _, low, high = mean_interval(influence, self.groups, self.effect)
        return Interval(value, value + low, value + high)


def _measure_r2(case: _Case) -> Interval:
    spread = float(np.var(case.y))
    if spread <= 0:
        return Interval(np.nan, -np.inf, 1.0)
    unexplained = float(np.mean(case.errors**2)) / spread
    influence = (unexplained * (case.y - case.y.mean()) ** 2 - case.errors**2) / spread
    value, low, high = case.find_interval(1 - unexplained, influence)
    return Interval(value, low, min(1.0, high))


def _measure_mae(case: _Case) -> Interval:
    value, low, high = mean_interval(np.abs(case.errors), case.groups, case.effect)
    return Interval(value, max(0.0, low), high)


def _measure_rmse(case: _Case) -> Interval:
    ends = mean_interval(case.errors**2, case.groups, case.effect)
    return Interval(*(float(np.sqrt(max(0.0, end))) for end in ends))


def _measure_spearman(case: _Case) -> Interval:
    """Pearson's correlation of ranks, with the influence of each picture on it."""
    from scipy.stats import rankdata

    ranks = [rankdata(values) for values in (case.y, case.answers)]
    if min(np.ptp(values) for values in ranks) == 0:
        return Interval(np.nan, -1.0, 1.0)
    a, b = ((values - values.mean()) / values.std() for values in ranks)
    value = float(np.mean(a * b))
    influence = a * b - value * (a**2 + b**2) / 2
    inside = float(np.clip(value, -_MOST_Z, _MOST_Z))
    _, low, high = case.find_interval(float(np.arctanh(inside)), influence / (1 - inside**2))
    return Interval(value, float(np.tanh(low)), float(np.tanh(high)))


_MEASURES: dict[str, Callable[[_Case], Interval]] = {
    "r2": _measure_r2,
    "mae": _measure_mae,
    "rmse": _measure_rmse,
    "spearman": _measure_spearman,
}
NAMES = tuple(_MEASURES)


def compute_score(
    name: str,
    y: np.ndarray,
    p: np.ndarray,
    *,
    split: str,
    subject: str = "",
    clusters: np.ndarray | None = None,
    n_folds: int = 0,
) -> Score:
    """One of `NAMES` from numbers `y` (M,) and answers `p` (M, 1); the rest as of `metrics.compute_score`."""
    y, answers = np.asarray(y, np.float64), np.asarray(p, np.float64)[:, 0]
    if len(y) != len(answers):
        raise ValueError(f"{len(answers)} answers do not fit {len(y)} numbers")
    if not len(y):
        return make_score(name, split, Interval(np.nan, np.nan, np.nan), 0, subject=subject, method="none")
    interval = _MEASURES[name](_Case(y, answers, compact_clusters(clusters), cross_validation_effect(n_folds)))
    return make_score(name, split, interval, len(y), subject=subject, method="t")
