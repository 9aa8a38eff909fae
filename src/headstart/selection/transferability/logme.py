"""How well features suit labels, told without fitting a head: LogME and the shrunk H-score.

Both need only the spectrum of the centred features, which is taken once. Directions without variance (dead channels,
constant columns, copies of other columns) are cut off: they carry nothing and ruin both scores otherwise. Neither
score is used to decide: studies find no such score reliable everywhere (Agostinelli, ECCV 2022). They are columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headstart.statistics.sampling import spread

ROWS = 640  # more rows change neither score noticeably
_RANK = 1e-6  # variance below this part of the largest counts as none
_TURNS = 100
_SETTLED = 1e-4


class Spectrum(NamedTuple):
    """The centred features' principal directions.

    Attributes:
        basis: (M, Q) float64, orthonormal columns, Q the numerical rank.
        power: (Q,) float64, squared singular values.
        labels: (M,) int64, classes of the rows used.
        dim: D, columns that vary at all.
    """

    basis: np.ndarray
    power: np.ndarray
    labels: np.ndarray
    dim: int


def spectrum(x: np.ndarray, y: np.ndarray) -> Spectrum:
    """Decompose features; of more than 640 rows, evenly spaced ones are used.

    Args:
        x: (M, D) float32 features.
        y: (M,) int64 classes.
    """
    taken = spread(len(y), ROWS)
    x_MD = np.asarray(x[taken], np.float64)
    x_MD = x_MD - x_MD.mean(axis=0)
    x_MD = x_MD[:, np.any(x_MD != 0, axis=0)]
    wide = x_MD.shape[1] > x_MD.shape[0]
    power, vectors = np.linalg.eigh(x_MD @ x_MD.T if wide else x_MD.T @ x_MD)
    kept = power > _RANK * max(float(power.max(initial=0.0)), 1e-300)
    power, vectors = power[kept], vectors[:, kept]
    basis = vectors if wide else (x_MD @ vectors) / np.sqrt(power)
    return Spectrum(basis, power, np.asarray(y)[taken], x_MD.shape[1])


def logme(of: Spectrum) -> float:
    """Log evidence of a linear model, per picture and class; higher is better.

    You, Liu, Wang, Long: LogME, ICML 2021, with the fixed point of its 2022 sequel; features and targets centred.
    """
    m, found = len(of.labels), []
    for c in np.unique(of.labels):
        target = (of.labels == c) - np.mean(of.labels == c)
        explained = (of.basis.T @ target) ** 2
        left = max(float(target @ target - explained.sum()), 0.0)
        found.append(_evidence(of.power, explained, left, m))
    return float(np.mean(found))


def _evidence(power: np.ndarray, explained: np.ndarray, left: float, m: int) -> float:
    """Maximise the evidence over the prior's and the noise's precision; `ratio` is the one over the other."""
    if not len(power):
        return float(np.log(m / left / (2 * np.pi)) - 1) / 2
    power, ratio = power / power.mean(), 1.0  # the maximum does not depend on the features' scale
    for _ in range(_TURNS):
        freedom = np.sum(power / (power + ratio))
        weight = np.sum(power * explained / (power + ratio) ** 2)
        error = np.sum(explained * (ratio / (power + ratio)) ** 2) + left
        prior, noise = freedom / (weight + 1e-5), (m - freedom) / (error + 1e-5)
        before, ratio = ratio, prior / noise
        if abs(ratio - before) <= _SETTLED * before:
            break
    log_det = np.sum(np.log(prior) - np.log(prior + noise * power))
    return float((m * np.log(noise / (2 * np.pi)) + log_det - noise * error - prior * weight) / 2 / m)


def h_score(of: Spectrum) -> float:
    """Shrunk H-score: between-class variance in units of the shrunk covariance; higher is better, below C.

    Ibrahim, Ponomareva, Mazumder: Newer is not always better, ECML 2022, with Ledoit and Wolf's (2004) intensity.
    """
    m, dim = len(of.labels), of.dim
    if not len(of.power):
        return 0.0
    x_MQ = of.basis * np.sqrt(of.power)
    variance = of.power / m
    middle = variance.sum() / dim
    spread = np.sum(variance**2) - dim * middle**2  # squared distance of the covariance from a sphere
    noise = (np.mean(np.sum(x_MQ**2, axis=1) ** 2) - np.sum(variance**2)) / m
    part = 1.0 if spread <= 0 else float(np.clip(noise / spread, 0.0, 1.0))
    shrunk = (1 - part) * variance + part * middle
    between = np.zeros(len(variance))
    for c in np.unique(of.labels):
        inside = of.labels == c
        between += inside.mean() * x_MQ[inside].mean(axis=0) ** 2
    return float((1 - part) * np.sum(between / shrunk))
