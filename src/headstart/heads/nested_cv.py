"""Nested cross-validation: how good a whole search is, not how good its luckiest result looks.

Each outer fold is judged by what a search on the other folds alone would have chosen (Varma and Simon 2006).
Legend: M pictures, D columns, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core import blas_threads
from headstart.core.types import Head
from headstart.heads import cross_validation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A head on a set of features (M, D) float32, by a unique name; `cost` in operations for one picture."""

    name: str
    x: np.ndarray
    head: Head
    grid: Sequence[Mapping[str, Any]]
    cost: float


Choice = tuple[Candidate, cross_validation.TunedSetting]
Choose = Callable[[Sequence[Candidate], Sequence[cross_validation.TunedSetting], np.ndarray], Choice]


def _choose_least_loss(
    candidates: Sequence[Candidate], tuned: Sequence[cross_validation.TunedSetting], inner: np.ndarray
) -> Choice:
    best = int(np.argmin([np.nanmean(t.losses) for t in tuned]))
    return candidates[best], tuned[best]


def run_nested_cv(
    candidates: Sequence[Candidate],
    y: np.ndarray,
    folds: np.ndarray,
    *,
    n_classes: int,
    metric: str = "log_loss",
    choose: Choose | None = None,
    calibrate: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = None,
    class_weight: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Held-out probabilities of the whole choice: in each outer fold all candidates compete anew on the rest.

    The inner folds are the outer ones (M,), at least three, without the one that judges, so clusters stay whole.
    `choose` gives what wins by their inner results and folds, one of them or a pool of several; by default the least
    mean loss. `calibrate` makes the winner's answers (B, C) as sure as it should be, by inner positions (M',) and the
    answers there (1, M', C).
    Returns (M, C) float32, NaN where the fold is -1, and the candidate chosen in each outer fold.
    """
    probabilities = np.full((len(y), n_classes), np.nan, np.float32)
    weights = {"class_weight": class_weight, "sample_weight": sample_weight}
    shared: dict[str, Any] = {"n_classes": n_classes, "seed": seed, **weights}
    chosen = []
    for fold in (int(k) for k in np.unique(folds) if k >= 0):
        inner = np.where(folds == fold, -1, folds)
        test_rows, train_rows = np.flatnonzero(folds == fold), np.flatnonzero(inner >= 0)
        tuned = [
            cross_validation.tune_head(c.head, c.x, y, inner, metric=metric, grid=c.grid, **shared) for c in candidates
        ]
        winner, setting = (choose or _choose_least_loss)(candidates, tuned, inner)
        with blas_threads.single_blas_thread():
            p = cross_validation.fit_and_predict(
                winner.head, winner.x, y, train_rows, test_rows, grid=[setting.params], **shared
            )[0]
        probabilities[test_rows] = calibrate(train_rows, setting.held_out[:, train_rows], p) if calibrate else p
        chosen.append(winner.name)
    return probabilities, tuple(chosen)
