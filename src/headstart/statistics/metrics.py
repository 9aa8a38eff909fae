"""Every score of a classifier, each with its 95 % interval and the number of pictures it rests on.

Scores over all classes have an empty subject; scores of one class against the rest carry its name. A class without a
picture in the split has NaN scores with n = 0 and stays out of the averages. Which interval belongs to which score:
`docs/evaluate.md` and each score's `method`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headstart.core.types import CLASSIFICATION, Score, Task
from headstart.statistics import multilabel_metrics, ordinal_metrics, regression_metrics
from headstart.statistics.calibration_error import calibration_bins, calibration_error
from headstart.statistics.intervals import (
    Interval,
    compact_clusters,
    cross_validation_effect,
    make_score,
    mean_interval,
    wilson_interval,
)
from headstart.statistics.losses import brier_losses, log_losses, per_picture_loss, ranked_probability_losses
from headstart.statistics.per_class_metrics import ABSENT, PER_CLASS, Case, Part, average_classes, measure_share

__all__ = ["NAMES", "calibration_bins", "compute_score", "compute_scores", "confusion_matrix", "per_picture_loss"]


def _make_case(
    y: np.ndarray, p: np.ndarray, answers: np.ndarray | None, clusters: np.ndarray | None, seed: int, n_folds: int
) -> Case:
    y, p = np.asarray(y, np.int64), np.asarray(p, np.float64)
    if p.ndim != 2 or len(y) != len(p):
        raise ValueError(f"probabilities of shape {p.shape} do not fit {len(y)} labels")
    answers = np.argmax(p, axis=1) if answers is None else np.asarray(answers, np.int64)
    return Case(y, p, answers, compact_clusters(clusters), seed, cross_validation_effect(n_folds))


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
    """One of `NAMES`, or of grades, over all classes, from true classes `y` (M,) int64 and probabilities `p` (M, C).

    Scores of numbers take `y` (M,) float64 and `p` (M, 1), those of labels `y` (M, C) bool.
    The answer is the likeliest class, in scores of grades the median.
    `subject` says whose score it is when not the model's; `seed` is for the calibration error's interval alone.
    `n_folds` of a cross-validation widen the interval, 0 where all pictures judge one model. An unknown name and shapes
    that do not fit are a `ValueError`.
    """
    shared: dict[str, Any] = {"split": split, "subject": subject, "clusters": clusters, "n_folds": n_folds}
    if name in regression_metrics.NAMES:
        return regression_metrics.compute_score(name, y, p, **shared)
    if np.ndim(y) == 2:
        return multilabel_metrics.compute_score(name, y, p, seed=seed, **shared)
    answers = ordinal_metrics.find_median_grades(p) if name in _ORDERED else None
    case = _make_case(y, p, answers, clusters, seed, n_folds)
    if measure := (_WHOLE | _ORDERED).get(name):
        part = measure(case) if len(case.y) else ABSENT
    elif name in _MACRO:
        part = _average(case, name, {c: PER_CLASS[_MACRO[name]](case, c) for c in case.present})
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

    Of numbers those of `regression_metrics`, of labels those of `multilabel_metrics`. `y` (M,) int64, `p` (M, C),
    `answers` (M,) int64 where not the most probable class, or the median grade, `clusters` (M,); `seed` and `n_folds`
    as in `compute_score`.
    """
    if not len(y):
        return ()
    shared: dict[str, Any] = {"split": split, "clusters": clusters, "n_folds": n_folds}
    if task.has_labels:
        return multilabel_metrics.compute_scores(y, p, class_names=class_names, seed=seed, **shared)
    if not task.has_classes:
        return tuple(compute_score(name, y, p, **shared) for name in regression_metrics.NAMES)
    if answers is None and task.ordered:
        answers = ordinal_metrics.find_median_grades(p)
    case = _make_case(y, p, answers, clusters, seed, n_folds)
    each = {name: {c: measure(case, c) for c in case.present} for name, measure in PER_CLASS.items()}
    whole = {name: measure(case) for name, measure in (_WHOLE | _ORDERED if task.ordered else _WHOLE).items()}
    whole |= {name: _average(case, name, each[measure]) for name, measure in _MACRO.items()}
    results = [_make_score(part, name, split, "") for name, part in whole.items()]
    for c, subject in enumerate(class_names):
        results += [_make_score(parts.get(c, ABSENT), name, split, subject) for name, parts in each.items()]
    return tuple(results)


def _make_score(part: Part, name: str, split: str, subject: str) -> Score:
    return make_score(name, split, part.interval, part.n, subject=subject, method=part.method)


def _make_loss_measure(losses: Callable[[np.ndarray, np.ndarray], np.ndarray], least: float) -> Callable[[Case], Part]:
    """Mean losses; where no picture is wrong, the errors that their number leaves possible cost the `least` each."""

    def measure(case: Case) -> Part:
        value, low, high = mean_interval(losses(case.y, case.p), case.groups, case.training_effect)
        if (case.p.argmax(axis=1) == case.y).all():
            high += least * wilson_interval(0, len(case.y) / case.design_effect(np.zeros(len(case.y)))).high
        return Part(Interval(value, max(0.0, low), high), len(case.y), "t")

    return measure


def _measure_ranks(case: Case, measure: Callable[..., Interval]) -> Part:
    return Part(measure(case.y, case.answers, case.groups, case.training_effect), len(case.y), "t")


def _measure_calibration_error(case: Case) -> Part:
    confidence = case.p[np.arange(len(case.y)), case.answers]
    return Part(calibration_error(confidence, case.right, case.groups, case.seed), len(case.y), "bootstrap")


def _average(case: Case, name: str, parts: dict[int, Part]) -> Part:
    return average_classes(case, parts, 1.0 if _MACRO[name] == "recall" else np.sqrt(2))  # an error touches two classes


_WHOLE: dict[str, Callable[[Case], Part]] = {
    "accuracy": lambda case: measure_share(case, case.right, np.ones(len(case.y), bool)),
    "log_loss": _make_loss_measure(log_losses, float(np.log(2))),  # an error gives its class at most a half
    "brier": _make_loss_measure(brier_losses, 0.5),
    "ece": _measure_calibration_error,
}
_ORDERED: dict[str, Callable[[Case], Part]] = {
    "quadratic_weighted_kappa": lambda case: _measure_ranks(case, ordinal_metrics.measure_kappa),
    "mean_rank_error": lambda case: _measure_ranks(case, ordinal_metrics.measure_rank_error),
    "ranked_probability_score": _make_loss_measure(
        ranked_probability_losses, 2 / 9
    ),  # three grades, equal but for a hair
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
