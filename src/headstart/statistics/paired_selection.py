"""Which candidate is taken: the paired rule, on the same pictures and the same folds.

The lowest mean loss wins. A cheaper candidate is taken instead only when the paired 95 % interval of the difference
holds 0, which is a tie, and it loses less than a tolerance: 0.005 when accuracy is preferred, 0.02 when speed is. For
accuracies that is half a point (two points), for R2 as much of the variance; for the log loss the typical (geometric
mean) probability given to the
truth falls by half a per cent (two). Cost is counted in operations, so the choice is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.statistics.intervals import Interval, mean_interval
from headstart.statistics.losses import is_gain

TOLERANCE = {"accurate": 0.005, "fast": 0.02}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandidateLosses:
    """One candidate's held-out losses.

    Attributes:
        rows: (M,) int64 rows of the data set, each once.
        losses: (M,) float64 loss of each of `rows`, averaged over repeats; lower is better.
        cost: Operations for one picture, or anything that orders the same way.
    """

    name: str
    rows: np.ndarray
    losses: np.ndarray
    cost: float

    @property
    def mean_loss(self) -> float:
        """The mean loss."""
        return float(np.mean(self.losses))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedChoice:
    """Which candidate is taken, and why.

    Attributes:
        best: The name with the lowest mean loss; the winner unless a cheaper one was taken.
        ties: Names that cannot be told from the best, the winner left out, in the order of their means.
        paired: For each name its loss minus the best's, with a 95 % interval.
    """

    winner: str
    why: str
    best: str
    ties: tuple[str, ...]
    paired: Mapping[str, Interval]


def paired_difference(
    a: CandidateLosses,
    b: CandidateLosses,
    clusters: np.ndarray | None = None,
    effect: float = 1.0,
    level: float = 0.95,
) -> Interval:
    """Loss of `a` minus loss of `b` on the pictures that both were measured on; a `ValueError` where there are none.

    `effect` widens it (`cross_validation_effect`): the paired rule does without, which makes fewer candidates tie.
    `level` as of `mean_interval`.
    """
    rows, in_a, in_b = np.intersect1d(a.rows, b.rows, assume_unique=True, return_indices=True)
    if not len(rows):
        raise ValueError(f"`{a.name}` and `{b.name}` were not measured on the same pictures")
    groups = None if clusters is None else clusters[rows]
    return mean_interval(a.losses[in_a] - b.losses[in_b], groups, effect, level)


def choose_candidate(
    candidates: Sequence[CandidateLosses],
    *,
    prefer: str = "accurate",
    clusters: np.ndarray | None = None,
    metric: str = "loss",
) -> PairedChoice:
    """Take one of several candidates, all measured on the same pictures, `accurate` or `fast` preferred.

    `clusters` (N,) labels every row of the data set: near-duplicates widen the intervals. `metric` is for the sentence.
    A `ValueError` where there is none, two share a name, or they were measured on different pictures.
    """
    _require_same_rows(candidates)
    order = sorted(candidates, key=lambda c: (c.mean_loss, c.cost, c.name))
    best = order[0]
    differences = {c.name: paired_difference(c, best, clusters) for c in order}
    tied = [c for c in order if differences[c.name].low <= 0 <= differences[c.name].high]
    close = [c for c in tied if differences[c.name].value < TOLERANCE[prefer]]
    cheapest = min(close, key=lambda c: (c.cost, c.mean_loss, c.name))
    winner = cheapest if cheapest.cost < best.cost else best
    ties = tuple(c.name for c in tied if c is not winner)
    why = _format_reason(order, winner, differences, ties, metric)
    return PairedChoice(winner=winner.name, why=why, best=best.name, ties=ties, paired=differences)


def _require_same_rows(candidates: Sequence[CandidateLosses]) -> None:
    names = [c.name for c in candidates]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"candidates need names of their own: {names}")
    first = np.sort(candidates[0].rows)
    for other in candidates[1:]:
        if not np.array_equal(first, np.sort(other.rows)):
            raise ValueError(f"`{other.name}` and `{names[0]}` were measured on different pictures")


def _format_reason(
    order: list[CandidateLosses],
    winner: CandidateLosses,
    differences: Mapping[str, Interval],
    ties: tuple[str, ...],
    metric: str,
) -> str:
    best, n, words = order[0], len(order[0].rows), metric.replace("_", " ")
    best_score = f"{_format_metric(best, metric)} on {n:,} pictures"
    if winner is not best:
        saved = 1 - winner.cost / best.cost
        return (
            f"`{winner.name}` is taken: it costs {saved:.0%} less than `{best.name}` ({words} {best_score}) and loses "
            f"{_format_difference(differences[winner.name])} in {words}, a tie"
        )
    if len(order) == 1:
        return f"`{best.name}` is the only one: {words} {best_score}"
    second = order[1]
    tie = f"; a tie with {len(ties)} of {len(order) - 1} others" if ties else ""
    return (
        f"`{best.name}` has the best {words}, {best_score}; `{second.name}` comes next and loses "
        f"{_format_difference(differences[second.name])}{tie}"
    )


def _format_metric(candidate: CandidateLosses, metric: str) -> str:
    return f"{1 - candidate.mean_loss if is_gain(metric) else candidate.mean_loss:.3f}"


def _format_difference(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
