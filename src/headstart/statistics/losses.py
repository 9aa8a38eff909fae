"""A metric as one number a picture: what candidates are compared by, picture against the same picture."""

from __future__ import annotations

import numpy as np

GAINS = ("r2", "quadratic_weighted_kappa", "spearman", "mean_average_precision", "exact_match")
CLIP = 1e-7  # probabilities are kept this far from 0 and 1 in the log loss


def log_losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(M,) float64: minus the logarithm of the true class's probability in `p` (M, C), in nats."""
    p_truth = np.clip(p[np.arange(len(y)), y].astype(np.float64), CLIP, 1 - CLIP)
    return np.asarray(-np.log(p_truth))


def brier_losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(M,) float64 squared distance of the probabilities (M, C) from the truth, 0..2 (Brier 1950)."""
    squares = np.sum(np.square(p, dtype=np.float64), axis=1)
    return np.asarray(squares - 2 * p[np.arange(len(y)), y].astype(np.float64) + 1)


def ranked_probability_losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(M,) float64 squared distance of the cumulated probabilities (M, C) of grades from the truth (Epstein 1969).

    Not divided by C - 1, so that it is in ranks: an answer of which a head is certain costs the ranks that it is off.
    """
    reached = np.arange(p.shape[1]) >= y[:, None]
    return np.asarray(np.sum(np.square(np.cumsum(p, axis=1, dtype=np.float64) - reached)[:, :-1], axis=1))


def squared_errors(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(M,) float64 squared errors of numbers (M, 1) in parts of the variance of `y` (M,): their mean is 1 - R2."""
    squares = np.square(np.asarray(p[:, 0], np.float64) - y)
    spread = float(np.var(y))
    return np.asarray(squares / spread if spread > 0 else squares)


def binary_log_losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(M,) float64: the log loss of each label by itself, averaged over labels, of `y` (M, C) bool, in nats."""
    p_truth = np.where(y, p, 1 - np.asarray(p, np.float64))
    return np.asarray(-np.log(np.clip(p_truth, CLIP, 1 - CLIP)).mean(axis=1))


def measure_share_loss(y: np.ndarray) -> float:
    """The mean of `binary_log_losses` of `y` (M, C) bool where the answer is each label's share."""
    return float(binary_log_losses(y, np.broadcast_to(np.asarray(y).mean(axis=0), np.shape(y))).mean())


def is_gain(metric: str) -> bool:
    """Whether more of a score is better."""
    return metric in GAINS or metric.endswith(("accuracy", "f1", "auc"))


def per_picture_loss(metric: str, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(M,) float64: a metric as one loss a picture, whose mean is `log_loss`, or 1 minus a score that should be large.

    Another metric is a `ValueError`.
    """
    if metric in _LOSSES:
        return _LOSSES[metric](y, p)
    wrong = np.asarray(np.argmax(p, axis=1) != y).astype(np.float64)
    if metric == "accuracy":
        return wrong
    if metric == "balanced_accuracy":
        counts = np.bincount(y)
        return np.asarray(wrong * len(y) / ((counts > 0).sum() * counts[y]))
    raise ValueError(f"no loss is known for `{metric}`")


_LOSSES = {
    "log_loss": log_losses,
    "r2": squared_errors,
    "binary_log_loss": binary_log_losses,
    "ranked_probability_score": ranked_probability_losses,
}
