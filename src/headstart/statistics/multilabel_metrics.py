"""Scores of several labels a picture, each with its 95 % interval: of each label by itself, of all, and averaged.

A label is answered where its probability is at least `PRESENT`. Pictures are the units: what a picture's labels have in
common widens every interval that goes over labels. A label that no picture has gets NaN scores and stays out of
averages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from headstart.core.types import PRESENT, Score
from headstart.statistics.intervals import (
    Interval,
    compact_clusters,
    cross_validation_effect,
    make_score,
    mean_interval,
    share_interval,
)
from headstart.statistics.losses import binary_log_losses
from headstart.statistics.per_class_metrics import ABSENT, PER_CLASS, Case, Part, average_classes


@dataclass(eq=False)
class _LabelCase:
    y: np.ndarray  # (M, C) bool
    p: np.ndarray  # (M, C) float64
    groups: np.ndarray | None  # (M,) int64
    seed: int
    effect: float

    @cached_property
    def answers(self) -> np.ndarray:
        return self.p >= PRESENT

    @cached_property
    def by_label(self) -> dict[int, Case]:
        """Each label that some picture has, as two classes: absent and present."""
        return {c: self._make_case(c) for c in np.flatnonzero(self.y.any(axis=0)).tolist()}

    def _make_case(self, c: int) -> Case:
        p = np.stack([1 - self.p[:, c], self.p[:, c]], axis=1)
        y, answers = self.y[:, c].astype(np.int64), self.answers[:, c].astype(np.int64)
        return Case(y, p, answers, self.groups, self.seed, self.effect)

    def measure_labels(self, name: str) -> dict[int, Part]:
        return {c: PER_CLASS[name](case, 1) for c, case in self.by_label.items()}


def _measure_binary_log_loss(case: _LabelCase) -> Part:
    value, low, high = mean_interval(binary_log_losses(case.y, case.p), case.groups, case.effect)
    return Part(Interval(value, max(0.0, low), high), len(case.y), "t")


def _measure_exact_match(case: _LabelCase) -> Part:
    right = (case.y == case.answers).all(axis=1) * 1.0
    return Part(share_interval(right, case.groups, case.effect), len(case.y), "wilson")


def _measure_micro_f1(case: _LabelCase) -> Part:
    """F1 over all labels of all pictures: 2 J / (1 + J), J the share of right ones among labels said or answered."""
    pictures, labels = np.nonzero(case.y | case.answers)
    if not len(pictures):
        return ABSENT
    hits = (case.y & case.answers)[pictures, labels] * 1.0
    shares = share_interval(hits, pictures if case.groups is None else case.groups[pictures], case.effect)
    return Part(Interval(*(2 * share / (1 + share) for share in shares)), len(case.y), "wilson")


_WHOLE: dict[str, Callable[[_LabelCase], Part]] = {
    "binary_log_loss": _measure_binary_log_loss,
    "micro_f1": _measure_micro_f1,
    "exact_match": _measure_exact_match,
}
_MACRO = {"mean_average_precision": "average_precision", "macro_f1": "f1"}
_PER_LABEL = ("average_precision", "precision", "recall", "f1", "roc_auc")
NAMES = (*_WHOLE, *_MACRO)


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
    """One of `NAMES` from labels `y` (M, C) bool and `p` (M, C); the rest as of `metrics.compute_score`."""
    case = _make_case(y, p, clusters, seed, n_folds)
    if not len(case.y):
        part = ABSENT
    elif name in _MACRO:
        part = _average(case, case.measure_labels(_MACRO[name]))
    else:
        part = _WHOLE[name](case)
    return make_score(name, split, part.interval, part.n, subject=subject, method=part.method)


def compute_scores(
    y: np.ndarray,
    p: np.ndarray,
    *,
    split: str,
    class_names: tuple[str, ...],
    clusters: np.ndarray | None = None,
    seed: int = 0,
    n_folds: int = 0,
) -> tuple[Score, ...]:
    """All scores: those over all labels, then those of each of `class_names`; the rest as of `compute_score`."""
    case = _make_case(y, p, clusters, seed, n_folds)
    each = {name: case.measure_labels(name) for name in _PER_LABEL}
    whole = {name: measure(case) for name, measure in _WHOLE.items()}
    whole |= {name: _average(case, each[measure]) for name, measure in _MACRO.items()}
    named = [("", name, part) for name, part in whole.items()]
    for c, subject in enumerate(class_names):
        named += [(subject, name, parts.get(c, ABSENT)) for name, parts in each.items()]
    return tuple(
        make_score(name, split, part.interval, part.n, subject=subject, method=part.method)
        for subject, name, part in named
    )


def _make_case(y: np.ndarray, p: np.ndarray, clusters: np.ndarray | None, seed: int, n_folds: int) -> _LabelCase:
    y, p = np.asarray(y, bool), np.asarray(p, np.float64)
    if y.shape != p.shape:
        raise ValueError(f"probabilities of shape {p.shape} do not fit labels of shape {y.shape}")
    return _LabelCase(y, p, compact_clusters(clusters), seed, cross_validation_effect(n_folds))


def _average(case: _LabelCase, parts: dict[int, Part]) -> Part:
    """The mean over labels; an error touches one of them."""
    return average_classes(next(iter(case.by_label.values())), parts, 1.0) if parts else ABSENT
