"""Judge one set of features: kNN, ridge and logistic regression, all on the same folds.

The strength of each probe is searched on the first repeat of the cross-validation and kept for the others. A
candidate stands for the better of its two linear probes; kNN is told beside it.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np

from headstart.core import registry
from headstart.core.context import Context
from headstart.core.types import RankRow, Score
from headstart.kit import blas, crossval, metrics, transferability
from headstart.kit.compare import Contender
from headstart.kit.intervals import Interval

PROBES = ("knn", "ridge", "logistic")
LINEAR = ("ridge", "logistic")
NEAR = 5_000  # pictures that kNN is judged on at most: it takes the distances of all pairs


@dataclass(frozen=True, kw_only=True, eq=False)
class Arena:
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
class Judged:
    """One candidate's row so far, and the losses it is compared by."""

    row: RankRow
    contender: Contender


@dataclass(frozen=True, kw_only=True)
class Entrant:
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
) -> Arena:
    """The pictures `rows` as an arena; `targets` (N,), `folds` (R, N) and `clusters` (N,) speak of the whole set."""
    y = np.asarray(targets)[rows]
    return Arena(
        rows=rows,
        y=y,
        folds=np.asarray(folds)[:, rows],
        clusters=np.asarray(clusters)[rows],
        n_classes=classes,
        metric=ctx.job.metric,
        split=split,
        class_weight=_weights(y, classes) if ctx.job.class_weight == "balanced" else None,
        seed=ctx.seed,
    )


def _weights(y: np.ndarray, classes: int) -> np.ndarray:
    """(C,) as much weight for each present class as for any other, 1 on average over pictures."""
    counts = np.bincount(y, minlength=classes)
    return np.where(counts > 0, len(y) / (max((counts > 0).sum(), 1) * np.maximum(counts, 1)), 1.0)


def judge(entrant: Entrant, x: np.ndarray, on: Arena, probes: tuple[str, ...] = PROBES) -> Judged:
    """Cross-validate the probes on features.

    Args:
        entrant: Whose features they are.
        x: (M, D) float32, in the order of `on.rows`.
        on: Pictures and folds.
        probes: Heads to try, at least one of them linear.
    """
    started = time.monotonic()
    held = {probe: _held_out(probe, x, on) for probe in probes if probe in LINEAR}
    losses = {probe: _losses(p_RMC, on) for probe, p_RMC in held.items()}
    best = min(held, key=lambda p: float(losses[p].mean()))
    shown = [averaged(name, held[best], on) for name in dict.fromkeys((on.metric, "balanced_accuracy", "accuracy"))]
    each = {probe: averaged(on.metric, p_RMC, on) for probe, p_RMC in held.items()}
    if "knn" in probes:
        at, few = _thinned(on)
        each["knn"] = averaged(on.metric, _held_out("knn", x[at], few), few)
    shown += [dataclasses.replace(score, name=f"{probe}_{on.metric}") for probe, score in each.items()]
    with blas.single():
        seen = transferability.spectrum(x, on.y)
        columns = transferability.logme(seen), transferability.h_score(seen)
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
        logme=columns[0],
        h_score=columns[1],
    )
    contender = Contender(name=entrant.name, rows=on.rows, losses=losses[best], cost=float(entrant.flops))
    return Judged(row=row, contender=contender)


def _held_out(probe: str, x: np.ndarray, on: Arena) -> np.ndarray:
    """(R, M, C) probabilities of pictures that the probe had not seen."""
    found = crossval.tuned(
        registry.load("heads", probe),
        x,
        on.y,
        on.folds,
        n_classes=on.n_classes,
        class_weight=on.class_weight,
        seed=on.seed,
        metric=on.metric,
    )
    return found.held_out


def _thinned(on: Arena) -> tuple[np.ndarray, Arena]:
    """Evenly spaced positions (classes lie one after the other, so they keep their shares), and their arena."""
    at = np.linspace(0, len(on.rows) - 1, min(len(on.rows), NEAR)).astype(np.int64)
    few = dataclasses.replace(on, rows=on.rows[at], y=on.y[at], folds=on.folds[:, at], clusters=on.clusters[at])
    return at, few


def _losses(p_RMC: np.ndarray, on: Arena) -> np.ndarray:
    """(M,) loss of each picture, averaged over repeats."""
    return np.asarray(np.mean([metrics.per_picture_loss(on.metric, on.y, p_MC) for p_MC in p_RMC], axis=0))


def averaged(name: str, p_RMC: np.ndarray, on: Arena) -> Score:
    """A score and the ends of its interval, averaged over repeats."""
    each = [metrics.score(name, on.y, p, split=on.split, clusters=on.clusters, seed=on.seed) for p in p_RMC]
    value, low, high = (float(np.mean(ends)) for ends in zip(*((s.value, s.low, s.high) for s in each), strict=True))
    return dataclasses.replace(each[0], value=value, low=low, high=high)


def difference(interval: Interval, on: Arena) -> Score:
    """A paired difference of losses as a score; of accuracies more is better, so the sign is turned."""
    value, low, high = interval
    if on.metric.endswith("accuracy"):
        value, low, high = -value, -high, -low
    return Score(split=on.split, name=on.metric, value=value, low=low, high=high, n=len(on.rows), method="paired t")
