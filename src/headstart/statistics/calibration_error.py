"""Reliability bins and the expected calibration error.

Bins have equal mass (Nguyen and O'Connor 2015), at most 15, with at least 10 pictures each where there are as many.
"""

from __future__ import annotations

import numpy as np

from headstart.core.types import CalibrationBin
from headstart.statistics.intervals import Interval, design_effect, wilson_interval

BINS = 15
FEWEST = 10
_DRAWS = 2000


def mass_bins(confidence: np.ndarray) -> np.ndarray:
    """(M,) int64 bin of each picture, 0..B-1 by rising confidence, none empty; equal confidences share a bin."""
    count = max(1, min(BINS, len(confidence) // FEWEST))
    edges = np.unique(np.quantile(confidence, np.arange(1, count) / count, method="higher"))
    return np.unique(np.searchsorted(edges, confidence, "right"), return_inverse=True)[1]


def calibration_bins(y: np.ndarray, p: np.ndarray) -> tuple[CalibrationBin, ...]:
    """Reliability of the top probability of `p` (M, C) against `y` (M,) int64."""
    if not len(y):
        return ()
    top, right = p.max(axis=1).astype(np.float64), np.argmax(p, axis=1) == y
    bins = mass_bins(top)
    return tuple(_make_bin(top[bins == b], right[bins == b]) for b in range(int(bins.max()) + 1))


def _make_bin(top: np.ndarray, right: np.ndarray) -> CalibrationBin:
    low, high, confidence = float(top.min()), float(top.max()), float(top.mean())
    return CalibrationBin(low=low, high=high, n=len(top), confidence=confidence, accuracy=float(right.mean()))


def calibration_error(confidence: np.ndarray, right: np.ndarray, groups: np.ndarray | None, seed: int) -> Interval:
    """Debiased expected calibration error with a parametric bootstrap of the bins' gaps; `confidence`, `right` (M,).

    Noise never cancels in absolute values, so that the mean gap of few pictures is large even of a calibrated model.
    From the squared error, the noise that is expected of perfect calibration is taken off (Bröcker 2012; Ferro and
    Fricker 2012; Kumar, Liang and Ma 2019), and the mean gap is shrunk by the root of the share that is left.
    Bootstrapped gaps are too large by as much again: the reversed (basic) interval of the mean gap takes that off,
    and is stretched to hold the estimate. It reaches down to 0 when a perfectly calibrated model would often show as
    much. Where all answers are right, or all wrong, it holds the gaps to every accuracy that so few pictures allow.
    """
    m, bins = len(confidence), mass_bins(confidence)
    groups = np.arange(m) if groups is None else groups
    moved = np.zeros((int(groups.max()) + 1, int(bins.max()) + 1))
    np.add.at(moved, (groups, bins), (right - confidence) / m)
    sums, centred = moved.sum(axis=0), moved - moved.mean(axis=0)
    draw_normal = np.random.default_rng(seed).multivariate_normal
    drawn = draw_normal(np.zeros(len(sums)), centred.T @ centred, size=_DRAWS, method="eigh")
    plain, bootstrapped = float(np.abs(sums).sum()), np.abs(sums + drawn).sum(axis=1)
    counts = np.bincount(bins)
    noise = np.bincount(bins, confidence * (1 - confidence)) / counts * design_effect(right - confidence, groups)
    squared = float(np.sum((m * sums) ** 2 / counts))  # m times the mean squared gap
    value = plain * float(np.sqrt(max(0.0, 1 - noise.sum() / squared))) if squared else 0.0
    low, high = 2 * plain - np.quantile(bootstrapped, [0.975, 0.025])
    if plain <= np.quantile(np.abs(drawn).sum(axis=1), 0.975):
        low = 0.0
    if right.all() or not right.any():
        low, high = _widen_for_certainty(float(confidence.mean()), right, groups, low, high)
    return Interval(value, float(np.clip(low, 0, value)), float(np.clip(high, value, 1)))


def _widen_for_certainty(
    confidence: float, right: np.ndarray, groups: np.ndarray, low: float, high: float
) -> tuple[float, float]:
    """The ends, wide enough for what Wilson's interval of the accuracy allows: nothing varies that could be drawn."""
    n = len(right) / design_effect(np.zeros(len(right)), groups)
    _, least, most = wilson_interval(float(right.mean()) * n, n)
    nearest = max(0.0, least - confidence, confidence - most)
    return min(low, nearest), max(high, confidence - least, most - confidence)
