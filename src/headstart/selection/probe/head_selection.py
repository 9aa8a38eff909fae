"""Heads against heads: each one's setting is searched, all are judged on the same folds, and the rest are dropped.

Settings are searched on the first repeat. Further repeats are spent only on what that repeat does not tell from the
best. No clock has a say in this.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core import registry
from headstart.core.run.context import Context
from headstart.core.types import Dataset, Embeddings, Feature, Head, HeadRow, NameInitialization, Splits
from headstart.data.strata import find_strata
from headstart.features import feature_matrix
from headstart.features.embeddings import join_columns
from headstart.features.feature_matrix import sum_flops
from headstart.heads import cross_validation, ensemble
from headstart.heads.design_matrix import FROM_NAMES_SUFFIX
from headstart.selection.cv_problem import CvProblem, make_cv_problem
from headstart.statistics.paired_selection import CandidateLosses, PairedChoice, choose_candidate

MOST = 20_000  # pictures on which heads are compared; the winner learns from all


def make_training_problem(
    data: Dataset, splits: Splits, ctx: Context, names: NameInitialization | None = None
) -> CvProblem:
    """The training pictures of a run, or where they are many some drawn by class."""
    train = np.asarray(splits.train)
    rows = train[cross_validation.draw_stratified(find_strata(data).labels[train], MOST, ctx.seed)]
    if len(rows) < len(train):
        ctx.console.print_line(
            "adapt", f"heads are compared on {len(rows):,} of {len(train):,} pictures, drawn by class"
        )
    return dataclasses.replace(make_cv_problem(rows, data, splits.folds, splits.clusters, ctx=ctx), names=names)


def load_head(head: str, features: Sequence[Feature], problem: CvProblem) -> Head:
    """The head of a name, on its start where it has one: 0 for columns of which the names say nothing."""
    if head == ensemble.NAME:
        return ensemble.Ensemble()
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
    heads: Sequence[str], features: tuple[Feature, ...], embeddings: Sequence[Embeddings], problem: CvProblem
) -> list[HeadResult]:
    """Search each head's setting on the first repeat."""
    x, results = join_columns(embeddings, features, problem.rows), []
    cost = sum_flops(embeddings, features)
    for head in heads:
        tuned, seconds = problem.tune_head(load_head(head, features, problem), x)
        results.append(HeadResult(head=head, features=features, flops=cost, tuned=tuned, seconds=seconds))
    return results


def choose_head(entries: Sequence[HeadResult], problem: CvProblem) -> PairedChoice:
    """The paired rule of `headstart.statistics.paired_selection` on the pictures that folds judged."""
    candidates = []
    for entry in entries:
        judged = np.isfinite(entry.tuned.losses)
        candidates.append(
            CandidateLosses(
                name=entry.name, rows=problem.rows[judged], losses=entry.tuned.losses[judged], cost=float(entry.flops)
            )
        )
    return choose_candidate(candidates, prefer=problem.prefer, clusters=problem.clusters, metric=problem.metric)


def repeat_close(
    entries: Sequence[HeadResult], embeddings: Sequence[Embeddings], problem: CvProblem
) -> list[HeadResult]:
    """Judge on all repeats what the first does not tell from the best."""
    if len(problem.folds) == 1:
        return list(entries)
    first = choose_head(entries, problem)
    tied = {first.winner, first.best, *first.ties}
    return [judge_repeats(e, embeddings, problem) if e.name in tied else e for e in entries]


def judge_repeats(entry: HeadResult, embeddings: Sequence[Embeddings], problem: CvProblem) -> HeadResult:
    """Judge on the repeats after the first, with the setting found there."""
    started = time.monotonic()
    head, x = load_head(entry.head, entry.features, problem), join_columns(embeddings, entry.features, problem.rows)
    tuned = cross_validation.judge_more_repeats(
        entry.tuned, head, x, problem.y, problem.folds[1:], metric=problem.metric, **problem.shared
    )
    return dataclasses.replace(entry, tuned=tuned, seconds=entry.seconds + time.monotonic() - started)


def make_head_rows(
    entries: Sequence[HeadResult], choice: PairedChoice, winner: str, problem: CvProblem
) -> tuple[HeadRow, ...]:
    """All entries as rows, the best mean first."""
    by_loss = sorted(entries, key=lambda e: (float(np.nanmean(e.tuned.losses)), e.flops, e.name))
    return tuple(_make_head_row(e, choice, winner, problem) for e in by_loss)


def _make_head_row(entry: HeadResult, choice: PairedChoice, winner: str, problem: CvProblem) -> HeadRow:
    tied = entry.name in choice.ties or entry.name == choice.best
    score_names = dict.fromkeys((problem.metric, *problem.task.shown))
    return HeadRow(
        head=entry.head,
        features=feature_matrix.list_feature_names(entry.features),
        params=dict(entry.tuned.params),
        scores=tuple(problem.average_scores(name, entry.tuned.held_out) for name in score_names),
        paired=problem.make_difference_score(choice.paired[entry.name]),
        status="chosen" if entry.name == winner else "tied" if tied else "beaten",
        flops=entry.flops,
        seconds=entry.seconds,
    )
