"""A stratified, grouped draw that ends within one picture where clusters allow it.

Clusters of several pictures go first, the largest before all: each to the part that lacks the greatest share of its
classes among those it fits into, or else to the part that it overfills least. Single pictures then fill up class by
class by largest remainder, spare ones to the emptiest part. Ties are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.data.duplicates.clusters import group_rows


def deal_clusters(
    targets: np.ndarray,
    clusters: np.ndarray,
    parts: Sequence[float],
    rng: np.random.Generator,
    *,
    first: np.ndarray | None = None,
) -> np.ndarray:
    """Deal whole clusters (M,) out to P parts whose shares sum to 1, each class of `targets` (M,) by these shares.

    Clusters of rows in `first` (M,) bool go to the first part; `rng` settles ties. Returns (M,) int64 parts, 0..P-1.
    """
    total = np.bincount(targets)[:, None] * np.asarray(parts)[None, :]  # (C, P)
    want = total.copy()
    part_of_row = np.full(len(targets), -1, np.int64)
    if first is not None and first.any():
        part_of_row[first] = 0
        want[:, 0] -= np.bincount(targets[first], minlength=len(want))
    large_clusters = [rows for rows in group_rows(clusters) if part_of_row[rows[0]] < 0]
    rng.shuffle(large_clusters)
    for rows in sorted(large_clusters, key=len, reverse=True):
        part_of_row[rows] = _find_neediest_part(np.bincount(targets[rows], minlength=len(want)), want, total, rng)
        np.subtract.at(want, (targets[rows], part_of_row[rows]), 1)
    _deal_single_rows(targets, want, part_of_row, rng)
    return part_of_row


def _find_neediest_part(counts: np.ndarray, want: np.ndarray, total: np.ndarray, rng: np.random.Generator) -> int:
    own_classes = np.flatnonzero(counts)
    left = want[own_classes] - counts[own_classes, None]  # (classes of the cluster, P)
    fits = (left >= -1e-9).all(axis=0)
    if fits.any():
        lack = np.where(fits, (want[own_classes] / total[own_classes]).mean(axis=0), -np.inf)
    else:
        lack = np.minimum(left / total[own_classes].sum(axis=1, keepdims=True), 0).sum(axis=0)
    best = np.flatnonzero(lack >= lack.max() - 1e-9)
    most = want[own_classes].sum(axis=0)[best]
    return int(rng.choice(best[most >= most.max() - 1e-9]))


def _deal_single_rows(targets: np.ndarray, want: np.ndarray, part_of_row: np.ndarray, rng: np.random.Generator) -> None:
    filled = np.bincount(part_of_row[part_of_row >= 0], minlength=want.shape[1])
    order = np.argsort(targets, kind="stable")
    starts = np.searchsorted(targets[order], np.arange(len(want) + 1))
    for label in rng.permutation(len(want)):
        rows = order[starts[label] : starts[label + 1]]
        rows = rng.permutation(rows[part_of_row[rows] < 0])
        counts = _apportion_counts(want[label], len(rows), filled)
        part_of_row[rows] = np.repeat(np.arange(len(counts)), counts)
        filled += counts


def _apportion_counts(want: np.ndarray, n: int, filled: np.ndarray) -> np.ndarray:
    """(P,) whole numbers that sum to `n`, as near to `want` as can be, spare ones to the emptiest part."""
    lack = np.maximum(want, 0)
    share = lack * n / lack.sum() if lack.sum() > 0 else np.full(len(want), n / len(want))
    counts = np.floor(share + 1e-9).astype(np.int64)
    spare = np.lexsort((filled, np.round(counts - share, 9)))[: n - counts.sum()]
    counts[spare] += 1
    return counts
