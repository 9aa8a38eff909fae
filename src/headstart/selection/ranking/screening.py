"""Screen many backbones on a few pictures, so that only those worth it see all of them.

Successive halving (`headstart.selection.successive_halving`): every backbone is judged at its best depth on few
pictures, the better half of those that the paired interval cannot tell from the best goes on to more, and the best by
prior does too. The pictures of a round are among those of the next, so their vectors are there already. The last of
them stay behind when their passes, by the pace just measured, would not fit the budget. The pictures used are told,
so that no test split is drawn from them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headstart.core.run.context import Context
from headstart.core.run.time_plan import plan_time
from headstart.core.types import Dataset, Embeddings, RankRow, Score
from headstart.features.embeddings import take_vectors
from headstart.selection import successive_halving
from headstart.selection.published_accuracy import expected_accuracy
from headstart.selection.ranking.probe_scores import ProbeCvProblem, ProbeInput, ProbeScores, arena, difference, judge
from headstart.selection.successive_halving import Option
from headstart.statistics.paired_selection import choose_candidate, paired_difference

FOLDS = 5
CALIBRATED = 256  # pictures of the one round in int8: another draw would calibrate, and so embed, all anew


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Screening:
    """Which backbones go on.

    Attributes:
        pictures: (M,) int64 rows that were looked at.
        survivors: Backbones that go on, the best by probe first.
        rows: One row for each depth of the backbones that do not, those that went furthest first.
    """

    pictures: np.ndarray
    survivors: tuple[str, ...]
    rows: tuple[RankRow, ...]


def sample(data: Dataset, count: int, seed: int, among: np.ndarray | None = None) -> np.ndarray:
    """A stratified draw of rows; a small class keeps at least two pictures where `count` allows.

    Args:
        data: The data set.
        count: Rows wanted; all are returned when there are no more.
        seed: Of the draw.
        among: (M,) rows to draw from; by default those that no given split keeps for judging.

    Returns:
        (M,) int64, ascending.
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


def draws(data: Dataset, backbones: int, *, ctx: Context) -> tuple[np.ndarray, ...]:
    """The pictures of each round, as far as there are backbones for it; none where all may see everything at once.

    Args:
        data: The data set.
        backbones: How many there are.
        ctx: The run.

    Returns:
        (M,) int64 rows for each round, each among those of the next.
    """
    sizes = successive_halving.rounds(backbones, len(data.uris), len(data.class_names))
    if ctx.job.precision != "f32" and sizes:
        sizes = (CALIBRATED,)
    found: list[np.ndarray] = []
    for count in reversed(sizes):
        rows = sample(data, count, ctx.seed, among=found[0] if found else None)
        if not found or len(rows) < len(found[0]):
            found.insert(0, rows)
    return tuple(found)


def screen_backbones(
    data: Dataset,
    embeddings: tuple[Embeddings, ...],
    *,
    ctx: Context,
    before: Screening | None = None,
    ahead: Mapping[str, int],
) -> Screening:
    """One round: judge backbones on the pictures that they were all given.

    Args:
        data: The data set.
        embeddings: One for each backbone, all of the same rows.
        ctx: The run; the survivors are written to its decisions.
        before: What the rounds before came to.
        ahead: How many pictures have to go through each backbone next, those aside whose vectors are in the cache.
    """
    rows = np.asarray(embeddings[0].rows)
    on = _arena(data, rows, ctx)
    every, clusters = [_depths(e, on) for e in embeddings], _spread(on, len(data.uris))
    best = {depths[0].row.backbone: min(depths, key=lambda j: j.contender.mean_loss) for depths in every}
    chosen = choose_candidate([b.contender for b in best.values()], clusters=clusters, metric=on.metric)
    options = [_option(e, ahead[e.spec.name]) for e in embeddings]
    found: list[str] = ctx.record_decision(
        f"rank/survivors/{len(rows)}", lambda: _kept(options, best, clusters, ctx), chosen.why
    )
    leader = best[found[0]].contender
    out = [
        _left(j.row, difference(paired_difference(j.contender, leader, clusters), on))
        for depths in every
        for j in sorted(depths, key=lambda j: j.contender.mean_loss)
        if j.row.backbone not in found
    ]
    _say(found, successive_halving.best_by_prior(options), len(best), len(rows), ctx)
    return Screening(pictures=rows, survivors=tuple(found), rows=(*out, *(before.rows if before else ())))


def _left(row: RankRow, apart: Score | None) -> RankRow:
    """The row of one that does not go on."""
    return dataclasses.replace(row, status="screened_out", paired=apart)


def _option(of: Embeddings, ahead: int) -> Option:
    """A backbone with the seconds that its next pass takes by the pace just measured."""
    seconds = float(np.nan_to_num(of.latency_ms)) / 1000 * ahead
    return Option(name=of.spec.name, expected=expected_accuracy(of.spec), cost=seconds)


def _kept(options: list[Option], best: Mapping[str, ProbeScores], clusters: np.ndarray, ctx: Context) -> list[str]:
    judged = [dataclasses.replace(b.contender, name=name) for name, b in best.items()]
    found = successive_halving.halve(
        options, judged, clusters=clusters, room=plan_time(ctx.job).later_passes_s(ctx.left_s())
    )
    for name, why in found.dropped.items():
        if why == successive_halving.NO_ROOM:
            ctx.console.print_line("screen", f"{name} is left behind: {why}")
    return list(found.kept)


def _say(kept: list[str], by_prior: str, count: int, pictures: int, ctx: Context) -> None:
    roles = {kept[0]: [successive_halving.BY_PROBE]}
    roles.setdefault(by_prior, []).append(successive_halving.BY_PRIOR)
    told = [f"{name} ({' and '.join(roles[name])})" if name in roles else name for name in kept]
    ctx.console.print_line(
        "screen", f"{len(kept)} of {count} backbones go on after {pictures:,} pictures: {', '.join(told)}"
    )


def _depths(of: Embeddings, on: ProbeCvProblem) -> list[ProbeScores]:
    found = []
    for depth in of.spec.depths:
        entrant = ProbeInput(backbone=of.spec.name, depth=depth.name, flops=of.spec.flops, prior=of.spec.prior)
        found.append(judge(entrant, take_vectors(of, depth.name, on.rows), on))
    return found


def _arena(data: Dataset, rows: np.ndarray, ctx: Context) -> ProbeCvProblem:
    """Folds for pictures whose audit is not finished: stratified, equal fingerprints together.

    A fingerprint that a tenth of the pictures share (blank ones) tells nothing and binds nothing together.
    """
    targets, clusters = np.asarray(data.targets), _fingerprints(data, rows)
    least = int(np.bincount(targets[rows])[np.unique(targets[rows])].min())
    count = max(2, min(FOLDS, ctx.job.folds, least))
    folds = np.full((1, len(targets)), -1, np.int16)
    order = rows[np.random.default_rng([ctx.seed, len(rows)]).permutation(len(rows))]
    seen: dict[int, int] = {}
    for c in np.unique(targets[rows]):
        for place, row in enumerate(order[targets[order] == c]):
            folds[0, row] = seen.setdefault(int(clusters[row]), place % count)
    return arena(rows, targets, folds, clusters, split="screen", classes=len(data.class_names), ctx=ctx)


def _fingerprints(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """(N,) a number for each perceptual hash, of its own where too many of `rows` share it."""
    same = np.unique(data.facts.phash, return_inverse=True)[1]
    common = np.bincount(same[rows], minlength=int(same.max()) + 1) > len(rows) / 10
    return np.where(common[same], len(same) + np.arange(len(same)), same)


def _spread(on: ProbeCvProblem, n: int) -> np.ndarray:
    """(N,) clusters by row."""
    found = np.arange(n) + int(on.clusters.max(initial=0)) + 1
    found[on.rows] = on.clusters
    return found
