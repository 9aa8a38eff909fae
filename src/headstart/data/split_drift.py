"""Whether pictures of one side of a split can be told from those of the other, class by class, by their features.

The classifier two-sample test of Lopez-Paz and Oquab (2017): a linear classifier learns on some pictures which side
they are of, and answers for others. Where sides are drawn at random it can only guess. Features and sides are taken
relative to their class, so that shares of classes do not matter; the same fit for permuted sides gives an exact p.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.statistics.intervals import Interval, area_interval, cross_validation_effect
from headstart.statistics.sampling import draw_rows

FOLDS, DRAWS = 5, 999
MOST_A_SIDE = 2_000  # pictures that are compared
WIDTH = 128  # principal components that the classifier sees
RIDGE = 0.3  # of the mean variance of a component: the strength of the penalty


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SideTest:
    """How well two sides are told apart."""

    auc: Interval  # within classes, of pictures that the classifier had not seen
    p: float  # of at least as much by chance
    order: np.ndarray  # (B,) int64 positions of the second side, the least like the first side first
    n_first: int
    n_second: int


def compare_sides(x: np.ndarray, strata: np.ndarray, second: np.ndarray) -> SideTest | None:
    """Compare features x (M, D) of the sides `second` (M,) bool within each of `strata` (M,).

    None where no stratum has two pictures of each side.
    """
    rows = _draw_pictures(strata, second)
    if not len(rows):
        return None
    rng, y, strata = (
        np.random.default_rng(0),
        second[rows].astype(np.float64),
        np.unique(strata[rows], return_inverse=True)[1],
    )
    places = [np.flatnonzero(strata == label) for label in range(int(strata.max()) + 1)]
    sides = np.repeat(y[:, None], DRAWS + 1, axis=1)  # (B, P) the observed sides, and permuted ones
    folds = np.empty(len(rows), np.int64)
    for members in places:
        sides[members, 1:] = rng.permuted(sides[members, 1:], axis=0)
        folds[members] = rng.permutation(len(members)) % FOLDS
    scores = _cross_validate(_reduce_features(x[rows], places), sides, places, folds)
    areas, weight = _measure_areas(scores, sides, places)
    n_second = int(y.sum())
    n_first = len(y) - n_second
    effect = n_first * n_second / len(y) / weight * cross_validation_effect(FOLDS)
    judged = np.flatnonzero(y)
    return SideTest(
        auc=area_interval(float(areas[0]), n_first, n_second, effect),
        p=float((areas >= areas[0] - 1e-12).mean()),
        order=rows[judged[np.argsort(-scores[judged, 0], kind="stable")]],
        n_first=n_first,
        n_second=n_second,
    )


def _draw_pictures(strata: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(B,) positions of strata with two pictures of each side, so many of each side that both are compared quickly."""
    counts = [np.bincount(strata[second == side], minlength=int(strata.max(initial=0)) + 1) for side in (False, True)]
    able = np.minimum(*counts)[strata] > 1
    sides = [np.flatnonzero(able & (second == side)) for side in (False, True)]
    return np.concatenate([rows[draw_rows(len(rows), MOST_A_SIDE)] for rows in sides])


def _reduce_features(x: np.ndarray, places: list[np.ndarray]) -> np.ndarray:
    """(B, W) float32 principal components of standardised features, relative to the mean of each stratum."""
    x = x.astype(np.float32)
    for members in places:
        x[members] -= x[members].mean(axis=0)
    deviation = x.std(axis=0)
    x /= np.where(deviation > 1e-6, deviation, np.inf)
    if len(x) < x.shape[1]:
        squares, axes = np.linalg.eigh(x @ x.T)
        reduced: np.ndarray = (axes * np.sqrt(np.maximum(squares, 0)))[:, ::-1][:, :WIDTH]
    else:
        reduced = x @ np.linalg.eigh(x.T @ x)[1][:, ::-1][:, :WIDTH]
    return np.asarray(reduced / np.sqrt(np.maximum((reduced**2).mean(), 1e-12)), np.float32)


def _cross_validate(x: np.ndarray, sides: np.ndarray, places: list[np.ndarray], folds: np.ndarray) -> np.ndarray:
    """(B, P) held-out answers of least squares with a ridge, for each column of sides (B, P)."""
    targets = sides.astype(np.float32)
    for members in places:
        targets[members] -= targets[members].mean(axis=0)
    scores = np.empty_like(targets)
    for fold in range(FOLDS):
        learnt, judged = x[folds != fold], folds == fold
        gram = learnt.T @ learnt + RIDGE * len(learnt) * np.eye(x.shape[1], dtype=np.float32)
        scores[judged] = x[judged] @ np.linalg.solve(gram, learnt.T @ targets[folds != fold])
    return scores


def _measure_areas(scores: np.ndarray, sides: np.ndarray, places: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """(P,) areas under the ROC curve within strata, averaged by their weights, and the sum of these."""
    total, weights = np.zeros(scores.shape[1]), 0.0
    for members in places:
        ranks = np.argsort(np.argsort(scores[members], axis=0), axis=0) + 1.0
        n_second = float(sides[members, 0].sum())
        n_first = len(members) - n_second
        area = ((ranks * sides[members]).sum(axis=0) - n_second * (n_second + 1) / 2) / (n_first * n_second)
        weight = n_first * n_second / len(members)
        total, weights = total + weight * area, weights + weight
    return total / weights, weights
