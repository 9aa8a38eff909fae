"""Pictures that networks learn from, their folds, and the probe's answers; positions are places in `rows`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from headstart.core.types import Dataset, Embeddings, FitResult, Splits
from headstart.features.embeddings import find_positions
from headstart.finetuning.objectives import Objective, make_objective
from headstart.heads import design_matrix
from headstart.selection.cv_problem import CvProblem

_JUDGED = "among those that the frozen probe was judged by"


@dataclass(kw_only=True, eq=False)
class TrainingSet:
    """Training pictures of a data set; `problem` is how heads were compared."""

    data: Dataset
    splits: Splits
    embeddings: Sequence[Embeddings]
    probe: FitResult
    problem: CvProblem

    @cached_property
    def rows(self) -> np.ndarray:
        """(M,) int64 training pictures."""
        return np.asarray(self.splits.train, np.int64)

    @cached_property
    def targets(self) -> np.ndarray:
        """(M, …) their classes or numbers."""
        return np.asarray(np.asarray(self.data.targets)[self.rows])

    @cached_property
    def objective(self) -> Objective:
        """What training a network for them is."""
        return make_objective(self.problem.task, self.targets, self.problem.n_classes)

    @cached_property
    def weights(self) -> np.ndarray | None:
        """(M,) float64, how much each counts, 1 on average; None where all count alike."""
        return (
            None
            if self.data.weights is None
            else design_matrix.row_weights(self.targets, None, np.asarray(self.data.weights)[self.rows])
        )

    def targets_of(self, rows: np.ndarray) -> np.ndarray:
        """(B, …) targets of some rows of the data set, all of them training pictures."""
        return np.asarray(self.targets[find_positions(self.rows, rows, "training pictures")])

    @cached_property
    def folds(self) -> np.ndarray:
        """(M,) fold of each training picture; -1 where the probe was not judged, as heads are on some of many."""
        judged = np.isin(self.rows, self.probe.cv_rows)
        return np.where(judged, np.asarray(self.splits.folds)[0][self.rows], -1)

    @property
    def fold_numbers(self) -> list[int]:
        """All folds."""
        return [int(k) for k in np.unique(self.folds[self.folds >= 0])]

    @property
    def positions(self) -> np.ndarray:
        """Positions of all training pictures."""
        return np.arange(len(self.rows))

    def training_positions(self, fold: int) -> np.ndarray:
        """Positions that learn when a fold is held out."""
        return np.flatnonzero((self.folds != fold) & (self.folds >= 0))

    def held_out_positions(self, fold: int) -> np.ndarray:
        """Positions that a fold holds out."""
        return np.flatnonzero(self.folds == fold)

    def count_near_duplicates(self, fold: int) -> int:
        """Held-out pictures that have a near-duplicate among those that learn."""
        clusters = np.asarray(self.splits.clusters)[self.rows]
        return int(np.isin(clusters[self.held_out_positions(fold)], clusters[self.training_positions(fold)]).sum())

    def probe_probabilities(self, rows: np.ndarray) -> np.ndarray:
        """(B, C) the probe's held-out answers for some rows of the data set."""
        at = find_positions(np.asarray(self.probe.cv_rows), rows, _JUDGED)
        return np.asarray(np.asarray(self.probe.cv_probabilities)[at])
