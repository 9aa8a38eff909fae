"""The pictures and folds on which candidates and heads meet, so that all are compared picture by picture."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart.core.job import Job
from headstart.core.run.context import Context
from headstart.core.types import CLASSIFICATION, Dataset, Head, NameInitialization, Score, Task
from headstart.data.strata import label_strata
from headstart.heads import cross_validation, repeated_cv
from headstart.statistics.intervals import Interval


@dataclass(frozen=True, kw_only=True, eq=False)
class CvProblem:
    """The pictures and folds on which heads meet.

    Attributes:
        rows: (M,) int64 rows of the data set.
        y: (M,) int64 classes, or float64 numbers.
        folds: (R, M) fold of each picture in each repeat.
        clusters: (N,) labels of near-duplicates, of the whole data set.
        n_classes: C columns of an answer.
        prefer: `accurate` or `fast`.
        class_weight: (C,) float64 or None.
        sample_weight: (N,) float64 of the whole data set, or None.
        split: Of the scores: `cv` or `screen`.
        names: What the names of the classes say, if heads may start from it.
        tuned_heads: By what they learnt from, heads tuned so far and the seconds that it took.
    """

    rows: np.ndarray
    y: np.ndarray
    folds: np.ndarray
    clusters: np.ndarray
    n_classes: int
    metric: str
    prefer: str
    class_weight: np.ndarray | None
    seed: int
    sample_weight: np.ndarray | None = None
    split: str = "cv"
    names: NameInitialization | None = None
    task: Task = CLASSIFICATION
    tuned_heads: dict[bytes, tuple[cross_validation.TunedSetting, float]] = field(default_factory=dict)

    def tune_head(self, head: Head, x: np.ndarray) -> tuple[cross_validation.TunedSetting, float]:
        """The head's best setting for x (M, D) on the first repeat, and its search's seconds; done once in a run."""
        digest = hashlib.sha256(head.name.encode())
        for values in (x, self.y, self.folds[0], self.rows):
            digest.update(np.ascontiguousarray(values).data)
        key = digest.digest()
        if key not in self.tuned_heads:
            started = time.monotonic()
            tuned = cross_validation.tune_head(head, x, self.y, self.folds[:1], metric=self.metric, **self.shared)
            self.tuned_heads[key] = tuned, time.monotonic() - started
        return self.tuned_heads[key]

    @property
    def strata(self) -> np.ndarray:
        """(M,) int64 what every draw takes its share of."""
        return label_strata(self.task, self.y)

    @property
    def shared(self) -> dict[str, Any]:
        """What every call of `cross_validation` gets."""
        return self.make_settings(self.rows)

    def make_settings(self, rows: np.ndarray) -> dict[str, Any]:
        """The same for a fit to other rows (B,) of the data set."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        settings = {"n_classes": self.n_classes, "class_weight": self.class_weight, "seed": self.seed}
        return {**settings, "sample_weight": weight}

    def average_scores(self, name: str, held_RMC: np.ndarray) -> Score:
        """A score of held-out probabilities and the ends of its interval, averaged over the repeats."""
        return repeated_cv.average_scores(
            name,
            self.y,
            held_RMC,
            split=self.split,
            n_folds=cross_validation.count_folds(self.folds),
            clusters=self.clusters[self.rows],
            seed=self.seed,
        )

    def make_difference_score(self, interval: Interval) -> Score:
        """A paired difference of losses as a score."""
        return repeated_cv.make_difference_score(interval, self.metric, split=self.split, n=len(self.rows))


def make_cv_problem(
    rows: np.ndarray, data: Dataset, folds: np.ndarray, clusters: np.ndarray, *, ctx: Context, split: str = "cv"
) -> CvProblem:
    """The problem of some rows (M,) of a data set; `folds` (R, N) and `clusters` (N,) speak of all its rows."""
    y, classes = np.asarray(data.targets)[rows], len(data.output_names)
    balanced = ctx.job.class_weight == "balanced"
    return CvProblem(
        rows=rows,
        y=y,
        folds=np.asarray(folds)[:, rows],
        clusters=np.asarray(clusters),
        n_classes=classes,
        metric=choose_metric(data.learning_task, ctx.job),
        prefer=ctx.job.prefer,
        class_weight=cross_validation.balanced_class_weights(y, classes) if balanced else None,
        seed=ctx.seed,
        sample_weight=None if data.weights is None else np.asarray(data.weights),
        split=split,
        task=data.learning_task,
        tuned_heads=ctx.tuned_heads,
    )


def choose_metric(task: Task, job: Job) -> str:
    """What candidates are compared by: as asked for where the task knows it, else the task's own."""
    return job.metric if job.metric in task.metrics else task.metrics[0]
