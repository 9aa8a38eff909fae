"""Heads against heads: each one's setting is searched, all are judged on the same folds, and the rest are dropped.

Settings are searched on the first repeat. Further repeats are spent only on what that repeat does not tell from the
best. No clock has a say in this.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core import registry
from headstart.core.run.context import Context
from headstart.core.types import Dataset, Embeddings, Feature, Head, HeadRow, NameInitialization, Score, Splits
from headstart.features import feature_matrix
from headstart.features.embeddings import join_columns
from headstart.heads import cross_validation, repeated_cv
from headstart.heads.nested_cv import Candidate
from headstart.heads.nested_cv import run_nested_cv as judged_anew
from headstart.heads.regularization_path import FROM_NAMES_SUFFIX
from headstart.statistics.paired_selection import CandidateLosses, PairedChoice, choose_candidate

SCORES = ("balanced_accuracy", "accuracy")
MOST = 20_000  # pictures on which heads are compared; the winner learns from all


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadCvProblem:
    """The pictures and folds on which heads meet.

    Attributes:
        rows: (M,) int64 rows of the data set.
        y: (M,) int64 classes.
        folds: (R, M).
        clusters: (N,) of the whole data set.
        prefer: `accurate` or `fast`.
        class_weight: (C,) or None.
        names: What the names of the classes say, if heads may start from it.
    """

    rows: np.ndarray
    y: np.ndarray
    folds: np.ndarray
    clusters: np.ndarray
    n_classes: int
    metric: str
    prefer: str
    class_weight: np.ndarray | None
    seed: int
    names: NameInitialization | None = None

    @property
    def shared(self) -> dict[str, Any]:
        """What every call of `cross_validation` gets."""
        return {"n_classes": self.n_classes, "class_weight": self.class_weight, "seed": self.seed}


def make_cv_problem(
    data: Dataset, splits: Splits, ctx: Context, names: NameInitialization | None = None
) -> HeadCvProblem:
    """The training pictures of a run, or where they are many some drawn by class."""
    train, classes = np.asarray(splits.train), len(data.class_names)
    rows = train[cross_validation.draw_stratified(np.asarray(data.targets)[train], MOST, ctx.seed)]
    if len(rows) < len(train):
        ctx.console.print_line(
            "adapt", f"heads are compared on {len(rows):,} of {len(train):,} pictures, drawn by class"
        )
    y = np.asarray(data.targets)[rows]
    return HeadCvProblem(
        rows=rows,
        y=y,
        folds=np.asarray(splits.folds)[:, rows],
        clusters=np.asarray(splits.clusters),
        n_classes=classes,
        metric=ctx.job.metric,
        prefer=ctx.job.prefer,
        class_weight=cross_validation.balanced_class_weights(y, classes)
        if ctx.job.class_weight == "balanced"
        else None,
        seed=ctx.seed,
        names=names,
    )


def load_head(head: str, features: Sequence[Feature], problem: HeadCvProblem) -> Head:
    """The head of a name, on its start where it has one: 0 for columns of which the names say nothing."""
    loaded: Head = registry.load_plugin("heads", head.removesuffix(FROM_NAMES_SUFFIX))
    if not head.endswith(FROM_NAMES_SUFFIX):
        return loaded
    names = problem.names
    assert names is not None
    parts = [
        names.weights if f == names.feature else np.zeros((f.dim, problem.n_classes), np.float32) for f in features
    ]
    with_start: Head = loaded.starting(np.concatenate(parts))  # type: ignore[attr-defined]
    return with_start


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadResult:
    """One head on one set of features, and how it did."""

    head: str
    features: tuple[Feature, ...]
    flops: int
    tuned: cross_validation.TunedSetting
    seconds: float

    @property
    def name(self) -> str:
        """Unique among all entries."""
        return f"{self.head} on {feature_matrix.format_features(self.features)}"


def tune_heads(
    heads: Sequence[str], features: tuple[Feature, ...], embeddings: Sequence[Embeddings], problem: HeadCvProblem
) -> list[HeadResult]:
    """Search each head's setting on the first repeat."""
    x, cost, results = (
        join_columns(embeddings, features, problem.rows),
        feature_matrix.sum_flops(embeddings, features),
        [],
    )
    for head in heads:
        started = time.monotonic()
        tuned = cross_validation.tune_head(
            load_head(head, features, problem), x, problem.y, problem.folds[:1], metric=problem.metric, **problem.shared
        )
        seconds = time.monotonic() - started
        results.append(HeadResult(head=head, features=features, flops=cost, tuned=tuned, seconds=seconds))
    return results


def choose_head(entries: Sequence[HeadResult], problem: HeadCvProblem) -> PairedChoice:
    """The paired rule of `headstart.statistics.paired_selection` on the pictures that folds judged."""
    return choose_candidate(
        [_make_losses(e, problem) for e in entries],
        prefer=problem.prefer,
        clusters=problem.clusters,
        metric=problem.metric,
    )


def _make_losses(entry: HeadResult, problem: HeadCvProblem) -> CandidateLosses:
    judged = np.isfinite(entry.tuned.losses)
    return CandidateLosses(
        name=entry.name, rows=problem.rows[judged], losses=entry.tuned.losses[judged], cost=float(entry.flops)
    )


def repeat_close(
    entries: Sequence[HeadResult], embeddings: Sequence[Embeddings], problem: HeadCvProblem
) -> list[HeadResult]:
    """Judge on all repeats what the first does not tell from the best."""
    if len(problem.folds) == 1:
        return list(entries)
    first = choose_head(entries, problem)
    tied = {first.winner, first.best, *first.ties}
    return [judge_repeats(e, embeddings, problem) if e.name in tied else e for e in entries]


def judge_repeats(entry: HeadResult, embeddings: Sequence[Embeddings], problem: HeadCvProblem) -> HeadResult:
    """Judge on the repeats after the first, with the setting found there."""
    started = time.monotonic()
    head, x = load_head(entry.head, entry.features, problem), join_columns(embeddings, entry.features, problem.rows)
    tuned = cross_validation.judge_more_repeats(
        entry.tuned, head, x, problem.y, problem.folds[1:], metric=problem.metric, **problem.shared
    )
    return dataclasses.replace(entry, tuned=tuned, seconds=entry.seconds + time.monotonic() - started)


# ---------------------------------------------------------------- rows of the table


def make_head_rows(
    entries: Sequence[HeadResult], choice: PairedChoice, winner: str, problem: HeadCvProblem
) -> tuple[HeadRow, ...]:
    """All entries as rows, the best mean first."""
    by_loss = sorted(entries, key=lambda e: (float(np.nanmean(e.tuned.losses)), e.flops, e.name))
    return tuple(_make_head_row(e, choice, winner, problem) for e in by_loss)


def _make_head_row(entry: HeadResult, choice: PairedChoice, winner: str, problem: HeadCvProblem) -> HeadRow:
    tied = entry.name in choice.ties or entry.name == choice.best
    score_names = dict.fromkeys((problem.metric, *SCORES))
    return HeadRow(
        head=entry.head,
        features=feature_matrix.list_feature_names(entry.features),
        params=dict(entry.tuned.params),
        scores=tuple(average_scores(name, entry.tuned.held_out, problem) for name in score_names),
        paired=repeated_cv.make_difference_score(
            choice.paired[entry.name], problem.metric, split="cv", n=len(problem.rows)
        ),
        status="chosen" if entry.name == winner else "tied" if tied else "beaten",
        flops=entry.flops,
        seconds=entry.seconds,
    )


def average_scores(name: str, held_RMC: np.ndarray, problem: HeadCvProblem) -> Score:
    """A score and the ends of its interval, averaged over the repeats."""
    clusters = np.asarray(problem.clusters)[problem.rows]
    return repeated_cv.average_scores(name, problem.y, held_RMC, split="cv", clusters=clusters, seed=problem.seed)


# ---------------------------------------------------------------- without a test split


def judge_nested(
    tried: Sequence[tuple[str, tuple[Feature, ...]]], embeddings: Sequence[Embeddings], problem: HeadCvProblem
) -> tuple[np.ndarray, Mapping[str, int]]:
    """Judge the whole search: every outer fold chooses head, setting and features anew from the others.

    Returns:
        (M, C) float32 held-out probabilities, and how often each candidate was chosen.
    """
    candidates = []
    for name, features in tried:
        head, x = load_head(name, features, problem), join_columns(embeddings, features, problem.rows)
        grid = list(head.grid(len(x), x.shape[1], problem.n_classes))
        title, cost = (
            f"{name} on {feature_matrix.format_features(features)}",
            float(feature_matrix.sum_flops(embeddings, features)),
        )
        candidates.append(Candidate(name=title, x=x, head=head, grid=grid, cost=cost))

    def choose(among: Sequence[Candidate], results: Sequence[cross_validation.TunedSetting]) -> int:
        entries = []
        for candidate, result in zip(among, results, strict=True):
            judged = np.isfinite(result.losses)
            losses = result.losses[judged]
            entries.append(
                CandidateLosses(name=candidate.name, rows=problem.rows[judged], losses=losses, cost=candidate.cost)
            )
        winner = choose_candidate(
            entries, prefer=problem.prefer, clusters=problem.clusters, metric=problem.metric
        ).winner
        return next(at for at, candidate in enumerate(among) if candidate.name == winner)

    probabilities, chosen = judged_anew(
        candidates, problem.y, problem.folds[0], metric=problem.metric, choose=choose, **problem.shared
    )
    return probabilities, {name: chosen.count(name) for name in dict.fromkeys(chosen)}
