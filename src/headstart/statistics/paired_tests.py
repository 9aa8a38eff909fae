"""Differences on the same pictures: is one model right more often than another, and by how much, or is it luck?

Near-duplicates are no independent pictures: where there are any, `sign_flip_p` turns whole clusters round, the
permutation test of which McNemar's is the special case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from headstart.statistics.intervals import Interval, cluster_sums, compact_clusters, mean_bootstrap

RARE = 0.05  # the probability with which a share as large as the rule of three gives stays unseen
FLIPS = 20_000
EXACT = 14  # clusters up to which every flip is tried


def difference_of_shares(
    a: np.ndarray, b: np.ndarray, clusters: np.ndarray, seed: int, n_independent: int = 0
) -> tuple[Interval, str]:
    """Interval of the mean of a minus b, both (M,) right or wrong on the same pictures, and its method.

    Bootstrap by clusters. Where all pictures fall alike there is nothing to resample, which is no certainty: the rule
    of three (Hanley and Lippman-Hand 1983) bounds the share of others that went unseen among `n_independent` pictures,
    by default as many as there are clusters.
    """
    differences = a * 1.0 - b
    if not len(differences) or np.ptp(differences):
        return mean_bootstrap(differences, clusters, seed), "paired bootstrap by cluster"
    value, unseen = float(differences[0]), 1 - RARE ** (1 / (n_independent or len(np.unique(clusters))))
    return Interval(value, value - unseen * (1 + value), value + unseen * (1 - value)), "rule of three"


def difference_of_losses(a: np.ndarray, b: np.ndarray, clusters: np.ndarray, seed: int) -> tuple[Interval, str]:
    """Interval of the mean loss of a minus that of b, both (M,), by bootstrap of clusters; NaN ends where all are the
    same: two models of the same answers have no difference to be uncertain of."""
    if np.array_equal(a, b):
        return Interval(0.0, np.nan, np.nan), "the same answers"
    return mean_bootstrap(a - b, clusters, seed), "paired bootstrap by cluster"


def mcnemar_p(one: int, other: int) -> float:
    """Two-sided exact p (McNemar 1947, by the binomial) from the pictures that only one of two answered rightly."""
    n, least = one + other, min(one, other)
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2) for k in range(least + 1)
    ]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def sign_flip_p(differences: np.ndarray, clusters: np.ndarray | None, seed: int) -> float:
    """Two-sided p that the mean difference is 0, by turning the sign of each cluster's sum of `differences` (M,)."""
    sums = cluster_sums(np.asarray(differences, np.float64), compact_clusters(clusters))
    sums = sums[np.abs(sums) > 1e-12]
    observed = abs(float(sums.sum())) - 1e-9
    if not len(sums):
        return 1.0
    if len(sums) <= EXACT:
        signs = 1 - 2 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
        return float((np.abs(signs @ sums) >= observed).mean())
    rng, beyond, step = np.random.default_rng([seed, 66_000]), 0, max(1, 4_000_000 // len(sums))
    for start in range(0, FLIPS, step):
        drawn = rng.integers(0, 2, size=(min(step, FLIPS - start), len(sums)), dtype=np.int8) * 2.0 - 1.0
        beyond += int((np.abs(drawn @ sums) >= observed).sum())
    return (beyond + 1) / (FLIPS + 1)


def holm_adjusted(ps: Sequence[float]) -> list[float]:
    """Adjusted p of several tests, in the same order."""
    order = sorted(range(len(ps)), key=lambda position: ps[position])
    adjusted, least = [1.0] * len(ps), 0.0
    for rank, position in enumerate(order):
        least = max(least, min(1.0, (len(ps) - rank) * ps[position]))
        adjusted[position] = least
    return adjusted


def join_clusters(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(M,) clusters of the same pictures in which whoever shares one in `a` or in `b`, both (M,), shares one."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(a)
    nodes = [(1 + at) * count + np.unique(labels, return_inverse=True)[1] for at, labels in enumerate((a, b))]
    ends = np.tile(np.arange(count), 2), np.concatenate(nodes)
    graph = coo_matrix((np.ones(2 * count), ends), shape=(3 * count, 3 * count))
    return np.asarray(connected_components(graph, directed=False)[1][:count], np.int64)
