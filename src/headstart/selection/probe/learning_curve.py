"""The learning curve so far: the chosen head on ever larger parts of the training pictures, judged on the same folds.

Parts are drawn inside each fold's training pictures, class by class in whole clusters. The last point is the
cross-validation itself. It is the curve of the frozen features; fine-tuning may have another.
"""

from __future__ import annotations

import numpy as np

from headstart.core import blas_threads
from headstart.core.types import CurvePoint
from headstart.heads import cross_validation
from headstart.selection.cv_problem import CvProblem
from headstart.selection.probe.head_selection import HeadResult, load_head

SIZES = 7  # of the curve, in equal steps of their logarithm
SMALLEST = 1 / 32  # part of the training pictures in the first
LEAST = 2  # pictures a class, on average, in the smallest part
DRAWS, ENOUGH = (3, 10), 1_000  # draws of a size: the more pictures are drawn, the less two draws differ


def learning_curve(entry: HeadResult, x: np.ndarray, problem: CvProblem) -> tuple[CurvePoint, ...]:
    """Up to `SIZES` points of the chosen head on its features (M, D) float32."""
    fold, metric = problem.folds[0], problem.task.curve
    n_train = int(np.mean([(fold >= 0).sum() - (fold == k).sum() for k in np.unique(fold[fold >= 0])]))
    smallest = max(SMALLEST * n_train, LEAST * len(np.unique(problem.strata)))
    points = []
    for size in np.unique(np.geomspace(smallest, max(n_train, smallest), SIZES).astype(int))[:-1].tolist():
        held_out = _predict_from_part(entry, x, problem, size, n_train)
        points.append(CurvePoint(n_train=size, score=problem.average_scores(metric, held_out)))
    points.append(CurvePoint(n_train=n_train, score=problem.average_scores(metric, entry.tuned.held_out)))
    return tuple(points)


def _predict_from_part(entry: HeadResult, x: np.ndarray, problem: CvProblem, size: int, n_train: int) -> np.ndarray:
    """(R, M, C) probabilities by heads that learnt from `size` of each fold's training pictures."""
    draws = int(np.clip(ENOUGH // size, *DRAWS))
    probabilities = np.full((draws, len(x), problem.n_classes), np.nan, np.float32)
    fold, params = problem.folds[0], cross_validation.resize_params(entry.tuned.params, size, n_train)
    head = cross_validation.loosen_head(load_head(entry.head, entry.features, problem))

    def judge_fold(task: tuple[int, int]) -> None:
        draw, k = task
        test_rows, train_rows = np.flatnonzero(fold == k), np.flatnonzero((fold != k) & (fold >= 0))
        train_rows = thin_by_clusters(train_rows, size / n_train, problem, [problem.seed, k, draw, size])
        probabilities[draw, test_rows] = cross_validation.fit_and_predict(
            head, x, problem.y, train_rows, test_rows, grid=[params], **problem.shared
        )[0]

    with blas_threads.single_blas_thread():
        tasks = [(draw, int(k)) for draw in range(draws) for k in np.unique(fold[fold >= 0])]
        cross_validation.run_in_threads(judge_fold, tasks, x.nbytes * size // n_train)
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
