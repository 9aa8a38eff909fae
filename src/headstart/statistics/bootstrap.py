"""Bootstrap intervals of a mean over pictures, resampled by whole clusters (Efron 1979; clusters: Field & Welsh 2007).

Look-alikes stay together, so that ten copies of one picture count as one draw. Percentile intervals.
"""

from __future__ import annotations

import numpy as np

from headstart.statistics.intervals import Interval, cluster_sums, compact

DRAWS = 4_000
_AT_ONCE = 4_000_000  # counts held at the same time


def mean_bootstrap(values: np.ndarray, clusters: np.ndarray | None, seed: int, draws: int = DRAWS) -> Interval:
    """The mean of some values with a 95 % interval.

    Args:
        values: (M,) one number a picture, such as the difference of two models' hits.
        clusters: (M,) cluster of each picture, or None when all stand alone.
        seed: Of the draws.
        draws: How many.

    Returns:
        NaN ends when there is nothing to resample, infinite ones when all is one cluster.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"))
    groups = compact(clusters)
    sums, sizes = cluster_sums(values, groups), cluster_sums(np.ones(len(values)), groups)
    if len(sums) < 2:
        return Interval(float(values.mean()), -np.inf, np.inf)
    rng, means = np.random.default_rng([seed, 77_000]), list[np.ndarray]()
    step = max(1, _AT_ONCE // len(sums))
    for at in range(0, draws, step):
        counts = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=min(step, draws - at))
        means.append((counts @ sums) / np.maximum(counts @ sizes, 1e-12))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    mean = float(values.mean())
    return Interval(mean, min(float(low), mean), max(float(high), mean))
