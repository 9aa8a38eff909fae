"""What the model says of every split: held-out probabilities, the answers they lead to, and all scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.job import Job
from headstart.core.model_manifest import Decision
from headstart.core.types import CLASSIFICATION, PRESENT, Dataset, Embeddings, FitResult, Score, Splits, Task
from headstart.data.splits import count_straddling, describe_straddling
from headstart.features.feature_matrix import predict_rows
from headstart.heads.cross_validation import count_folds
from headstart.heads.decision_rule import (
    apply_decision,
    best_threshold,
    find_positive_class,
    make_decision,
    require_rule,
)
from headstart.statistics import metrics
from headstart.statistics.intervals import cross_validation_effect, make_score, mean_interval
from headstart.uncertainty.temperature import apply_cross_fitted_temperature, apply_temperature

WITHOUT_STRADDLING = "without straddling pictures"  # of scores: only pictures unlike those of other splits
MOST_NAMED = 3  # classes that a split lacks


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedSplit:
    """One split with what the model says of it."""

    split: str  # `test`, `val`, `cv` or `train`
    rows: np.ndarray  # (M,) int64
    y: np.ndarray  # (M,) int64 classes, (M, C) bool labels, or (M,) float64 numbers
    p: np.ndarray  # (M, C) float32 probabilities, or (M, 1) numbers
    answers: np.ndarray  # (M,) int64, of labels (M, C) bool
    clusters: np.ndarray  # (M,) int64
    task: Task = CLASSIFICATION
    n_folds: int = 0  # whose models judge, each other pictures; 0 where one model answers for all

    def select(self, which: np.ndarray) -> JudgedSplit:
        """Some of its pictures, by their positions or a mask (M,)."""
        names = ("rows", "y", "p", "answers", "clusters")
        return dataclasses.replace(self, **{name: getattr(self, name)[which] for name in names})

    def compute_scores(self, class_names: tuple[str, ...], seed: int) -> tuple[Score, ...]:
        """All scores, those of `class_names` too."""
        return metrics.compute_scores(
            self.y,
            self.p,
            split=self.split,
            class_names=class_names,
            task=self.task,
            answers=self.answers,
            clusters=self.clusters,
            seed=seed,
            n_folds=self.n_folds,
        )


def make_answer_rule(data: Dataset, adapted: FitResult, job: Job) -> Decision:
    """The job's rule; a threshold is tuned on the cross-validated probabilities, never on the test split.

    Raises:
        UsageError: `--positive` and `--costs` are both given, or do not fit the classes.
    """
    require_rule(job, data.class_names)
    threshold = None
    if job.positive:
        positive = find_positive_class(job.positive, data.class_names)
        truth = np.asarray(data.targets)[adapted.cv_rows] == positive
        score = apply_temperature(np.asarray(adapted.cv_probabilities), adapted.temperature)[:, positive]
        threshold = best_threshold(truth, score)
    return make_decision(job, data.class_names, threshold, data.learning_task)


def judge_splits(
    data: Dataset, splits: Splits, embeddings: tuple[Embeddings, ...], adapted: FitResult, answer_rule: Decision
) -> dict[str, JudgedSplit]:
    """All splits that hold a picture, the headline's first; probabilities are tempered, as the saved model's are.

    Cross-validated ones are nested where the run has such: of searches that had not seen the picture. Else a picture is
    tempered by what others say, for these pictures set the temperature.
    """
    sources = {
        "test": (splits.test, None),
        "val": (splits.val, None),
        "cv": (adapted.cv_rows, adapted.cv_probabilities),
        "train": (splits.train, adapted.train_probabilities),
    }
    judged_splits, task = {}, data.learning_task
    for split, (rows, held_out) in sources.items():
        if len(rows):
            if held_out is None:  # by the very code that answers in a saved model
                held_out = predict_rows(adapted.fitted, embeddings, adapted.features, rows)
            y, clusters = np.asarray(data.targets)[rows], np.asarray(splits.clusters)[rows]
            if split == "cv" and adapted.nested_probabilities is not None:
                p = np.asarray(adapted.nested_probabilities)
            elif split == "cv" and adapted.temperature != 1.0:  # these pictures set it
                p = apply_cross_fitted_temperature(np.asarray(held_out), y, clusters, splits.seed, task)
            else:
                p = apply_temperature(np.asarray(held_out), adapted.temperature, task)
            judged_splits[split] = JudgedSplit(
                split=split,
                rows=np.asarray(rows, np.int64),
                y=y,
                p=p,
                answers=p >= PRESENT if task.has_labels else apply_decision(answer_rule, data.class_names, p),
                clusters=clusters,
                task=task,
                n_folds=count_folds(splits.folds) if split == "cv" else 0,
            )
    return judged_splits


def score_split(part: JudgedSplit, data: Dataset, costs: np.ndarray | None, seed: int) -> list[Score]:
    """Every score of a split, and the mean cost where costs (C, C) were given."""
    scores = list(part.compute_scores(data.class_names, seed))
    return scores if costs is None else [*scores, score_costs(part, costs)]


def score_costs(part: JudgedSplit, costs: np.ndarray, subject: str = "") -> Score:
    """The mean of what its answers cost, by (C, C) costs."""
    effect = cross_validation_effect(part.n_folds)
    interval = mean_interval(costs[part.y, part.answers], part.clusters, effect)
    return make_score("mean_cost", part.split, interval, len(part.y), subject=subject, method="t")


def score_without_straddling(part: JudgedSplit, data: Dataset, splits: Splits, seed: int) -> list[Score]:
    """Scores of a split without pictures that look like one of another split; empty when there is none."""
    apart = ~np.isin(part.rows, np.asarray(splits.straddling).ravel())
    if apart.all() or not apart.any():
        return []
    scores = part.select(apart).compute_scores((), seed)
    return [dataclasses.replace(score, subject=WITHOUT_STRADDLING) for score in scores]


def list_caveats(part: JudgedSplit, data: Dataset, splits: Splits, scores: Sequence[Score]) -> tuple[str, ...]:
    """What of a split's pictures makes its scores say less than they seem to: leaks, and classes that it lacks."""
    caveats, targets, task = [], np.asarray(data.targets), data.learning_task
    if count := count_straddling(splits, part.rows):
        apart = next((s for s in scores if s.subject == WITHOUT_STRADDLING and s.name == task.headline[0]), None)
        rest = f", the other {apart.n:,} have {apart.value:.3f} [{apart.low:.3f}, {apart.high:.3f}]" if apart else ""
        caveats.append(f"{count:,} of these {describe_straddling(data)}{rest}")
    absent = np.empty(0, np.int64)
    if task.has_classes:
        absent = np.setdiff1d(targets[splits.train], part.y)
    elif task.has_labels:
        absent = np.flatnonzero(targets[splits.train].any(axis=0) & ~np.asarray(part.y).any(axis=0))
    if len(absent):
        caveats.append(format_absent_classes([data.class_names[c] for c in absent]))
    return tuple(caveats)


def format_absent_classes(absent: Sequence[str]) -> str:
    """That no picture shows some classes, at least one."""
    more = f" and {len(absent) - MOST_NAMED:,} more" if len(absent) > MOST_NAMED else ""
    return f"none of these shows {', '.join(f'`{name}`' for name in absent[:MOST_NAMED])}{more}"
