"""Every score of a classifier, each with its 95 % interval and the number of pictures it rests on.

Scores over all classes have an empty subject; scores of one class against the rest carry its name. A class without a
picture in the split has NaN scores with n = 0 and stays out of the averages. Which interval belongs to which score:
`docs/evaluate.md` and each score's `method`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from headstart.core.types import CLASSIFICATION, Score, Task
from headstart.statistics import auc, regression_metrics
from headstart.statistics.calibration_error import calibration_bins, calibration_error
from headstart.statistics.intervals import (
    Interval,
    area_interval,
    compact_clusters,
    cross_validation_effect,
    design_effect,
    macro_interval,
    make_score,
    mean_interval,
    wilson_interval,
)
from headstart.statistics.losses import brier_losses, log_losses, per_picture_loss

__all__ = ["NAMES", "calibration_bins", "compute_score", "compute_scores", "confusion_matrix", "per_picture_loss"]


@dataclass(eq=False)
class _Case:
    y: np.ndarray  # (M,) int64
    p: np.ndarray  # (M, C) float64
    answers: np.ndarray  # (M,) int64
    groups: np.ndarray | None  # (M,) int64
    seed: int
    training_effect: float

    @cached_property
    def present(self) -> list[int]:
        return [int(c) for c in np.unique(self.y)]

    @cached_property
    def right(self) -> np.ndarray:
        return np.asarray(self.y == self.answers)

    def design_effect(self, influence: np.ndarray) -> float:
        """By how much clusters, and models that share training pictures, widen a variance."""
        return self.training_effect * design_effect(influence, self.groups)


class _Part(NamedTuple):
    """One score, and how each picture moves it."""

    interval: Interval
    n: int
    method: str
    influence: np.ndarray | None = None  # (M,) float64


_ABSENT = _Part(Interval(np.nan, np.nan, np.nan), 0, "none")


def _make_case(
    y: np.ndarray, p: np.ndarray, answers: np.ndarray | None, clusters: np.ndarray | None, seed: int, n_folds: int
) -> _Case:
    y, p = np.asarray(y, np.int64), np.asarray(p, np.float64)
    if p.ndim != 2 or len(y) != len(p):
        raise ValueError(f"probabilities of shape {p.shape} do not fit {len(y)} labels")
    answers = np.argmax(p, axis=1) if answers is None else np.asarray(answers, np.int64)
    return _Case(y, p, answers, compact_clusters(clusters), seed, cross_validation_effect(n_folds))


def compute_score(
    name: str,
    y: np.ndarray,
    p: np.ndarray,
    *,
    split: str,
    subject: str = "",
    clusters: np.ndarray | None = None,
    seed: int = 0,
    n_folds: int = 0,
) -> Score:
    """One of `NAMES` over all classes, from true classes `y` (M,) int64 and probabilities `p` (M, C).

    Scores of numbers take `y` (M,) float64 and `p` (M, 1).
    `subject` says whose score it is when not the model's; `seed` is for the calibration error's interval alone.
    `n_folds` of a cross-validation widen the interval, 0 where all pictures judge one model. An unknown name and shapes
    that do not fit are a `ValueError`.
    """
    if name in regression_metrics.NAMES:
        shared: dict[str, Any] = {"split": split, "subject": subject, "clusters": clusters, "n_folds": n_folds}
        return regression_metrics.compute_score(name, y, p, **shared)
    case = _make_case(y, p, None, clusters, seed, n_folds)
    if name in _WHOLE:
        part = _WHOLE[name](case) if len(case.y) else _ABSENT
    elif name in _MACRO:
        part = _average_classes(case, name, {c: _PER_CLASS[_MACRO[name]](case, c) for c in case.present})
    else:
        raise ValueError(f"no score is named `{name}`; known: {', '.join(NAMES)}")
    return _make_score(part, name, split, subject)


def compute_scores(
    y: np.ndarray,
    p: np.ndarray,
    *,
    split: str,
    class_names: tuple[str, ...],
    task: Task = CLASSIFICATION,
    answers: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    seed: int = 0,
    n_folds: int = 0,
) -> tuple[Score, ...]:
    """All scores: first those over all classes, then those of each class; empty when there is no picture.

    Of numbers those of `regression_metrics`. `y` (M,) int64, `p` (M, C), `answers` (M,) int64 where not the most
    probable class, `clusters` (M,); `seed` and
    `n_folds` as in `compute_score`.
    """
    if not len(y):
        return ()
    if not task.has_classes:
        shared: dict[str, Any] = {"split": split, "clusters": clusters, "n_folds": n_folds}
        return tuple(compute_score(name, y, p, **shared) for name in regression_metrics.NAMES)
    case = _make_case(y, p, answers, clusters, seed, n_folds)
    each = {name: {c: measure(case, c) for c in case.present} for name, measure in _PER_CLASS.items()}
    whole = {name: measure(case) for name, measure in _WHOLE.items()}
    whole |= {name: _average_classes(case, name, each[measure]) for name, measure in _MACRO.items()}
    results = [_make_score(part, name, split, "") for name, part in whole.items()]
    for c, subject in enumerate(class_names):
        results += [_make_score(parts.get(c, _ABSENT), name, split, subject) for name, parts in each.items()]
    return tuple(results)


def _make_score(part: _Part, name: str, split: str, subject: str) -> Score:
    return make_score(name, split, part.interval, part.n, subject=subject, method=part.method)


def _make_loss_measure(
    losses: Callable[[np.ndarray, np.ndarray], np.ndarray], least: float
) -> Callable[[_Case], _Part]:
    """Mean losses; where no picture is wrong, the errors that their number leaves possible cost the `least` each."""

    def measure(case: _Case) -> _Part:
        value, low, high = mean_interval(losses(case.y, case.p), case.groups, case.training_effect)
        if (case.p.argmax(axis=1) == case.y).all():
            high += least * wilson_interval(0, len(case.y) / case.design_effect(np.zeros(len(case.y)))).high
        return _Part(Interval(value, max(0.0, low), high), len(case.y), "t")

    return measure


def _measure_calibration_error(case: _Case) -> _Part:
    confidence = case.p[np.arange(len(case.y)), case.answers]
    return _Part(calibration_error(confidence, case.right, case.groups, case.seed), len(case.y), "bootstrap")


def _measure_share(case: _Case, hit: np.ndarray, condition: np.ndarray) -> _Part:
    """Share of `condition` that is also `hit`; Wilson's interval with the clusters' effective number."""
    n = int(condition.sum())
    if not n:
        return _Part(Interval(0.0, 0.0, 1.0), 0, "wilson", np.zeros(len(hit)))
    share = float((hit & condition).sum() / n)
    influence = ((hit & condition) - share * condition) / n
    effective = n / case.design_effect(influence)
    return _Part(wilson_interval(share * effective, effective), n, "wilson", influence)


def _measure_f1(case: _Case, c: int) -> _Part:
    """F1 = 2 J / (1 + J), where J is the share of right ones among pictures that are or are called `c`."""
    truth, answered = case.y == c, case.answers == c
    part = _measure_share(case, truth & answered, truth | answered)
    assert part.influence is not None
    interval = Interval(*(2 * j / (1 + j) for j in part.interval))
    return part._replace(interval=interval, influence=part.influence * 2 / (1 + part.interval.value) ** 2)


def _measure_roc_auc(case: _Case, c: int) -> _Part:
    truth = case.y == c
    if truth.all():
        return _ABSENT._replace(influence=np.zeros(len(truth)))
    area, influence = auc.roc_auc(truth, case.p[:, c])
    interval = area_interval(area, truth.sum(), (~truth).sum(), case.design_effect(influence))
    return _Part(interval, len(truth), "newcombe", influence)


def _measure_average_precision(case: _Case, c: int) -> _Part:
    """The variance is at most that of a proportion among the positives (Boyd 2013)."""
    truth = case.y == c
    area, influence = auc.average_precision(truth, case.p[:, c])
    effective = truth.sum() / case.design_effect(influence)
    return _Part(wilson_interval(area * effective, effective), len(truth), "wilson", influence)


def _average_classes(case: _Case, name: str, parts: dict[int, _Part]) -> _Part:
    measured = [part for part in parts.values() if not np.isnan(part.interval.value)]
    if not measured:
        return _ABSENT
    total, apart = np.zeros(len(case.y)), 0.0
    for part in measured:
        assert part.influence is not None
        total += part.influence
        apart += float(np.sum(part.influence**2))
    # each interval already holds its own clusters' effect: only the correlation between classes is added here
    joint = float(np.sum(total**2))
    shared = 1.0 if _MACRO[name] == "recall" else np.sqrt(2)  # an error touches two classes, except in recall
    interval = macro_interval([part.interval for part in measured], (joint, apart), shared)
    return _Part(interval, len(case.y), "mover")


_WHOLE: dict[str, Callable[[_Case], _Part]] = {
    "accuracy": lambda case: _measure_share(case, case.right, np.ones(len(case.y), bool)),
    "log_loss": _make_loss_measure(log_losses, float(np.log(2))),  # an error gives its class at most a half
    "brier": _make_loss_measure(brier_losses, 0.5),
    "ece": _measure_calibration_error,
}
_PER_CLASS: dict[str, Callable[[_Case, int], _Part]] = {
    "precision": lambda case, c: _measure_share(case, case.y == c, case.answers == c),
    "recall": lambda case, c: _measure_share(case, case.answers == c, case.y == c),
    "specificity": lambda case, c: _measure_share(case, case.answers != c, case.y != c),
    "f1": _measure_f1,
    "roc_auc": _measure_roc_auc,
    "average_precision": _measure_average_precision,
}
_MACRO = {
    "balanced_accuracy": "recall",
    "macro_precision": "precision",
    "macro_recall": "recall",
    "macro_specificity": "specificity",
    "macro_f1": "f1",
    "roc_auc": "roc_auc",
    "average_precision": "average_precision",
}
NAMES = (*_WHOLE, *_MACRO)


def confusion_matrix(y: np.ndarray, answers: np.ndarray, n_classes: int) -> np.ndarray:
    """(C, C) int64: true class by answered class."""
    cells = np.bincount(y * n_classes + answers, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).astype(np.int64)
