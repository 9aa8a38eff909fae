"""Rules that judge answers to target pictures without a label: each is a function of means over pictures.

So that each has an interval and a paired difference by resampling pictures. Higher is better. Legend: T target, M
source pictures, C classes, S statistics of a picture, R resamplings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from headstart.statistics.intervals import Interval, cluster_sums, compact_clusters

_DRAWS = 1_000
_COUNTS_AT_ONCE = 4_000_000
LEAST = 1e-7  # probability, where its logarithm is taken


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JudgedAnswers:
    """What the rules may look at of one candidate."""

    target: np.ndarray  # (T, C) float32 answers
    held_out: np.ndarray  # (M, C) float32 answers to source pictures, as they are or mapped; NaN: none
    y: np.ndarray  # (M,) int64 labels of these
    shares: np.ndarray  # (C,) float64 what the answers' shares are expected to be
    consensus: np.ndarray  # (T, C) float32 mean answers of all methods, each counting once
    weights: np.ndarray | None = None  # (M,) float64 by which source pictures stand for the target's


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """See the module."""

    name: str
    on_target: bool  # whether it goes over target pictures, else over source pictures
    measure: Callable[[JudgedAnswers], np.ndarray]  # (N, S) float64 of each picture
    combine: Callable[[np.ndarray], np.ndarray] = lambda means: means[:, 0]  # (R, S) means -> (R,)


def _measure_agreement(answers: JudgedAnswers) -> np.ndarray:
    return np.asarray(answers.target.argmax(axis=1) == answers.consensus.argmax(axis=1), np.float64)[:, None]


def _measure_weighted(answers: JudgedAnswers) -> np.ndarray:
    assert answers.weights is not None
    truth = answers.held_out[np.arange(len(answers.y)), answers.y].astype(np.float64)
    return np.column_stack([answers.weights * np.log(np.clip(truth, LEAST, 1)), answers.weights])


# Hu et al. 2024: chooses where the domains are apart and few target pictures have a label
ENSEMBLE_AGREEMENT = Rule(name="ensemble_agreement", on_target=True, measure=_measure_agreement)
# Sugiyama et al. 2007: where they look alike
IMPORTANCE_WEIGHTED = Rule(
    name="importance_weighted",
    on_target=False,
    measure=_measure_weighted,
    combine=lambda means: means[:, 0] / np.maximum(means[:, 1], 1e-12),
)


def compare_by_rule(
    rule: Rule, answers: JudgedAnswers, other: JudgedAnswers, clusters: np.ndarray, seed: int
) -> tuple[Interval, Interval]:
    """The rule's score, and how far it is above that of `other`, by the same resampled pictures (percentiles).

    `clusters` of the pictures that the rule goes over, (T,) or (M,), are resampled as a whole.
    """
    statistics = np.stack([rule.measure(answers), rule.measure(other)])
    rows = np.flatnonzero(np.isfinite(statistics).all(axis=(0, 2)))
    statistics = statistics[:, rows]
    if not len(rows):
        return Interval(np.nan, -np.inf, np.inf), Interval(np.nan, -np.inf, np.inf)
    groups = compact_clusters(clusters[rows])
    sizes = cluster_sums(np.ones(len(rows)), groups)
    width = statistics.shape[2]
    columns = np.concatenate(statistics, axis=1)
    sums = np.column_stack([cluster_sums(column, groups) for column in columns.T])

    def score(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        means = (counts @ sums) / np.maximum(counts @ sizes, 1e-12)[:, None]
        return rule.combine(means[:, :width]), rule.combine(means[:, width:])

    step, parts = max(1, _COUNTS_AT_ONCE // len(sizes)), list[tuple[np.ndarray, np.ndarray]]()
    for start in range(0, _DRAWS, step):
        parts.append(score(_draw_counts(len(sizes), min(step, _DRAWS - start), seed, start).astype(np.float64)))
    of_answers, of_other = (np.concatenate(each) for each in zip(*parts, strict=True))
    at, beside = (float(value[0]) for value in score(np.ones((1, len(sizes)))))
    return _make_interval(at, of_answers), _make_interval(at - beside, of_answers - of_other)


@lru_cache(maxsize=16)  # candidates are compared one after the other by the same draws: 8 MB each
def _draw_counts(size: int, draws: int, seed: int, start: int) -> np.ndarray:
    """(R, N) uint16, how often each picture or cluster is in a resampling."""
    rng = np.random.default_rng([seed, 78_000, start])
    return rng.multinomial(size, np.full(size, 1 / size), size=draws).astype(np.uint16)


def _make_interval(value: float, drawn: np.ndarray) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, min(float(low), value), max(float(high), value))
