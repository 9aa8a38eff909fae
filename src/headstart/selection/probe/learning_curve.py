"""The learning curve so far: the chosen head on ever larger parts of the training pictures, judged on the same folds.

Parts are drawn inside each fold's training pictures, class by class in whole clusters, so that shares are kept. The
strength follows the size as the heads' grids do. The last point is the cross-validation itself. It is the curve of the
frozen features; fine-tuning may have another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from headstart.core import blas_threads
from headstart.core.types import CurvePoint
from headstart.heads import cross_validation
from headstart.selection.probe.head_selection import HeadCvProblem, HeadResult, averaged, plugin

PARTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
DRAWS = 3
METRIC = "balanced_accuracy"
LEAST = 2  # pictures a class, on average, in the smallest part


def learning_curve(entry: HeadResult, x: np.ndarray, on: HeadCvProblem) -> tuple[CurvePoint, ...]:
    """Up to six points.

    Args:
        entry: The chosen head, its setting and its held-out probabilities.
        x: (M, D) float32 its features.
        on: Pictures and folds.
    """
    fold = on.folds[0]
    learnt = int(np.mean([(fold >= 0).sum() - (fold == k).sum() for k in np.unique(fold[fold >= 0])]))
    points = []
    for part in PARTS:
        size = int(part * learnt)
        if size >= LEAST * on.n_classes:
            held = _held_out(entry, resized(entry.tuned.params, size, learnt), x, on, part)
            points.append(CurvePoint(n_train=size, score=averaged(METRIC, held, on)))
    points.append(CurvePoint(n_train=learnt, score=averaged(METRIC, entry.tuned.held_out, on)))
    return tuple(points)


def resized(params: Mapping[str, Any], size: int, full: int) -> Mapping[str, Any]:
    """A setting found with `full` pictures, for `size` pictures.

    Strengths of the grids are in parts of D / M, so they grow as the pictures get fewer; neighbours cannot be more than
    half the pictures.
    """
    here = dict(params)
    if "strength" in here:
        here["strength"] *= full / size
    if "k" in here:
        here["k"] = min(here["k"], max(size // 2, 1))
    return here


def _held_out(
    entry: HeadResult, params: Mapping[str, Any], x: np.ndarray, on: HeadCvProblem, part: float
) -> np.ndarray:
    """(DRAWS, M, C) probabilities by heads that learnt from a part of each fold's training pictures."""
    held = np.full((DRAWS, len(x), on.n_classes), np.nan, np.float32)
    fold, head = on.folds[0], plugin(entry.head, entry.features, on)

    def one(task: tuple[int, int]) -> None:
        draw, k = task
        judged, rest = np.flatnonzero(fold == k), np.flatnonzero((fold != k) & (fold >= 0))
        learnt = thinned(rest, part, on, [on.seed, k, draw, int(1 / part)])
        held[draw, judged] = cross_validation.fit_and_predict(
            head, x, on.y, learnt, judged, grid=[params], **on.shared
        )[0]

    with blas_threads.single_blas_thread():
        tasks = [(draw, int(k)) for draw in range(DRAWS) for k in np.unique(fold[fold >= 0])]
        cross_validation.run_in_threads(one, tasks, int(x.nbytes * part))
    return held


def thinned(rows: np.ndarray, part: float, on: HeadCvProblem, seed: list[int]) -> np.ndarray:
    """About this part of some positions: whole clusters, class by class, at least one cluster of each class."""
    rng, found = np.random.default_rng(seed), []
    groups = np.asarray(on.clusters)[on.rows]
    for c in np.unique(on.y[rows]):
        own = rows[on.y[rows] == c]
        clusters, sizes = np.unique(groups[own], return_counts=True)
        order = rng.permutation(len(clusters))
        enough = np.searchsorted(np.cumsum(sizes[order]), part * len(own)) + 1
        found.append(own[np.isin(groups[own], clusters[order[:enough]])])
    return np.sort(np.concatenate(found))
