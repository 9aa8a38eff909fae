"""Groups of pictures that every draw takes its share of: the classes, or ranges of a number with as many pictures each.

A range holds at least `A_RANGE` pictures where there are two ranges of that many, so that the test split of a fifth has
enough of each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headstart.core.types import Dataset, Task

A_RANGE, MOST_RANGES = 60, 10


class Strata(NamedTuple):
    """The stratum of each picture, (N,) int64 positions in `names`; `word` is what one is called."""

    labels: np.ndarray
    names: tuple[str, ...]
    word: str


def find_strata(data: Dataset) -> Strata:
    """The strata of a data set: its classes, or ranges of its numbers."""
    targets, labels = np.asarray(data.targets), label_strata(data.learning_task, data.targets)
    if data.learning_task.has_classes:
        return Strata(labels, data.class_names, "class")
    parts = [targets[labels == label] for label in range(int(labels.max()) + 1)]
    return Strata(labels, tuple(f"{part.min():g} to {part.max():g}" for part in parts), "range")


def label_strata(task: Task, targets: np.ndarray) -> np.ndarray:
    """(M,) int64 the stratum of each of some targets (M,), 0..S-1 for numbers."""
    if task.has_classes:
        return np.asarray(targets)
    values = np.asarray(targets, np.float64)
    count = int(np.clip(len(values) // A_RANGE, 2, MOST_RANGES))
    ends = np.unique(np.quantile(values, np.arange(1, count) / count))
    return np.unique(np.searchsorted(ends, values, side="right"), return_inverse=True)[1].astype(np.int64)
