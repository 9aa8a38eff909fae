"""Clusters of pictures that show the same thing: union-find with a cap on chains of mere likeness.

Exact copies always belong together. Similarity is not transitive: A like B and B like C may chain pictures
together that have nothing in common, until one cluster swallows a class and nothing can be split any more. So a near
link is refused when it would make a cluster larger than a cap. Links are taken in the order given: the closest first.
"""

from __future__ import annotations

import numpy as np

MIN_CAP = 50
CAP_PART = 0.05


def chain_cap(n: int) -> int:
    """Largest cluster that near links may build among `n` pictures: 50, or 5 % of the set if that is more."""
    return max(MIN_CAP, int(CAP_PART * n))


def clusters(n: int, links: np.ndarray) -> np.ndarray:
    """The connected components of links that always merge.

    Args:
        n: Number of rows, N.
        links: (P, 2) integer rows.

    Returns:
        (N,) int64, the smallest row of each row's component.
    """
    return capped(n, links, np.empty((0, 2), np.int64), cap=n)[0]


def capped(n: int, exact: np.ndarray, near: np.ndarray, *, cap: int) -> tuple[np.ndarray, np.ndarray]:
    """Merge exact links without limit, then near links as long as a cluster stays within a cap.

    Args:
        n: Number of rows, N.
        exact: (P, 2) integer rows.
        near: (Q, 2) integer rows, the closest pair first.
        cap: Most rows of a cluster that a near link may make.

    Returns:
        (N,) int64, the smallest row of each row's cluster; and (X, 2) int64, the near links that were refused.
    """
    trees = _Forest(n)
    for a, b in _pairs(exact):
        trees.join(a, b, n)
    refused = [(a, b) for a, b in _pairs(near) if not trees.join(a, b, cap)]
    return trees.roots(), np.array(refused, np.int64).reshape(-1, 2)


def forest(n: int, links: np.ndarray) -> np.ndarray:
    """The links, in their order, without those whose rows earlier links already tie together: at most N - 1.

    Args:
        n: Number of rows, N.
        links: (P, 2) integer rows.
    """
    trees = _Forest(n)
    new = [trees.find(a) != trees.find(b) and trees.join(a, b, n) for a, b in _pairs(links)]
    kept: np.ndarray = np.asarray(links, np.int64).reshape(-1, 2)[np.array(new, bool)]
    return kept


def groups(labels: np.ndarray) -> list[np.ndarray]:
    """Rows of each cluster that holds more than one, in the order of its smallest row.

    Args:
        labels: (N,) int64 as from `clusters`.
    """
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    return [rows for rows in np.split(order, cuts) if len(rows) > 1]


def _pairs(links: np.ndarray) -> list[list[int]]:
    made: list[list[int]] = np.asarray(links, np.int64).reshape(-1, 2).tolist()
    return made


class _Forest:
    """Union-find whose root is always the smallest row."""

    def __init__(self, n: int) -> None:
        self.parent = list(range(n))
        self.size = [1] * n

    def find(self, row: int) -> int:
        parent = self.parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(self, a: int, b: int, cap: int) -> bool:
        """Merge two rows' clusters; False when that would pass the cap."""
        low, high = sorted((self.find(a), self.find(b)))
        if low == high:
            return True
        if self.size[low] + self.size[high] > cap:
            return False
        self.parent[high] = low
        self.size[low] += self.size[high]
        return True

    def roots(self) -> np.ndarray:
        return np.array([self.find(row) for row in range(len(self.parent))], np.int64)
