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
from headstart.statistics.sampling import evenly_spaced

DECIDING = (
    "ensemble_agreement"  # the rule that chooses where the domains are apart and few target pictures have a label
)
WEIGHTED = "importance_weighted"  # where they look alike
_DRAWS = 1_000
_COUNTS_AT_ONCE = 4_000_000
_LEAST = 1e-7
_DENSITY_ROWS, _DENSITY_TEMPERATURE = 2_000, 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JudgedAnswers:
    """What the rules may look at of one candidate."""

    target: np.ndarray  # (T, C) float32 answers
    mapped: np.ndarray  # (M, C) float32 held-out answers to source pictures as the target would show them; NaN: none
    y: np.ndarray  # (M,) int64 labels of these
    shares: np.ndarray  # (C,) float64 what the answers' shares are expected to be
    consensus: np.ndarray  # (T, C) float32 mean answers of all candidates
    ratio: np.ndarray | None = None  # (M,) float64 density of the target over that of the mapped source
    reverse: np.ndarray | None = (
        None  # (M, C) float32 answers of a head that learnt from `target`, to the mapped source
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """See the module."""

    source: str  # the paper
    on_target: bool  # whether it goes over target pictures, else over source pictures
    measure: Callable[[JudgedAnswers], np.ndarray]  # (N, S) float64 of each picture
    combine: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda means, shares: means[:, 0]
    # (R, S) means, (C,) shares -> (R,)
    needs: str = ""  # `ratio` or `reverse`


def _take_entropies(p: np.ndarray) -> np.ndarray:
    clipped = np.maximum(p.astype(np.float64), _LEAST)
    return np.asarray(-(clipped * np.log(clipped)).sum(axis=-1))


def _measure_information(answers: JudgedAnswers) -> np.ndarray:
    return np.column_stack([_take_entropies(answers.target), answers.target.astype(np.float64)])


def _combine_information(means: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return np.asarray(_take_entropies(means[:, 1:]) - means[:, 0])


def _combine_by_shares(means: np.ndarray, shares: np.ndarray) -> np.ndarray:
    answered = np.maximum(means[:, 1:], _LEAST)
    gap = (answered * np.log(answered / np.maximum(shares, 1e-3))).sum(axis=1)
    return np.asarray(-means[:, 0] - gap)


def _measure_truth(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.clip(p[np.arange(len(y)), y].astype(np.float64), _LEAST, 1)))


def _measure_weighted(answers: JudgedAnswers) -> np.ndarray:
    assert answers.ratio is not None
    return np.column_stack([answers.ratio * _measure_truth(answers.mapped, answers.y), answers.ratio])


def _measure_reverse(answers: JudgedAnswers) -> np.ndarray:
    assert answers.reverse is not None
    return np.asarray(answers.reverse.argmax(axis=1) == answers.y, np.float64)[:, None]


def _measure_agreement(answers: JudgedAnswers) -> np.ndarray:
    return np.asarray(answers.target.argmax(axis=1) == answers.consensus.argmax(axis=1), np.float64)[:, None]


def _measure_density(answers: JudgedAnswers) -> np.ndarray:
    p = answers.target[evenly_spaced(len(answers.target), _DENSITY_ROWS)].astype(np.float64)
    p /= np.linalg.norm(p, axis=1, keepdims=True)
    likeness = p @ p.T / _DENSITY_TEMPERATURE
    np.fill_diagonal(likeness, -np.inf)
    likeness -= likeness.max(axis=1, keepdims=True)
    near = np.exp(likeness)
    return _take_entropies(near / near.sum(axis=1, keepdims=True))[:, None]


RULES = {
    "information_maximisation": Rule(
        source="Shi and Sha 2012", on_target=True, measure=_measure_information, combine=_combine_information
    ),
    "information_by_shares": Rule(
        source="the same, by expected shares", on_target=True, measure=_measure_information, combine=_combine_by_shares
    ),
    "importance_weighted": Rule(
        source="Sugiyama et al. 2007",
        on_target=False,
        measure=_measure_weighted,
        combine=lambda means, shares: means[:, 0] / np.maximum(means[:, 1], 1e-12),
        needs="ratio",
    ),
    "reverse_validation": Rule(source="Zhong et al. 2010", on_target=False, measure=_measure_reverse, needs="reverse"),
    "ensemble_agreement": Rule(source="Hu et al. 2024", on_target=True, measure=_measure_agreement),
    "neighbourhood_density": Rule(source="Saito et al. 2021", on_target=True, measure=_measure_density),
}


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
        return rule.combine(means[:, :width], answers.shares), rule.combine(means[:, width:], other.shares)

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
