"""Groups of pictures that every draw takes its share of: the classes, rarest labels, or ranges of a number.

Of several labels a picture's rarest one stands for it, so that rare labels are dealt out evenly (Sechidis 2011).

Ranges have as many pictures each: at least `A_RANGE` where there are two ranges of that many, so that the test split of
a fifth has enough of each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headstart.core.types import NO_LABEL, Dataset, Task

A_RANGE, MOST_RANGES = 60, 10
LEAST_STRATUM = 10  # pictures that a label must be the rarest of; else the next rarest stands for them


class Strata(NamedTuple):
    """The stratum of each picture, (N,) int64 positions in `names`; `word` is what one is called.

    `members` (N, S) bool says which pictures have what the names say, where a picture may have several.
    """

    labels: np.ndarray
    names: tuple[str, ...]
    word: str
    members: np.ndarray | None = None

    def count_rows(self, rows: np.ndarray) -> np.ndarray:
        """(S,) int64 how many of some rows, or of a mask, have each."""
        if self.members is not None:
            return np.asarray(self.members[rows].sum(axis=0))
        return np.bincount(self.labels[rows], minlength=len(self.names))


def find_strata(data: Dataset) -> Strata:
    """The strata of a data set: its classes, rarest labels, or ranges of its numbers."""
    targets, labels = np.asarray(data.targets), label_strata(data.learning_task, data.targets)
    if data.learning_task.has_classes:
        return Strata(labels, data.class_names, "class")
    if data.learning_task.has_labels:
        blank = ~targets.any(axis=1, keepdims=True)
        return Strata(labels, (*data.class_names, NO_LABEL), "label", np.concatenate([targets, blank], axis=1))
    parts = [targets[labels == label] for label in range(int(labels.max()) + 1)]
    return Strata(labels, tuple(f"{part.min():g} to {part.max():g}" for part in parts), "range")


def label_strata(task: Task, targets: np.ndarray) -> np.ndarray:
    """(M,) int64 the stratum of each of some targets (M,), 0..S-1 for numbers."""
    if task.has_classes:
        return np.asarray(targets)
    if task.has_labels:
        return _find_rarest_labels(np.asarray(targets, bool))
    values = np.asarray(targets, np.float64)
    count = int(np.clip(len(values) // A_RANGE, 2, MOST_RANGES))
    ends = np.unique(np.quantile(values, np.arange(1, count) / count))
    return np.unique(np.searchsorted(ends, values, side="right"), return_inverse=True)[1].astype(np.int64)


def _find_rarest_labels(targets: np.ndarray) -> np.ndarray:
    """(M,) int64 the rarest label of each picture, C where it has none.

    What stands for fewer than `LEAST_STRATUM` pictures is left to the next rarest label that they have, if any.
    """
    counts, n_labels = targets.sum(axis=0), targets.shape[1]
    order = np.argsort(counts, kind="stable")
    ranks = np.empty(n_labels, np.int64)
    ranks[order] = np.arange(n_labels)
    rows, labels = np.nonzero(targets)
    by_rank = np.lexsort((ranks[labels], rows))  # of each picture its labels, the rarest first
    rows, ranks_there = rows[by_rank], ranks[labels[by_rank]]
    starts = np.searchsorted(rows, np.arange(len(targets) + 1))
    standing = np.full(len(targets), n_labels)
    has = np.diff(starts) > 0
    standing[has] = ranks_there[starts[:-1][has]]
    place = starts[:-1].copy()
    members = np.bincount(standing, minlength=n_labels + 1)
    for rank in np.flatnonzero(members[:n_labels] < LEAST_STRATUM).tolist():
        of_rank = np.flatnonzero(standing == rank)
        if len(of_rank) < LEAST_STRATUM:  # it may have got some of a rarer one meanwhile
            movable = of_rank[place[of_rank] + 1 < starts[of_rank + 1]]
            place[movable] += 1
            standing[movable] = ranks_there[place[movable]]
    return np.asarray(np.append(order, n_labels)[standing], np.int64)


def encode_targets(targets: np.ndarray) -> np.ndarray:
    """(N,) one value for each different target: itself, or a number for a set of labels (N, C)."""
    if targets.ndim == 1:
        return targets
    return np.asarray(np.unique(targets, axis=0, return_inverse=True)[1]).reshape(-1)
