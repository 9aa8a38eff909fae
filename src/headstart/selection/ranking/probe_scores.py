"""Judge one set of features: kNN, ridge and logistic regression, all on the same folds.

The strength of each probe is searched on the first repeat of the cross-validation and kept for the others. A
candidate stands for its linear probe, the better one where both are tried; kNN is told beside it.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np

from headstart.core import blas_threads, registry
from headstart.core.run.context import Context
from headstart.core.types import RankRow, Score
from headstart.heads import cross_validation, repeated_cv
from headstart.selection.logme import compute_logme
from headstart.statistics.intervals import Interval
from headstart.statistics.paired_selection import CandidateLosses
from headstart.statistics.sampling import evenly_spaced

PROBES = ("knn", "ridge", "logistic")
BOTH_BELOW = 500  # pictures below which both linear probes are tried
LINEAR = ("ridge", "logistic")
NEAR = 5_000  # pictures that kNN is judged on at most: it takes the distances of all pairs


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeCvProblem:
    """The pictures and folds on which candidates meet.

    Attributes:
        rows: (M,) int64 rows of the data set.
        y: (M,) int64 classes.
        folds: (R, M) fold of each picture in each repeat.
        clusters: (M,) labels of look-alikes.
        n_classes: C.
        metric: What candidates are compared by.
        split: Of the scores: `cv` or `screen`.
        class_weight: (C,) float64 or None.
        seed: For what is drawn.
    """

    rows: np.ndarray
    y: np.ndarray
    folds: np.ndarray
    clusters: np.ndarray
    n_classes: int
    metric: str
    split: str
    class_weight: np.ndarray | None
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeScores:
    """One candidate's row so far, and the losses it is compared by."""

    row: RankRow
    contender: CandidateLosses


@dataclass(frozen=True, kw_only=True)
class ProbeInput:
    """What is known of a candidate before it is judged."""

    backbone: str
    depth: str
    flops: int
    prior: float

    @property
    def name(self) -> str:
        """`backbone@depth`, or the backbone's name alone where there is no depth."""
        return f"{self.backbone}@{self.depth}" if self.depth else self.backbone


def arena(
    rows: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    clusters: np.ndarray,
    *,
    split: str,
    classes: int,
    ctx: Context,
) -> ProbeCvProblem:
    """The pictures `rows` as an arena; `targets` (N,), `folds` (R, N) and `clusters` (N,) speak of the whole set."""
    y = np.asarray(targets)[rows]
    return ProbeCvProblem(
        rows=rows,
        y=y,
        folds=np.asarray(folds)[:, rows],
        clusters=np.asarray(clusters)[rows],
        n_classes=classes,
        metric=ctx.job.metric,
        split=split,
        class_weight=cross_validation.balanced_class_weights(y, classes)
        if ctx.job.class_weight == "balanced"
        else None,
        seed=ctx.seed,
    )


def fitting(pictures: int, columns: int) -> tuple[str, ...]:
    """Probes for features: with few pictures both linear ones, else ridge for more columns than pictures.

    There logistic regression takes longest and, measured on pictures, is no better.
    """
    if pictures < BOTH_BELOW:
        return PROBES
    return ("knn", "ridge") if columns > pictures else ("knn", "logistic")


def judge(entrant: ProbeInput, x: np.ndarray, on: ProbeCvProblem, probes: tuple[str, ...] = ()) -> ProbeScores:
    """Cross-validate the probes on features.

    Args:
        entrant: Whose features they are.
        x: (M, D) float32, in the order of `on.rows`.
        on: Pictures and folds.
        probes: Heads to try, at least one of them linear; by default those of `fitting`.
    """
    started = time.monotonic()
    probes = probes or fitting(*x.shape)
    tuned = {probe: _tuned(probe, x, on) for probe in probes if probe in LINEAR}
    best = min(tuned, key=lambda p: float(tuned[p].losses.mean()))
    names = dict.fromkeys((on.metric, "balanced_accuracy", "accuracy"))
    shown = [_averaged(name, tuned[best], on) for name in names]
    each = {probe: _averaged(on.metric, found, on) for probe, found in tuned.items()}
    if "knn" in probes:
        at, few = _thinned(on)
        each["knn"] = _averaged(on.metric, _tuned("knn", x[at], few), few)
    shown += [dataclasses.replace(score, name=f"{probe}_{on.metric}") for probe, score in each.items()]
    with blas_threads.single_blas_thread():
        logme = compute_logme(x, on.y)
    row = RankRow(
        candidate=entrant.name,
        backbone=entrant.backbone,
        depth=entrant.depth,
        probe=best,
        scores=tuple(shown),
        paired=None,
        status="beaten",
        rows_seen=len(on.rows),
        flops=entrant.flops,
        seconds=time.monotonic() - started,
        prior=entrant.prior,
        logme=logme,
    )
    contender = CandidateLosses(name=entrant.name, rows=on.rows, losses=tuned[best].losses, cost=float(entrant.flops))
    return ProbeScores(row=row, contender=contender)


def _tuned(probe: str, x: np.ndarray, on: ProbeCvProblem) -> cross_validation.TunedSetting:
    """The probe with its best strength, and what it says of pictures that it had not seen."""
    return cross_validation.tune_head(
        registry.load_plugin("heads", probe),
        x,
        on.y,
        on.folds,
        n_classes=on.n_classes,
        class_weight=on.class_weight,
        seed=on.seed,
        metric=on.metric,
    )


def _thinned(on: ProbeCvProblem) -> tuple[np.ndarray, ProbeCvProblem]:
    """Evenly spaced positions (classes lie one after the other, so they keep their shares), and their arena."""
    at = evenly_spaced(len(on.rows), NEAR)
    few = dataclasses.replace(on, rows=on.rows[at], y=on.y[at], folds=on.folds[:, at], clusters=on.clusters[at])
    return at, few


def _averaged(name: str, found: cross_validation.TunedSetting, on: ProbeCvProblem) -> Score:
    return repeated_cv.average_scores(name, on.y, found.held_out, split=on.split, clusters=on.clusters, seed=on.seed)


def difference(interval: Interval, on: ProbeCvProblem) -> Score:
    """A paired difference of losses as a score of this arena."""
    return repeated_cv.make_difference_score(interval, on.metric, split=on.split, n=len(on.rows))
