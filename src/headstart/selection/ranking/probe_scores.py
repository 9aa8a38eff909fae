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
from headstart.core.types import Embeddings, RankRow
from headstart.features.embeddings import take_vectors
from headstart.heads import cross_validation
from headstart.selection.cv_problem import CvProblem
from headstart.selection.logme import compute_logme
from headstart.statistics.paired_selection import CandidateLosses
from headstart.statistics.sampling import evenly_spaced

PROBES = ("knn", "ridge", "logistic")
BOTH_BELOW = 500  # pictures below which both linear probes are tried
KNN_MAX_PICTURES = 5_000  # pictures that kNN is judged on at most: it takes the distances of all pairs


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeScores:
    """One candidate's row so far, and the losses it is compared by."""

    row: RankRow
    losses: CandidateLosses


def choose_probes(pictures: int, columns: int) -> tuple[str, ...]:
    """Probes for features: with few pictures both linear ones, else ridge for more columns than pictures.

    There logistic regression takes longest and, measured on pictures, is no better.
    """
    if pictures < BOTH_BELOW:
        return PROBES
    return ("knn", "ridge") if columns > pictures else ("knn", "logistic")


def judge_features(
    backbone: str,
    x: np.ndarray,
    problem: CvProblem,
    probes: tuple[str, ...] = (),
    *,
    depth: str = "",
    flops: int = 0,
    prior: float = 0.0,
) -> ProbeScores:
    """Cross-validate probes on x (M, D) float32, one row a picture: by default those of `choose_probes`.

    In a screening round these are the linear ones alone, by which backbones are compared.
    """
    started = time.monotonic()
    probes = problem.task.probes or probes
    probes = probes or tuple(p for p in choose_probes(*x.shape) if p != "knn" or problem.split == "cv")
    tuned = {probe: _tune_probe(probe, x, problem) for probe in probes if probe != "knn"}
    best = min(tuned, key=lambda p: float(tuned[p].losses.mean()))
    names = dict.fromkeys((problem.metric, *problem.task.shown))
    scores = [problem.average_scores(name, tuned[best].held_out) for name in names]
    by_probe = {
        probe: problem.average_scores(problem.metric, tuned_probe.held_out) for probe, tuned_probe in tuned.items()
    }
    if "knn" in probes:
        positions, few = _thin_problem(problem)
        by_probe["knn"] = few.average_scores(problem.metric, _tune_probe("knn", x[positions], few).held_out)
    scores += [dataclasses.replace(score, name=f"{probe}_{problem.metric}") for probe, score in by_probe.items()]
    with blas_threads.single_blas_thread():
        logme = compute_logme(x, problem.y)
    candidate = f"{backbone}@{depth}" if depth else backbone
    row = RankRow(
        candidate=candidate,
        backbone=backbone,
        depth=depth,
        probe=best,
        scores=tuple(scores),
        paired=None,
        status="beaten",
        rows_seen=len(problem.rows),
        flops=flops,
        seconds=time.monotonic() - started,
        prior=prior,
        logme=logme,
    )
    losses = CandidateLosses(name=candidate, rows=problem.rows, losses=tuned[best].losses, cost=float(flops))
    return ProbeScores(row=row, losses=losses)


def judge_level(embeddings: Embeddings, level: str, problem: CvProblem, probes: tuple[str, ...] = ()) -> ProbeScores:
    """The features of one level of a backbone, as `judge_features`."""
    spec, x = embeddings.spec, take_vectors(embeddings, level, problem.rows)
    return judge_features(spec.name, x, problem, probes, depth=level, flops=spec.flops, prior=spec.prior)


def judge_levels(embeddings: Embeddings, problem: CvProblem, probes: tuple[str, ...] = ()) -> list[ProbeScores]:
    """Every feature level of a backbone."""
    return [judge_level(embeddings, level.name, problem, probes) for level in embeddings.spec.depths]


def _tune_probe(probe: str, x: np.ndarray, problem: CvProblem) -> cross_validation.TunedSetting:
    head = registry.load_plugin("heads", probe)
    tuned, _ = problem.tune_head(head, x)
    if len(problem.folds) == 1:
        return tuned
    return cross_validation.judge_more_repeats(
        tuned, head, x, problem.y, problem.folds[1:], metric=problem.metric, **problem.shared
    )


def _thin_problem(problem: CvProblem) -> tuple[np.ndarray, CvProblem]:
    """Evenly spaced positions (classes lie one after the other, so they keep their shares), and their problem."""
    positions = evenly_spaced(len(problem.rows), KNN_MAX_PICTURES)
    few = dataclasses.replace(
        problem,
        rows=problem.rows[positions],
        y=problem.y[positions],
        folds=problem.folds[:, positions],
    )
    return positions, few
