"""A metric as one number a picture: what candidates are compared by, picture against the same picture."""

from __future__ import annotations

import numpy as np

CLIP = 1e-7  # probabilities are kept this far from 0 and 1 in the log loss


def log_losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(M,) float64: minus the logarithm of the true class's probability in `p` (M, C), in nats."""
    p_truth = np.clip(p[np.arange(len(y)), y].astype(np.float64), CLIP, 1 - CLIP)
    return np.asarray(-np.log(p_truth))


def brier_losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(M,) float64 squared distance of the probabilities (M, C) from the truth, 0..2 (Brier 1950)."""
    squares = np.sum(np.square(p, dtype=np.float64), axis=1)
    return np.asarray(squares - 2 * p[np.arange(len(y)), y].astype(np.float64) + 1)


def per_picture_loss(metric: str, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(M,) float64: a metric as one loss a picture whose mean is `log_loss`, 1 - `accuracy` or 1 - `balanced_accuracy`.

    Another metric is a `ValueError`.
    """
    if metric == "log_loss":
        return log_losses(y, p)
    wrong = np.asarray(np.argmax(p, axis=1) != y).astype(np.float64)
    if metric == "accuracy":
        return wrong
    if metric == "balanced_accuracy":
        counts = np.bincount(y)
        return np.asarray(wrong * len(y) / ((counts > 0).sum() * counts[y]))
    raise ValueError(f"no loss is known for `{metric}`")
