"""Screen many backbones on a few pictures, so that only those worth it see all of them.

Successive halving (`headstart.selection.successive_halving`): the better half goes on to more pictures, and the best by
prior too. A round's pictures are among those of the next. The last stay behind when their passes, by the pace just
measured, would not fit the budget. No test split is drawn from the pictures used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headstart.core.run.context import Context
from headstart.core.run.time_plan import plan_time
from headstart.core.types import Dataset, Embeddings, RankRow
from headstart.selection import successive_halving
from headstart.selection.cv_problem import CvProblem, make_cv_problem
from headstart.selection.published_accuracy import expected_accuracy
from headstart.selection.ranking.probe_scores import (
    ProbeScores,
    judge_levels,
)
from headstart.selection.successive_halving import Option
from headstart.statistics.paired_selection import choose_candidate, paired_difference

FOLDS = 5
CALIBRATED = 256  # pictures of the one round in int8: another draw would calibrate, and so embed, all anew


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Screening:
    """Which backbones go on, the best by probe first.

    Attributes:
        pictures: (M,) int64 rows that were looked at.
        rows: One row for each level of the backbones that do not, those that went furthest first.
    """

    pictures: np.ndarray
    survivors: tuple[str, ...]
    rows: tuple[RankRow, ...]


def draw_rows(data: Dataset, count: int, seed: int, among: np.ndarray | None = None) -> np.ndarray:
    """(M,) int64 ascending, a stratified draw; a small class keeps at least two pictures where `count` allows.

    By default from the rows that no given split keeps for judging; all of them where there are no more than `count`.
    """
    if among is None:
        among = np.flatnonzero([split in ("", "train") for split in data.split])
    if len(among) <= count:
        return np.sort(np.asarray(among, np.int64))
    order = np.random.default_rng([seed, count]).permutation(np.sort(among))
    place = np.empty(len(order))
    targets = np.asarray(data.targets)[order]
    for c in np.unique(targets):
        inside = np.flatnonzero(targets == c)
        place[inside] = (np.arange(len(inside)) + 0.5) / len(inside)
        place[inside[:2]] = -1.0  # first in line
    return np.sort(order[np.argsort(place, kind="stable")[:count]]).astype(np.int64)


def plan_draws(data: Dataset, backbones: int, *, ctx: Context) -> tuple[np.ndarray, ...]:
    """(M,) int64 rows for each round, each among those of the next; none where all may see everything at once."""
    sizes = successive_halving.plan_rounds(backbones, len(data.uris), len(data.class_names))
    if ctx.job.precision != "f32" and sizes:
        sizes = (CALIBRATED,)
    drawn: list[np.ndarray] = []
    for count in reversed(sizes):
        rows = draw_rows(data, count, ctx.seed, among=drawn[0] if drawn else None)
        if not drawn or len(rows) < len(drawn[0]):
            drawn.insert(0, rows)
    return tuple(drawn)


def screen_backbones(
    data: Dataset,
    embeddings: tuple[Embeddings, ...],
    *,
    ctx: Context,
    previous: Screening | None = None,
    next_passes: Mapping[str, int],
) -> Screening:
    """One round: judge backbones on the pictures that they were all given.

    `embeddings` are all of the same rows; `next_passes` counts the pictures that go through each next, cached ones not.
    """
    rows = np.asarray(embeddings[0].rows)
    problem = make_screening_problem(data, rows, ctx)
    judged, clusters = [judge_levels(e, problem) for e in embeddings], problem.clusters
    best = {levels[0].row.backbone: min(levels, key=lambda s: s.losses.mean_loss) for levels in judged}
    choice = choose_candidate([b.losses for b in best.values()], clusters=clusters, metric=problem.metric)
    options = [_make_option(e, next_passes[e.spec.name]) for e in embeddings]
    survivors: list[str] = ctx.record_decision(
        f"rank/survivors/{len(rows)}", lambda: _choose_survivors(options, best, clusters, ctx), choice.why
    )
    leader = best[survivors[0]].losses
    dropped_rows = [
        dataclasses.replace(
            j.row,
            status="screened_out",
            paired=problem.make_difference_score(paired_difference(j.losses, leader, clusters)),
        )
        for levels in judged
        for j in sorted(levels, key=lambda s: s.losses.mean_loss)
        if j.row.backbone not in survivors
    ]
    _print_survivors(survivors, successive_halving.best_by_prior(options), len(best), len(rows), ctx)
    earlier_rows = previous.rows if previous else ()
    return Screening(pictures=rows, survivors=tuple(survivors), rows=(*dropped_rows, *earlier_rows))


def _make_option(embeddings: Embeddings, pictures: int) -> Option:
    """A backbone with the seconds that its next pass takes by the pace just measured."""
    seconds = float(np.nan_to_num(embeddings.latency_ms)) / 1000 * pictures
    return Option(name=embeddings.spec.name, expected=expected_accuracy(embeddings.spec), cost=seconds)


def _choose_survivors(
    options: list[Option], best: Mapping[str, ProbeScores], clusters: np.ndarray, ctx: Context
) -> list[str]:
    candidates = [dataclasses.replace(b.losses, name=name) for name, b in best.items()]
    halving = successive_halving.halve_options(
        options, candidates, clusters=clusters, room=plan_time(ctx.job).later_passes_s(ctx.left_s())
    )
    for name, why in halving.dropped.items():
        if why == successive_halving.NO_ROOM:
            ctx.console.print_line("screen", f"{name} is left behind: {why}")
    return list(halving.survivors)


def _print_survivors(survivors: list[str], by_prior: str, count: int, pictures: int, ctx: Context) -> None:
    roles = {survivors[0]: [successive_halving.BY_PROBE]}
    roles.setdefault(by_prior, []).append(successive_halving.BY_PRIOR)
    described = [f"{name} ({' and '.join(roles[name])})" if name in roles else name for name in survivors]
    ctx.console.print_line(
        "screen", f"{len(survivors)} of {count} backbones go on after {pictures:,} pictures: {', '.join(described)}"
    )


def make_screening_problem(data: Dataset, rows: np.ndarray, ctx: Context) -> CvProblem:
    """Folds for pictures whose audit is not finished: stratified, equal fingerprints together.

    A fingerprint that a tenth of the pictures share (blank ones) tells nothing and binds nothing together.
    """
    targets, clusters = np.asarray(data.targets), _cluster_by_fingerprint(data, rows)
    smallest_class = int(np.bincount(targets[rows])[np.unique(targets[rows])].min())
    count = max(2, min(FOLDS, ctx.job.folds, smallest_class))
    folds = np.full((1, len(targets)), -1, np.int16)
    order = rows[np.random.default_rng([ctx.seed, len(rows)]).permutation(len(rows))]
    fold_of_cluster: dict[int, int] = {}
    for c in np.unique(targets[rows]):
        for place, row in enumerate(order[targets[order] == c]):
            folds[0, row] = fold_of_cluster.setdefault(int(clusters[row]), place % count)
    return make_cv_problem(rows, data, folds, clusters, ctx=ctx, split="screen")


def _cluster_by_fingerprint(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """(N,) a number for each perceptual hash, of its own where too many of `rows` share it."""
    same = np.unique(data.facts.phash, return_inverse=True)[1]
    common = np.bincount(same[rows], minlength=int(same.max()) + 1) > len(rows) / 10
    return np.where(common[same], len(same) + np.arange(len(same)), same)
