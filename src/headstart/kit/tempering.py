"""Probabilities as sure as they are right: log probabilities divided by one number (Guo 2017), fitted on held-out rows.

One number cannot change which class is likeliest, and cannot overfit a few hundred pictures. The number is kept only
where it makes pictures that it was not fitted on more probable.
"""

from __future__ import annotations

import numpy as np

from headstart.core.types import Calibrated

LIMITS = 0.05, 20.0  # beyond, held-out answers are all right or no better than chance, and no temperature is right
PARTS = 5
_STEPS = 60
_GOLDEN = (5**0.5 - 1) / 2


def tempered(p: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities whose logarithms are divided by a temperature.

    Args:
        p: (M, C) float32.
        temperature: Above 1 makes them less sure, below 1 surer; 1 leaves them as they are.

    Returns:
        (M, C) of the same type, rows summing to 1.
    """
    if temperature == 1.0:
        return p
    logits = np.log(np.maximum(p, np.finfo(np.float32).tiny)) / np.asarray(temperature, p.dtype)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return found


def log_loss(p: np.ndarray, y: np.ndarray) -> float:
    """Mean of minus the logarithm of the true class's probability."""
    own = np.asarray(p, np.float64)[np.arange(len(y)), y]
    return float(-np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean())


def fit(p: np.ndarray, y: np.ndarray) -> float:
    """The temperature of the lowest log loss, by golden section over its logarithm (the loss has one valley).

    Args:
        p: (M, C) held-out probabilities.
        y: (M,) int64.

    Returns:
        Between the `LIMITS`; 1 without pictures.
    """
    if not len(y):
        return 1.0
    wide = np.asarray(p, np.float64)
    low, high = np.log(LIMITS)
    for _ in range(_STEPS):
        a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if log_loss(tempered(wide, float(np.exp(a))), y) <= log_loss(tempered(wide, float(np.exp(b))), y):
            high = b
        else:
            low = a
    return float(np.exp((low + high) / 2))


def cross_fitted(p: np.ndarray, y: np.ndarray, clusters: np.ndarray, seed: int) -> np.ndarray:
    """Each picture tempered by what the other parts say, look-alikes in one part.

    Args:
        p: (M, C) held-out probabilities.
        y: (M,) int64.
        clusters: (M,) labels of look-alikes.
        seed: Of the parts.

    Returns:
        (M, C) probabilities.
    """
    groups = np.unique(clusters, return_inverse=True)[1]
    part = (np.random.default_rng(seed).permutation(int(groups.max()) + 1) % PARTS)[groups]
    found = np.array(p)
    for one in np.unique(part):
        found[part == one] = tempered(found[part == one], fit(p[part != one], y[part != one]))
    return found


def calibrated(held_RMC: np.ndarray, y: np.ndarray, clusters: np.ndarray, seed: int) -> Calibrated:
    """The temperature of all pictures, or 1 where tempering does not pay on pictures it was not fitted on.

    Args:
        held_RMC: (R, M, C) held-out probabilities of R repeats; each counts as it is, for a mean of several is less
            sure than the one model that is handed over.
        y: (M,) int64.
        clusters: (M,) labels of look-alikes.
        seed: Of the parts.
    """
    repeats, n = held_RMC.shape[:2]
    if not n:
        why = "no held-out prediction tells a temperature: probabilities stay as they are"
        return Calibrated(temperature=1.0, before=float("nan"), after=float("nan"), n=0, why=why)
    p, every, tied = np.concatenate(list(held_RMC)), np.tile(y, repeats), np.tile(clusters, repeats)
    before, after = log_loss(p, every), log_loss(cross_fitted(p, every, tied, seed), every)
    found = fit(p, every) if after < before else 1.0
    return Calibrated(temperature=found, before=before, after=after, n=n, why=_why(found, before, after, n))


def _why(found: float, before: float, after: float, n: int) -> str:
    losses = f"log loss of {n:,} held-out pictures is {before:.4f}, with a temperature set by others {after:.4f}"
    if found == 1.0:
        return f"probabilities stay as they are: {losses}"
    way = "less sure" if found > 1 else "surer"
    return f"probabilities are made {way} by the temperature {found:.3f}: {losses}"
