"""The learning curve so far: the chosen head on ever larger parts of the training pictures, judged on the same folds.

Parts are drawn inside each fold's training pictures, class by class in whole clusters. The last point is the
cross-validation itself. It is the curve of the frozen features; fine-tuning may have another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from headstart.core import blas_threads
from headstart.core.types import CurvePoint
from headstart.heads import cross_validation
from headstart.selection.cv_problem import CvProblem
from headstart.selection.probe.head_selection import HeadResult, load_head

PARTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
DRAWS = 3
LEAST = 2  # pictures a class, on average, in the smallest part


def learning_curve(entry: HeadResult, x: np.ndarray, problem: CvProblem) -> tuple[CurvePoint, ...]:
    """Up to six points of the chosen head on its features (M, D) float32."""
    fold, metric = problem.folds[0], problem.task.curve
    n_train = int(np.mean([(fold >= 0).sum() - (fold == k).sum() for k in np.unique(fold[fold >= 0])]))
    points = []
    for part in PARTS:
        size = int(part * n_train)
        if size >= LEAST * len(np.unique(problem.strata)):
            held_out = _predict_on_part(
                entry, cross_validation.resize_params(entry.tuned.params, size, n_train), x, problem, part
            )
            points.append(CurvePoint(n_train=size, score=problem.average_scores(metric, held_out)))
    points.append(CurvePoint(n_train=n_train, score=problem.average_scores(metric, entry.tuned.held_out)))
    return tuple(points)


def _predict_on_part(
    entry: HeadResult, params: Mapping[str, Any], x: np.ndarray, problem: CvProblem, part: float
) -> np.ndarray:
    """(DRAWS, M, C) probabilities by heads that learnt from a part of each fold's training pictures."""
    probabilities = np.full((DRAWS, len(x), problem.n_classes), np.nan, np.float32)
    fold = problem.folds[0]
    head = cross_validation.loosen_head(load_head(entry.head, entry.features, problem))

    def judge_fold(task: tuple[int, int]) -> None:
        draw, k = task
        test_rows, train_rows = np.flatnonzero(fold == k), np.flatnonzero((fold != k) & (fold >= 0))
        train_rows = thin_by_clusters(train_rows, part, problem, [problem.seed, k, draw, int(1 / part)])
        probabilities[draw, test_rows] = cross_validation.fit_and_predict(
            head, x, problem.y, train_rows, test_rows, grid=[params], **problem.shared
        )[0]

    with blas_threads.single_blas_thread():
        tasks = [(draw, int(k)) for draw in range(DRAWS) for k in np.unique(fold[fold >= 0])]
        cross_validation.run_in_threads(judge_fold, tasks, int(x.nbytes * part))
    return probabilities


def thin_by_clusters(rows: np.ndarray, part: float, problem: CvProblem, seed: list[int]) -> np.ndarray:
    """About this part of some positions: whole clusters, class by class, at least one cluster of each class."""
    rng, thinned = np.random.default_rng(seed), []
    groups, strata = problem.clusters[problem.rows], problem.strata[rows]
    for c in np.unique(strata):
        class_rows = rows[strata == c]
        clusters, sizes = np.unique(groups[class_rows], return_counts=True)
        order = rng.permutation(len(clusters))
        enough = np.searchsorted(np.cumsum(sizes[order]), part * len(class_rows)) + 1
        thinned.append(class_rows[np.isin(groups[class_rows], clusters[order[:enough]])])
    return np.sort(np.concatenate(thinned))
