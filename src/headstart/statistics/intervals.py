"""95 % intervals: of proportions, of means, of areas under curves and of averages of these.

All are closed forms or one-dimensional roots, and none collapses to a point when a model makes no error. Pictures of
one cluster are not independent: `design_effect` measures from each picture's influence by how much clusters widen an
interval, and the effective number of pictures is divided by it (Kish 1965).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headstart.core.types import Score

Z = 1.959963984540054  # normal quantile of 0.975
DRAWS = 4_000  # of the bootstrap
_HALVINGS = 60
_COUNTS_AT_ONCE = 4_000_000  # held in memory by it


class Interval(NamedTuple):
    """An estimate and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def wilson_interval(k: float, n: float) -> Interval:
    """Wilson's score interval of a proportion (1927); `k` need not be whole, and n = 0 gives [0, 1] around NaN."""
    if n <= 0:
        return Interval(float("nan"), 0.0, 1.0)
    p = k / n
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return Interval(float(p), float(max(0.0, min(p, centre - half))), float(min(1.0, max(p, centre + half))))


def exact_interval(k: float, n: float) -> Interval:
    """Clopper and Pearson's interval of a proportion (1934), wider than Wilson's; `k` need not be whole, n > 0."""
    from scipy.special import betaincinv

    low = float(betaincinv(k, n - k + 1, 0.025)) if k > 0 else 0.0
    return Interval(k / n, low, float(betaincinv(k + 1, n - k, 0.975)) if k < n else 1.0)


def share_interval(hits: np.ndarray, clusters: np.ndarray | None = None, effect: float = 1.0) -> Interval:
    """Wilson's interval of the share of hits (M,); near-duplicates in `clusters` (M,), and `effect`, widen it."""
    if clusters is not None:
        effect *= design_effect(hits - hits.mean(), compact_clusters(clusters))
    return wilson_interval(float(hits.sum()) / effect, len(hits) / effect)


def make_score(
    name: str, split: str, interval: Interval, n: int, *, subject: str = "", method: str = "wilson"
) -> Score:
    """An interval as a score of `n` pictures."""
    value, low, high = interval
    return Score(split=split, name=name, value=value, low=low, high=high, n=n, subject=subject, method=method)


def make_share_score(name: str, split: str, hits: np.ndarray, subject: str = "") -> Score:
    """The share of hits (M,) as a score."""
    return make_score(name, split, share_interval(hits), len(hits), subject=subject)


def compact_clusters(clusters: np.ndarray | None) -> np.ndarray | None:
    """Clusters (M,) as int64 0..G-1, or None when every picture is its own cluster."""
    if clusters is None:
        return None
    unique, labels = np.unique(np.asarray(clusters), return_inverse=True)
    return None if len(unique) == len(labels) else labels.astype(np.int64)


def cluster_sums(values: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """(G,) float64 sums of values (M,) over each cluster; the values themselves when there are no clusters."""
    return values if groups is None else np.bincount(groups, weights=values)


def design_effect(influence: np.ndarray, groups: np.ndarray | None) -> float:
    """Variance with clusters over variance without, at least 1, from influences (M,) float64 that sum to 0.

    Where no picture moves the estimate (a perfect score) the worst case: clusters of fully dependent pictures.
    """
    if groups is None:
        return 1.0
    alone = float(np.sum(influence**2))
    if alone <= 0:
        sizes = np.bincount(groups).astype(np.float64)
        return float(np.sum(sizes**2) / np.sum(sizes))
    return max(1.0, float(np.sum(cluster_sums(influence, groups) ** 2)) / alone)


def cross_validation_effect(n_folds: int) -> float:
    """Variance of a cross-validated score over that of as many pictures that judge one model (Nadeau and Bengio 2003).

    The models of K folds share training pictures, so that their errors go together: 1 / K + 1 / (K - 1)
    takes the place of 1 / K. Repeats take nothing off, for the pictures are the same. 1 without folds.
    """
    return 1 + n_folds / (n_folds - 1) if n_folds > 1 else 1.0


def mean_interval(
    values: np.ndarray, clusters: np.ndarray | None = None, effect: float = 1.0, level: float = 0.95
) -> Interval:
    """Student's t interval of a mean, robust to clusters (Liang and Zeger 1986, with the G / (G - 1) correction).

    The variance is multiplied by `effect`; `level` is 1 - 0.05 / k where k intervals are to hold at once (Bonferroni).
    Infinite with fewer than two clusters, since the spread is unknown.
    """
    from scipy.special import stdtrit

    values = np.asarray(values, np.float64)
    if not len(values):
        return Interval(float("nan"), -np.inf, np.inf)
    mean = float(values.mean())
    sums = cluster_sums(values - mean, compact_clusters(clusters))
    if len(sums) < 2:
        return Interval(mean, -np.inf, np.inf)
    error = np.sqrt(effect * len(sums) / (len(sums) - 1) * np.sum(sums**2)) / len(values)
    half = float(stdtrit(len(sums) - 1, 0.5 + level / 2) * error)
    return Interval(mean, mean - half, mean + half)


def mean_bootstrap(values: np.ndarray, clusters: np.ndarray | None, seed: int, draws: int = DRAWS) -> Interval:
    """Percentile bootstrap interval of a mean, resampled by whole clusters (Efron 1979; Field and Welsh 2007).

    NaN ends when there is nothing to resample, infinite ones when all is one cluster.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"))
    groups = compact_clusters(clusters)
    sums, sizes = cluster_sums(values, groups), cluster_sums(np.ones(len(values)), groups)
    if len(sums) < 2:
        return Interval(float(values.mean()), -np.inf, np.inf)
    rng, means = np.random.default_rng([seed, 77_000]), list[np.ndarray]()
    step = max(1, _COUNTS_AT_ONCE // len(sums))
    for start in range(0, draws, step):
        counts = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=min(step, draws - start))
        means.append((counts @ sums) / np.maximum(counts @ sizes, 1e-12))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    mean = float(values.mean())
    return Interval(mean, min(float(low), mean), max(float(high), mean))


def paired_interval(before: np.ndarray, after: np.ndarray, clusters: np.ndarray | None = None) -> Interval:
    """Interval of the change of a proportion on the same pictures (Bonett and Price 2012), robust to clusters.

    A picture is added that turned right and one that turned wrong, so that it does not collapse where nothing changed.
    """
    moved = after.astype(np.float64) - before.astype(np.float64)
    value, n = float(moved.mean()), len(moved) + 2
    centre = float(moved.sum()) / n
    spread = (np.sum(moved**2) + 2) / n - centre**2
    half = Z * float(np.sqrt(spread / n * design_effect(moved - value, compact_clusters(clusters))))
    return Interval(value, max(-1.0, min(value, centre - half)), min(1.0, max(value, centre + half)))


def area_interval(area: float, positives: float, negatives: float, effect: float = 1.0) -> Interval:
    """Score-type interval of an area under the ROC curve (Newcombe 2006, method 5), by the clusters' design effect."""
    if positives <= 0 or negatives <= 0:
        return Interval(float("nan"), 0.0, 1.0)
    pairs, middle = positives * negatives, (positives + negatives) / 2

    def low(of: float) -> float:
        below, above = 0.0, of
        for _ in range(_HALVINGS):
            t = (below + above) / 2
            spread = t * (1 - t) * (1 + (middle - 1) * ((1 - t) / (2 - t) + t / (1 + t))) / pairs * effect
            below, above = (t, above) if t + Z * np.sqrt(spread) < of else (below, t)
        return above

    return Interval(area, low(area), 1 - low(1 - area))


def difference_interval(a: Score | Interval, b: Score | Interval) -> Interval:
    """a - b of two scores on different pictures, from their own intervals (MOVER, Zou and Donner 2008)."""
    value = a.value - b.value
    low = float(np.hypot(a.value - a.low, b.high - b.value))
    high = float(np.hypot(a.high - a.value, b.value - b.low))
    return Interval(value, value - low, value + high)


def macro_interval(parts: list[Interval], influences: tuple[float, float], shared: float) -> Interval:
    """Interval of an average of scores from their own intervals (MOVER, Zou and Donner 2008).

    The squared distances to the parts' ends are added as if independent, then widened by the correlation that the
    influences show: variance of the average, and that if the parts were independent. Where nothing varies it cannot be
    seen, and the width is multiplied by `shared`.
    """
    values, lows, highs = (np.array(column) for column in zip(*parts, strict=True))
    joint, apart = influences
    widen = max(1.0, float(np.sqrt(joint / apart))) if apart > 0 else shared
    value, count = float(values.mean()), len(values)
    down = widen * np.sqrt(np.sum((values - lows) ** 2)) / count
    up = widen * np.sqrt(np.sum((highs - values) ** 2)) / count
    return Interval(value, float(max(0.0, value - down)), float(min(1.0, value + up)))
