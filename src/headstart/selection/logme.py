"""LogME: how well features suit labels, told without fitting a head.

Directions without variance (dead channels, copies of other columns) are cut off: they ruin the score otherwise. It
decides nothing, for studies find no such score reliable everywhere (Agostinelli, ECCV 2022); it stands in
`rank/value.json` beside the probes.
"""

from __future__ import annotations

import numpy as np

from headstart.statistics.sampling import evenly_spaced

MAX_ROWS = 640  # more rows do not change the score noticeably
_RANK_TOLERANCE = 1e-6  # variance below this part of the largest counts as none
_MAX_ITERATIONS = 100
_CONVERGED = 1e-4


def compute_logme(x: np.ndarray, y: np.ndarray) -> float:
    """Log evidence of a linear model, per picture and output, higher is better.

    x is (M, D) float32, y (M,) int64 classes or float64 numbers, or (M, C) bool labels.

    You, Liu, Wang, Long: LogME, ICML 2021, with the fixed point of its 2022 sequel; features and targets centred. Of
    more than 640 rows, evenly spaced ones are used.
    """
    rows = evenly_spaced(len(y), MAX_ROWS)
    labels = np.asarray(y)[rows]
    basis_MQ, power = _principal_directions(np.asarray(x[rows], np.float64))
    evidences = []
    for column in _list_columns(labels):
        target = column - np.mean(column)
        explained = (basis_MQ.T @ target) ** 2
        residual = max(float(target @ target - explained.sum()), 0.0)
        evidences.append(_maximize_evidence(power, explained, residual, len(labels)))
    return float(np.mean(evidences))


def _list_columns(labels: np.ndarray) -> list[np.ndarray]:
    if labels.ndim == 2:
        return [column for column in labels.T if column.any() and not column.all()] or [labels[:, 0]]
    if np.issubdtype(labels.dtype, np.floating):
        return [labels / max(float(labels.std()), 1e-300)]
    return [labels == c for c in np.unique(labels)]


def _principal_directions(x_MD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal columns (M, Q), Q the numerical rank, and their squared singular values (Q,)."""
    x_MD = x_MD - x_MD.mean(axis=0)
    x_MD = x_MD[:, np.any(x_MD != 0, axis=0)]
    wide = x_MD.shape[1] > x_MD.shape[0]
    power, vectors = np.linalg.eigh(x_MD @ x_MD.T if wide else x_MD.T @ x_MD)
    varies = power > _RANK_TOLERANCE * max(float(power.max(initial=0.0)), 1e-300)
    power, vectors = power[varies], vectors[:, varies]
    return vectors if wide else (x_MD @ vectors) / np.sqrt(power), power


def _maximize_evidence(power: np.ndarray, explained: np.ndarray, residual: float, m: int) -> float:
    """Maximise the evidence over the prior's and the noise's precision; `ratio` is the one over the other."""
    if not len(power):
        return float(np.log(m / residual / (2 * np.pi)) - 1) / 2
    power, ratio = power / power.mean(), 1.0  # the maximum does not depend on the features' scale
    for _ in range(_MAX_ITERATIONS):
        freedom = np.sum(power / (power + ratio))
        weight = np.sum(power * explained / (power + ratio) ** 2)
        error = np.sum(explained * (ratio / (power + ratio)) ** 2) + residual
        prior, noise = freedom / (weight + 1e-5), (m - freedom) / (error + 1e-5)
        previous, ratio = ratio, prior / noise
        if abs(ratio - previous) <= _CONVERGED * previous:
            break
    log_det = np.sum(np.log(prior) - np.log(prior + noise * power))
    return float((m * np.log(noise / (2 * np.pi)) + log_det - noise * error - prior * weight) / 2 / m)
