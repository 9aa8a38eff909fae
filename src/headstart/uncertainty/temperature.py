"""Probabilities as sure as they are right: log probabilities divided by one number (Guo 2017), fitted on held-out rows.

The number is kept only where it makes pictures that it was not fitted on more probable. Where fewer than `ERRORS`
errors tell it, probabilities are made surer only until their mean reaches (right + 1) / (n + 2), what n pictures allow
to say of the next one (Laplace's rule of succession): pictures without an error fit any certainty.

Of several labels a picture one number divides all log odds: each label is a choice of two, absent or present.
"""

from __future__ import annotations

import numpy as np

from headstart.core.types import CLASSIFICATION, Calibrated, Task
from headstart.statistics.root_finding import find_root
from headstart.statistics.sampling import draw_rows

LIMITS = 0.05, 20.0  # beyond, held-out answers are all right or no better than chance, and no temperature is right
PARTS = 5
ERRORS = 5  # from which on the loss itself tells how sure is too sure
MOST = 20_000  # pictures that tell it: one number needs no more
_STEPS = 60


def pair_probabilities(p: np.ndarray) -> np.ndarray:
    """(…, M, C) probabilities of labels -> (…, M * C, 2) of absent and present."""
    return np.stack([1 - p, p], axis=-1).reshape(*p.shape[:-2], -1, 2)


def apply_temperature(p: np.ndarray, temperature: float, task: Task = CLASSIFICATION) -> np.ndarray:
    """(M, C) probabilities, of the same type, whose logarithms are divided by a temperature; above 1: less sure."""
    if temperature == 1.0:
        return p
    if task.has_labels:
        return apply_temperature(pair_probabilities(p), temperature)[:, 1].reshape(p.shape)
    logits = np.log(np.maximum(p, np.finfo(np.float32).tiny)) / np.asarray(temperature, p.dtype)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def mean_log_loss(p: np.ndarray, y: np.ndarray) -> float:
    """Mean of minus the logarithm of the true class's probability."""
    true_probabilities = np.asarray(p)[np.arange(len(y)), y].astype(np.float64)
    return max(0.0, float(-np.log(np.clip(true_probabilities, np.finfo(np.float32).tiny, 1.0)).mean()))


def fit_temperature(p: np.ndarray, y: np.ndarray) -> float:
    """The temperature of the lowest log loss between the `LIMITS`; at most `MOST` pictures tell it.

    The loss is convex in one over the temperature, so that its slope has one root.
    """
    if not len(y):
        return 1.0
    some = draw_rows(len(y), MOST)
    logits = np.log(np.maximum(np.asarray(p)[some].astype(np.float64), np.finfo(np.float32).tiny))
    logits -= logits.max(axis=1, keepdims=True)
    true_mean = float(logits[np.arange(len(some)), y[some]].mean())

    def measure_slope(factor: float) -> tuple[float, float]:
        mean, spread = _logit_moments(logits, factor)
        return mean - true_mean, spread

    return float(np.clip(1 / find_root(measure_slope, 1 / LIMITS[1], 1 / LIMITS[0]), *LIMITS))


def fit_bounded_temperature(p: np.ndarray, y: np.ndarray, clusters: np.ndarray, n_labels: int = 1) -> float:
    """The temperature of `fit_temperature`, no surer than pictures without enough errors can tell.

    Pictures of one label in `clusters` (M,), near-duplicates, count as one; each has `n_labels` rows.
    """
    temperature = fit_temperature(p, y)
    if temperature >= 1.0:
        return temperature
    n, share = n_labels * len(np.unique(clusters)), float((p.argmax(axis=1) == y).mean())
    if (1 - share) * n >= ERRORS:
        return temperature
    most = (share * n + 1) / (n + 2)
    if _mean_confidence(p, temperature) <= most:
        return temperature
    low, high = temperature, 1.0
    if _mean_confidence(p, high) >= most:
        return 1.0
    for _ in range(_STEPS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if _mean_confidence(p, middle) > most else (low, middle)
    return high


def _mean_confidence(p: np.ndarray, temperature: float) -> float:
    return float(apply_temperature(np.asarray(p, np.float64), temperature).max(axis=1).mean())


def _logit_moments(logits: np.ndarray, factor: float) -> tuple[float, float]:
    """Mean and variance of the logits (M, C) by the probabilities that they make times a factor, over all pictures."""
    powers = np.exp(factor * logits)
    powers /= powers.sum(axis=1, keepdims=True)
    means, squares = (np.einsum("mc,mc->m", powers, values) for values in (logits, logits**2))
    return float(means.mean()), float((squares - means**2).mean())


def apply_cross_fitted_temperature(
    p: np.ndarray, y: np.ndarray, clusters: np.ndarray, seed: int, task: Task = CLASSIFICATION
) -> np.ndarray:
    """(M, C) probabilities, each picture tempered by what the other parts say, near-duplicates in one part."""
    if task.has_labels:
        pairs, states, tied = pair_probabilities(p), y.ravel().astype(np.int64), np.repeat(clusters, p.shape[1])
        return _temper_by_others(pairs, states, tied, seed, p.shape[1])[:, 1].reshape(p.shape)
    return _temper_by_others(p, y, clusters, seed, 1)


def _temper_by_others(p: np.ndarray, y: np.ndarray, clusters: np.ndarray, seed: int, n_labels: int) -> np.ndarray:
    groups = np.unique(clusters, return_inverse=True)[1]
    part = (np.random.default_rng(seed).permutation(int(groups.max()) + 1) % PARTS)[groups]
    probabilities = np.array(p)
    for part_number in np.unique(part):
        others = part != part_number
        temperature = fit_bounded_temperature(p[others], y[others], clusters[others], n_labels)
        probabilities[part == part_number] = apply_temperature(probabilities[part == part_number], temperature)
    return probabilities


def choose_temperature(
    held_RMC: np.ndarray, y: np.ndarray, clusters: np.ndarray, seed: int, task: Task = CLASSIFICATION
) -> Calibrated:
    """The temperature of all pictures, or 1 where tempering does not pay on pictures it was not fitted on.

    Each of the R repeats of `held_RMC` counts as it is: a mean of several is less sure than the one model handed over.
    """
    (repeats, n), n_labels = held_RMC.shape[:2], 1
    if task.has_labels:
        n_labels = held_RMC.shape[2]
        clusters = np.repeat(clusters, n_labels)
        held_RMC, y = pair_probabilities(held_RMC), y.ravel().astype(np.int64)
    if not n:
        why = "no held-out prediction tells a temperature: probabilities stay as they are"
        return Calibrated(temperature=1.0, before=float("nan"), after=float("nan"), n=0, why=why)
    p, every, tied = np.concatenate(list(held_RMC)), np.tile(y, repeats), np.tile(clusters, repeats)
    loss_before = mean_log_loss(p, every)
    loss_after = mean_log_loss(_temper_by_others(p, every, tied, seed, n_labels), every)
    temperature = fit_bounded_temperature(p, every, tied, n_labels) if loss_after < loss_before else 1.0
    why = _format_reason(temperature, loss_before, loss_after, n)
    # where it pays, only the bound keeps it away
    if loss_after < loss_before and temperature <= 1.0 and fit_temperature(p, every) < temperature:
        why += f"; {n:,} pictures with so few errors tell nothing of a higher certainty"
    return Calibrated(temperature=temperature, before=loss_before, after=loss_after, n=n, why=why)


def _format_reason(temperature: float, loss_before: float, loss_after: float, n: int) -> str:
    losses = f"log loss of {n:,} held-out pictures is {loss_before:.4f}, "
    losses += f"with a temperature set by others {loss_after:.4f}"
    if temperature == 1.0:
        return f"probabilities stay as they are: {losses}"
    direction = "less sure" if temperature > 1 else "surer"
    return f"probabilities are made {direction} by the temperature {temperature:.3f}: {losses}"
