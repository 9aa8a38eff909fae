"""Judge one set of features: kNN, ridge and logistic regression, all on the same folds.

The strength of each probe is searched on the first repeat and kept for the others. A candidate stands for its linear
probe, the better one where both are tried.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np

from headstart.core import blas_threads, registry
from headstart.core.run.context import Context
from headstart.core.types import Embeddings, RankRow, Score
from headstart.features.embeddings import take_vectors
from headstart.heads import cross_validation, repeated_cv
from headstart.selection.logme import compute_logme
from headstart.statistics.intervals import Interval
from headstart.statistics.paired_selection import CandidateLosses
from headstart.statistics.sampling import evenly_spaced

PROBES = ("knn", "ridge", "logistic")
BOTH_BELOW = 500  # pictures below which both linear probes are tried
LINEAR = ("ridge", "logistic")
KNN_MAX_PICTURES = 5_000  # pictures that kNN is judged on at most: it takes the distances of all pairs


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeCvProblem:
    """The pictures and folds on which candidates meet.

    Attributes:
        rows: (M,) int64 rows of the data set.
        y: (M,) int64 classes.
        folds: (R, M) fold of each picture in each repeat.
        clusters: (M,) labels of near-duplicates.
        split: Of the scores: `cv` or `screen`.
        class_weight: (C,) float64 or None.
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
    losses: CandidateLosses


@dataclass(frozen=True, kw_only=True)
class ProbeInput:
    """What is known of a candidate before it is judged."""

    backbone: str
    depth: str
    flops: int
    prior: float

    @property
    def name(self) -> str:
        """`backbone@depth`, or the backbone's name alone where there is no level."""
        return f"{self.backbone}@{self.depth}" if self.depth else self.backbone


def make_cv_problem(
    rows: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    clusters: np.ndarray,
    *,
    split: str,
    classes: int,
    ctx: Context,
) -> ProbeCvProblem:
    """The problem of the pictures `rows`; `targets` (N,), `folds` (R, N) and `clusters` (N,) speak of the whole set."""
    y = np.asarray(targets)[rows]
    weight = cross_validation.balanced_class_weights(y, classes) if ctx.job.class_weight == "balanced" else None
    return ProbeCvProblem(
        rows=rows,
        y=y,
        folds=np.asarray(folds)[:, rows],
        clusters=np.asarray(clusters)[rows],
        n_classes=classes,
        metric=ctx.job.metric,
        split=split,
        class_weight=weight,
        seed=ctx.seed,
    )


def choose_probes(pictures: int, columns: int) -> tuple[str, ...]:
    """Probes for features: with few pictures both linear ones, else ridge for more columns than pictures.

    There logistic regression takes longest and, measured on pictures, is no better.
    """
    if pictures < BOTH_BELOW:
        return PROBES
    return ("knn", "ridge") if columns > pictures else ("knn", "logistic")


def judge_features(
    probe_input: ProbeInput, x: np.ndarray, problem: ProbeCvProblem, probes: tuple[str, ...] = ()
) -> ProbeScores:
    """Cross-validate probes, by default those of `choose_probes`, on x (M, D) float32, one row a picture."""
    started = time.monotonic()
    probes = probes or choose_probes(*x.shape)
    tuned = {probe: _tune_probe(probe, x, problem) for probe in probes if probe in LINEAR}
    best = min(tuned, key=lambda p: float(tuned[p].losses.mean()))
    names = dict.fromkeys((problem.metric, "balanced_accuracy", "accuracy"))
    scores = [_average_scores(name, tuned[best], problem) for name in names]
    by_probe = {probe: _average_scores(problem.metric, tuned_probe, problem) for probe, tuned_probe in tuned.items()}
    if "knn" in probes:
        positions, few = _thin_problem(problem)
        by_probe["knn"] = _average_scores(problem.metric, _tune_probe("knn", x[positions], few), few)
    scores += [dataclasses.replace(score, name=f"{probe}_{problem.metric}") for probe, score in by_probe.items()]
    with blas_threads.single_blas_thread():
        logme = compute_logme(x, problem.y)
    row = RankRow(
        candidate=probe_input.name,
        backbone=probe_input.backbone,
        depth=probe_input.depth,
        probe=best,
        scores=tuple(scores),
        paired=None,
        status="beaten",
        rows_seen=len(problem.rows),
        flops=probe_input.flops,
        seconds=time.monotonic() - started,
        prior=probe_input.prior,
        logme=logme,
    )
    losses = CandidateLosses(
        name=probe_input.name, rows=problem.rows, losses=tuned[best].losses, cost=float(probe_input.flops)
    )
    return ProbeScores(row=row, losses=losses)


def judge_level(
    embeddings: Embeddings, level: str, problem: ProbeCvProblem, probes: tuple[str, ...] = ()
) -> ProbeScores:
    """The features of one level of a backbone, as `judge_features`."""
    spec = embeddings.spec
    probe_input = ProbeInput(backbone=spec.name, depth=level, flops=spec.flops, prior=spec.prior)
    return judge_features(probe_input, take_vectors(embeddings, level, problem.rows), problem, probes)


def judge_levels(embeddings: Embeddings, problem: ProbeCvProblem, probes: tuple[str, ...] = ()) -> list[ProbeScores]:
    """Every feature level of a backbone."""
    return [judge_level(embeddings, level.name, problem, probes) for level in embeddings.spec.depths]


def _tune_probe(probe: str, x: np.ndarray, problem: ProbeCvProblem) -> cross_validation.TunedSetting:
    """The probe with its best strength, and what it says of pictures that it had not seen."""
    return cross_validation.tune_head(
        registry.load_plugin("heads", probe),
        x,
        problem.y,
        problem.folds,
        n_classes=problem.n_classes,
        class_weight=problem.class_weight,
        seed=problem.seed,
        metric=problem.metric,
    )


def _thin_problem(problem: ProbeCvProblem) -> tuple[np.ndarray, ProbeCvProblem]:
    """Evenly spaced positions (classes lie one after the other, so they keep their shares), and their problem."""
    positions = evenly_spaced(len(problem.rows), KNN_MAX_PICTURES)
    few = dataclasses.replace(
        problem,
        rows=problem.rows[positions],
        y=problem.y[positions],
        folds=problem.folds[:, positions],
        clusters=problem.clusters[positions],
    )
    return positions, few


def _average_scores(name: str, tuned: cross_validation.TunedSetting, problem: ProbeCvProblem) -> Score:
    return repeated_cv.average_scores(
        name, problem.y, tuned.held_out, split=problem.split, clusters=problem.clusters, seed=problem.seed
    )


def make_difference_score(interval: Interval, problem: ProbeCvProblem) -> Score:
    """A paired difference of losses as a score."""
    return repeated_cv.make_difference_score(interval, problem.metric, split=problem.split, n=len(problem.rows))
