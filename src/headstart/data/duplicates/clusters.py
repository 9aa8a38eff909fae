"""Clusters of pictures that show the same thing: union-find with a cap on chains of mere likeness.

Exact copies always belong together. Similarity is not transitive: pictures may chain together that have nothing in
common. So a near link is refused when it would make a cluster larger than a cap; the closest are taken first.
"""

from __future__ import annotations

import numpy as np

MIN_CAP = 50
CAP_PART = 0.05


def chain_cap(n: int) -> int:
    """Largest cluster that near links may build among `n` pictures: 50, or 5 % of the set if that is more."""
    return max(MIN_CAP, int(CAP_PART * n))


def find_clusters(n: int, links: np.ndarray) -> np.ndarray:
    """(N,) int64: the smallest row of each row's connected component by `links` (P, 2)."""
    return find_capped_clusters(n, links, np.empty((0, 2), np.int64), cap=n)[0]


def find_capped_clusters(n: int, exact: np.ndarray, near: np.ndarray, *, cap: int) -> tuple[np.ndarray, np.ndarray]:
    """Merge exact links (P, 2), then near links (Q, 2), the closest first, as long as a cluster has at most `cap` rows.

    Returns (N,) int64, the smallest row of each row's cluster; and (X, 2) int64, the near links that were refused.
    """
    trees = _Forest(n)
    for a, b in _as_pairs(exact):
        trees.join_rows(a, b, n)
    refused = [(a, b) for a, b in _as_pairs(near) if not trees.join_rows(a, b, cap)]
    return trees.find_roots(), np.array(refused, np.int64).reshape(-1, 2)


def find_spanning_links(n: int, links: np.ndarray) -> np.ndarray:
    """The links (P, 2), in their order, without those whose rows earlier links already tie together: at most N - 1."""
    trees = _Forest(n)
    is_new = [trees.find_root(a) != trees.find_root(b) and trees.join_rows(a, b, n) for a, b in _as_pairs(links)]
    spanning_links: np.ndarray = np.asarray(links, np.int64).reshape(-1, 2)[np.array(is_new, bool)]
    return spanning_links


def group_rows(labels: np.ndarray) -> list[np.ndarray]:
    """Rows of each cluster of more than one, in the order of its smallest row, by labels (N,) as of `find_clusters`."""
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    return [rows for rows in np.split(order, cuts) if len(rows) > 1]


def _as_pairs(links: np.ndarray) -> list[list[int]]:
    pairs: list[list[int]] = np.asarray(links, np.int64).reshape(-1, 2).tolist()
    return pairs


class _Forest:
    """Union-find whose root is always the smallest row."""

    def __init__(self, n: int) -> None:
        self.parent = list(range(n))
        self.size = [1] * n

    def find_root(self, row: int) -> int:
        parent = self.parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join_rows(self, a: int, b: int, cap: int) -> bool:
        """Merge two rows' clusters; False when that would pass the cap."""
        low, high = sorted((self.find_root(a), self.find_root(b)))
        if low == high:
            return True
        if self.size[low] + self.size[high] > cap:
            return False
        self.parent[high] = low
        self.size[low] += self.size[high]
        return True

    def find_roots(self) -> np.ndarray:
        return np.array([self.find_root(row) for row in range(len(self.parent))], np.int64)
