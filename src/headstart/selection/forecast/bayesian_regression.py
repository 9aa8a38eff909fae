"""A linear model that believes something before it has seen anything, and learns from every case in closed form.

The coefficients have a Gaussian prior, the noise of each case is given: the posterior is the ridge solution or, where
columns stand for groups, the best linear unbiased prediction of a mixed model (Henderson, Biometrics 1975; Robinson,
Statistical Science 1991). How far earlier forecasts missed, each made from the cases before it alone (as its caller
describes them), widens or narrows what it says (prequential: Dawid 1984; from 20 misses on their quantile: Vovk,
Gammerman and Shafer 2005).
Legend: N cases, P coefficients.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEVEL = 0.95  # of every interval
ENOUGH = 20  # misses from which on their own quantile counts: below 19 there is none for LEVEL
TRUST = 10.0  # misses that the assumed noise counts for
GAUSSIAN = 1.959964  # standard deviations to either side that hold LEVEL
_BLOCK = 256  # cases that are learnt from at once


class Belief(NamedTuple):
    """What is believed of the coefficients: mean (P,) and covariance (P, P)."""

    mean: np.ndarray
    cov: np.ndarray


def start(mean: np.ndarray, sd: np.ndarray) -> Belief:
    """Independent Gaussians; a standard deviation of 0 is a coefficient that is known."""
    return Belief(np.asarray(mean, np.float64), np.diag(np.square(np.asarray(sd, np.float64))))


def learn(known: Belief, x: np.ndarray, y: np.ndarray, noise_sd: np.ndarray) -> Belief:
    """The posterior after N cases.

    Args:
        known: What is believed without them.
        x: (N, P).
        y: (N,).
        noise_sd: (N,) above 0.
    """
    for at in range(0, len(y), _BLOCK):
        rows = slice(at, at + _BLOCK)
        reach = known.cov @ x[rows].T  # (P, rows)
        gain = np.linalg.solve(x[rows] @ reach + np.diag(np.square(noise_sd[rows])), reach.T).T
        cov = known.cov - gain @ reach.T
        known = Belief(known.mean + gain @ (y[rows] - x[rows] @ known.mean), (cov + cov.T) / 2)
    return known


def held(known: Belief, at: int, least: float) -> Belief:
    """With one coefficient at `least` where it is believed to be lower; the others follow as far as they hang on it."""
    if known.mean[at] >= least or known.cov[at, at] <= 0:
        return known
    pull = known.cov[:, at] / known.cov[at, at]
    return Belief(known.mean + pull * (least - known.mean[at]), known.cov - np.outer(pull, known.cov[at]))


def told(known: Belief, x: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of what is believed of a case x (P,), without its noise."""
    return float(x @ known.mean), float(np.sqrt(max(x @ known.cov @ x, 0.0)))


def misses(known: Belief, x: np.ndarray, y: np.ndarray, noise_sd: np.ndarray) -> np.ndarray:
    """How far each case lay from what the cases before it let expect, in standard deviations (N,)."""
    found = np.empty(len(y))
    for at, noise in enumerate(noise_sd):
        mean, sd = told(known, x[at])
        found[at] = (y[at] - mean) / np.hypot(sd, noise)
        known = learn(known, x[at : at + 1], y[at : at + 1], noise_sd[at : at + 1])
    return found


def width(missed: np.ndarray) -> float:
    """Standard deviations to either side that hold LEVEL of the cases, as far as earlier misses tell.

    With few misses it is the Gaussian's, scaled by their spread and that of TRUST assumed ones; from ENOUGH on their
    conformal quantile. Misses of cases that were easier than assumed narrow it, to a half at most.
    """
    n = len(missed)
    if n >= ENOUGH:
        at = min(n, int(np.ceil((n + 1) * LEVEL))) - 1
        return float(max(np.sort(np.abs(missed))[at], GAUSSIAN / 2))
    spread = (TRUST + float(np.sum(np.square(missed)))) / (TRUST + n)
    return float(GAUSSIAN * max(np.sqrt(spread), 0.5))
