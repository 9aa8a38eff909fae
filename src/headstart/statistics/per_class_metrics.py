"""Scores of one class or label against the rest, and their average: each with an interval, and how pictures move it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from headstart.statistics import auc
from headstart.statistics.intervals import (
    Interval,
    area_interval,
    design_effect,
    macro_interval,
    wilson_interval,
)


@dataclass(eq=False)
class Case:
    """Truth and answers of some pictures."""

    y: np.ndarray  # (M,) int64
    p: np.ndarray  # (M, C) float64
    answers: np.ndarray  # (M,) int64
    groups: np.ndarray | None  # (M,) int64
    seed: int
    training_effect: float

    @cached_property
    def present(self) -> list[int]:
        """Classes that some picture has."""
        return [int(c) for c in np.unique(self.y)]

    @cached_property
    def right(self) -> np.ndarray:
        """(M,) bool, whether the answer is the truth."""
        return np.asarray(self.y == self.answers)

    def design_effect(self, influence: np.ndarray) -> float:
        """By how much clusters, and models that share training pictures, widen a variance."""
        return self.training_effect * design_effect(influence, self.groups)


class Part(NamedTuple):
    """One score, and how each picture moves it."""

    interval: Interval
    n: int
    method: str
    influence: np.ndarray | None = None  # (M,) float64


ABSENT = Part(Interval(np.nan, np.nan, np.nan), 0, "none")


def measure_share(case: Case, hit: np.ndarray, condition: np.ndarray) -> Part:
    """Share of `condition` that is also `hit`; Wilson's interval with the clusters' effective number."""
    n = int(condition.sum())
    if not n:
        return Part(Interval(0.0, 0.0, 1.0), 0, "wilson", np.zeros(len(hit)))
    share = float((hit & condition).sum() / n)
    influence = ((hit & condition) - share * condition) / n
    effective = n / case.design_effect(influence)
    return Part(wilson_interval(share * effective, effective), n, "wilson", influence)


def _measure_f1(case: Case, c: int) -> Part:
    """F1 = 2 J / (1 + J), where J is the share of right ones among pictures that are or are called `c`."""
    truth, answered = case.y == c, case.answers == c
    part = measure_share(case, truth & answered, truth | answered)
    assert part.influence is not None
    interval = Interval(*(2 * j / (1 + j) for j in part.interval))
    return part._replace(interval=interval, influence=part.influence * 2 / (1 + part.interval.value) ** 2)


def _measure_roc_auc(case: Case, c: int) -> Part:
    truth = case.y == c
    if truth.all():
        return ABSENT._replace(influence=np.zeros(len(truth)))
    area, influence = auc.roc_auc(truth, case.p[:, c])
    interval = area_interval(area, truth.sum(), (~truth).sum(), case.design_effect(influence))
    return Part(interval, len(truth), "newcombe", influence)


def _measure_average_precision(case: Case, c: int) -> Part:
    """The variance is at most that of a proportion among the positives (Boyd 2013)."""
    truth = case.y == c
    area, influence = auc.average_precision(truth, case.p[:, c])
    effective = truth.sum() / case.design_effect(influence)
    return Part(wilson_interval(area * effective, effective), len(truth), "wilson", influence)


def average_classes(case: Case, parts: dict[int, Part], shared: float) -> Part:
    """The mean over classes; `shared` is by how much an error touches several of them (MOVER).

    Each interval already holds its own clusters' effect: only the correlation between classes is added here.
    """
    measured = [part for part in parts.values() if not np.isnan(part.interval.value)]
    if not measured:
        return ABSENT
    total, apart = np.zeros(len(case.y)), 0.0
    for part in measured:
        assert part.influence is not None
        total += part.influence
        apart += float(np.sum(part.influence**2))
    joint = float(np.sum(total**2))
    interval = macro_interval([part.interval for part in measured], (joint, apart), shared)
    return Part(interval, len(case.y), "mover")


PER_CLASS: dict[str, Callable[[Case, int], Part]] = {
    "precision": lambda case, c: measure_share(case, case.y == c, case.answers == c),
    "recall": lambda case, c: measure_share(case, case.answers == c, case.y == c),
    "specificity": lambda case, c: measure_share(case, case.answers != c, case.y != c),
    "f1": _measure_f1,
    "roc_auc": _measure_roc_auc,
    "average_precision": _measure_average_precision,
}
