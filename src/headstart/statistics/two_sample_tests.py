"""Whether two sets of counts come from one source: tests without assumptions on sizes, and how large a difference is.

A permutation test (Fisher 1935), so it holds for small counts too. Ordered bins are compared by Anderson and Darling's
statistic (Scholz & Stephens 1987), unordered ones by Pearson's. Beside p stands a size, since of a million pictures any
trifle is significant: the population stability index, less what chance alone gives at these sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DRAWS = 4_999
MOST = 5_000_000  # counted exactly; larger sets are scaled down, which makes a test more careful


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSampleTest:
    """How two sets of `n` and `m` counts differ.

    Attributes:
        p: Of a difference at least as large by chance, at least 1 / (draws + 1).
        effect: Population stability index beyond what chance gives, at least 0; from 0.1 on a change is usually told.
        least: The smallest such effect that 19 of 20 chance differences stay under: less cannot be seen at these sizes.
    """

    p: float
    effect: float
    least: float
    n: int
    m: int


def compare_counts(
    first: np.ndarray, second: np.ndarray, *, ordered: bool, seed: int, draws: int = DRAWS
) -> TwoSampleTest:
    """Compare two sets of counts (K,) over the same bins, which may have an order."""
    first, second = np.asarray(first, np.int64), np.asarray(second, np.int64)
    n, m = int(first.sum()), int(second.sum())
    used = first + second > 0
    a, b = _scale_down(first[used]), _scale_down(second[used])
    if not n or not m or len(a) < 2:
        return TwoSampleTest(p=1.0, effect=0.0, least=0.0, n=n, m=m)
    pooled, rng = a + b, np.random.default_rng([seed, 88_000])
    dealt = rng.multivariate_hypergeometric(pooled, int(a.sum()), size=draws, method="marginals")
    statistic = _anderson_statistic if ordered else _pearson_statistic
    observed, chance = statistic(a[None], pooled)[0], statistic(dealt, pooled)
    sizes = stability_index(dealt, pooled - dealt)
    expected = float(sizes.mean())
    return TwoSampleTest(
        p=float((1 + np.count_nonzero(chance >= observed * (1 - 1e-12))) / (draws + 1)),
        effect=max(0.0, float(stability_index(a[None], b[None])[0]) - expected),
        least=max(0.0, float(np.quantile(sizes, 0.95)) - expected),
        n=n,
        m=m,
    )


def stability_index(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(R,) population stability index of counts (R, K), half a count added to every bin: Jeffreys (1946)."""
    p, q = (x + 0.5 for x in (first, second))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=1))


def _scale_down(counts: np.ndarray) -> np.ndarray:
    total = int(counts.sum())
    return counts if total <= MOST else np.round(counts * (MOST / total)).astype(np.int64)


def _pearson_statistic(dealt: np.ndarray, pooled: np.ndarray) -> np.ndarray:
    """(R, K) counts of the first set -> (R,) chi-square, up to a factor that is the same for all."""
    expected = pooled * (dealt.sum(axis=1, keepdims=True) / pooled.sum())
    return np.asarray(((dealt - expected) ** 2 / np.maximum(expected, 1e-12)).sum(axis=1))


def _anderson_statistic(dealt: np.ndarray, pooled: np.ndarray) -> np.ndarray:
    """(R, K) counts of the first set -> (R,) Anderson-Darling, up to a factor that is the same for all."""
    share = np.cumsum(pooled) / pooled.sum()
    dealt_share = np.cumsum(dealt, axis=1) / dealt.sum(axis=1, keepdims=True)
    inner = share < 1
    spread = (share * (1 - share))[inner]
    return np.asarray(((dealt_share - share)[:, inner] ** 2 * (pooled[inner] / spread)).sum(axis=1))
