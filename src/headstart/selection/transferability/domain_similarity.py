"""How alike source and target pictures are in a trunk's own features: Fréchet distance and a two-sample classifier.

Both look at equally many pictures of either side, equal rows once, in the principal directions of the two sides
together: few enough that covariances of some hundred pictures mean something, however wide the features are. Dead
channels and constant columns have no direction and change nothing. No label is looked at, and neither decides.
Legend: M rows of a side, D columns, Q directions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headstart.statistics.intervals import Interval, wilson
from headstart.statistics.sampling import spread

ROWS = 256  # of a side
LEAST = 16  # distinct rows of a side: below, nothing is told
FOLDS = 5
OVERLAP = 1 + FOLDS / (
    FOLDS - 1
)  # 1 + folds * judged / learnt: the classifiers of the folds share what they learn from
_DIRECTIONS = 64
_ROWS_A_DIRECTION = 8  # of both sides together
_RANK = 1e-9  # variance below this part of the largest is rounding
_EVEN = 1e-9  # scores of +-1 that are rounding: a picture that is told neither way is half right
_STRENGTH = 0.1  # ridge in units of the mean variance of standardised directions


class Sides(NamedTuple):
    """Two sets of pictures in the directions they share; both `(M, Q)` float64, M and Q the same."""

    source: np.ndarray
    target: np.ndarray


def sides(source: np.ndarray, target: np.ndarray) -> Sides | None:
    """Bring two sets of features together.

    Args:
        source: (S, D) float32 features of source pictures, in an order whose evenly spaced rows stand for all.
        target: (T, D) float32 features of target pictures, likewise; of each at most 256 are used.

    Returns:
        None where a side has fewer than 16 distinct rows, or nothing varies.

    Raises:
        ValueError: The widths differ.
    """
    if source.shape[1] != target.shape[1]:
        raise ValueError(f"features of width {source.shape[1]} and {target.shape[1]} are not of one trunk and depth")
    count = min(len(source), len(target), ROWS)
    a, b = (_distinct(np.asarray(x[spread(len(x), count)], np.float64)) for x in (source, target))
    count = min(len(a), len(b))
    if count < LEAST:
        return None
    x = np.concatenate([side[spread(len(side), count)] for side in (a, b)])
    x -= x.mean(axis=0)
    size = float(np.abs(x).max(initial=0.0))
    if size == 0:
        return None
    inside = _directions(x / size)
    return Sides(inside[:count], inside[count:]) if inside.shape[1] else None


def _distinct(x: np.ndarray) -> np.ndarray:
    """Equal rows once, in their order."""
    seen: dict[bytes, int] = {}
    for at, row in enumerate(x):
        seen.setdefault(row.tobytes(), at)
    return x[list(seen.values())]


def _directions(x: np.ndarray) -> np.ndarray:
    """(2M, D) centred rows -> (2M, Q) coordinates along the largest principal directions."""
    most = min(_DIRECTIONS, max(1, len(x) // _ROWS_A_DIRECTION), *x.shape)
    wide = x.shape[1] > len(x)
    power, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)  # the largest come last
    kept = np.flatnonzero(power > _RANK * max(float(power[-1]), 1e-300))[-most:]
    power, vectors = power[kept], vectors[:, kept]
    return np.asarray(vectors * np.sqrt(power) if wide else x @ vectors)


def frechet(of: Sides) -> float:
    """Squared Fréchet distance of the two sides as normal distributions, over their variances together.

    |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)), divided by tr S + tr S' (Dowson and Landau 1982; Heusel, NeurIPS 2017),
    so that the scale of a trunk's features does not matter and depths can be compared. Two samples of the same
    pictures come out a little above 0, the more so the fewer they are; at most 1 is owed to the covariances, the rest
    to the means.

    Returns:
        0 for equal sides, never below; the same with the sides changed over. Sides that lie apart and do not vary
        beside that have 1e9, not infinity.
    """
    middles = [side.mean(axis=0) for side in of]
    a, b = ((side - middle) / np.sqrt(len(side)) for side, middle in zip(of, middles, strict=True))
    variance = float(np.sum(a * a) + np.sum(b * b))
    # The singular values of S^(1/2) S'^(1/2), from triangular factors: no root of a matrix that may be singular.
    first, second = (np.asarray(np.linalg.qr(side, mode="r")) for side in (a, b))
    shared = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    apart = float(np.sum((middles[0] - middles[1]) ** 2))
    distance = max(apart + variance - 2 * float(shared), 0.0)
    return distance / max(variance, 1e-9 * apart, 1e-300)


def two_sample(of: Sides, seed: int = 0) -> Interval:
    """How often a classifier tells the sides apart on pictures that it did not learn from; 0.5 is by chance.

    The classifier two-sample score (Lopez-Paz and Oquab, ICLR 2017) with a ridge classifier in standardised directions
    and 5-fold cross-validation. Wilson's interval of the accuracy, on as many fewer pictures as the variance of a
    cross-validated mean is larger for folds that learn from mostly the same (Nadeau and Bengio, Machine Learning 2003).

    Args:
        of: The two sides.
        seed: Of the folds.
    """
    count = len(of.source)
    x = np.concatenate(of)
    x = x / np.sqrt(np.mean(x * x, axis=0))  # no direction is without variance
    side = np.repeat([1.0, -1.0], count)
    order = np.random.default_rng(seed).permutation(count)
    folds = np.tile(np.argsort(order) % FOLDS, 2)
    right = 0.0
    for fold in range(FOLDS):
        held = folds == fold
        scores = _scores(x[~held], side[~held], x[held]) * side[held]
        right += float(np.sum(scores > _EVEN) + np.sum(np.abs(scores) <= _EVEN) / 2)
    return wilson(right / OVERLAP, 2 * count / OVERLAP)


def _scores(x: np.ndarray, side: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Ridge regression on +1 and -1, of which there are equally many."""
    middle = x.mean(axis=0)
    z = x - middle
    weights = np.linalg.solve(z.T @ z + _STRENGTH * len(z) * np.eye(z.shape[1]), z.T @ side)
    return np.asarray((of - middle) @ weights)
