"""What belongs together: pictures of one group (a patient, a site, a video), which no split may tear apart.

The audit joins groups with its clusters of near-duplicates, so that all that splits know are the joined clusters. Where
pictures have times, the newest part is the test: it is known before anything is drawn.
"""

from __future__ import annotations

import numpy as np

from headstart.core.types import Dataset
from headstart.data.duplicates.clusters import find_clusters

FEW = 5  # pictures a class


def find_groups(data: Dataset) -> np.ndarray:
    """(N,) int64, the smallest row of each row's group; a picture without a group is one of its own."""
    first: dict[str, int] = {}
    names = data.groups or ("",) * len(data.uris)
    return np.array([first.setdefault(name, row) if name else row for row, name in enumerate(names)], np.int64)


def join_clusters(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) int64 clusters in which whoever shares one in `a` or in `b` shares one; all name their smallest row."""
    rows = np.arange(len(a))
    return find_clusters(len(a), np.concatenate([np.stack([rows, labels], axis=1) for labels in (a, b)]))


def find_newest(data: Dataset, size: float) -> np.ndarray:
    """(N,) bool: the newest part by time, about `size` of all; none without times, with given splits or for 0.

    A group is as new as its newest picture, one without a time is the oldest. What is equally new stays together, so
    the part is as near to `size` as the times allow.
    """
    n = len(data.uris)
    if data.times is None or any(data.split) or size == 0:
        return np.zeros(n, bool)
    groups, latest = find_groups(data), np.full(n, -np.inf)
    np.fmax.at(latest, groups, np.asarray(data.times))
    moments, counts = np.unique(latest[groups], return_counts=True)
    if len(moments) < 2:
        return np.zeros(n, bool)
    shares = counts[::-1].cumsum()[::-1][1:] / n  # from each moment on, never of all
    return np.asarray(latest[groups] >= moments[1:][np.argmin(np.abs(shares - size))])


def find_learnable(data: Dataset, test_size: float) -> np.ndarray:
    """(M,) int64 rows that neither a given split nor their time keeps for judging."""
    in_train = np.array([split in ("", "train") for split in data.split], bool)
    return np.flatnonzero(in_train & ~find_newest(data, test_size))


def can_judge(data: Dataset) -> bool:
    """Whether folds or a test can be drawn: not where a class has one picture and most have fewer than five.

    Where others have more, or splits are given, the data check D003 asks for more pictures of that class instead.
    """
    if not data.learning_task.has_classes:
        return data.learning_task.is_learnt
    counts = np.bincount(np.asarray(data.targets))
    counts = counts[counts > 0]
    return bool(any(data.split) or counts.min() > 1 or np.median(counts) >= FEW)
