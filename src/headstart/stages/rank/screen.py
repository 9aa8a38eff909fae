"""Screen many backbones on a few pictures, so that only those worth it see all of them.

Successive halving in one step (Jamieson and Talwalkar 2016): on at most 256 pictures every backbone is judged at its
best depth. Of those that the paired interval cannot tell from the best the better half goes on, and the best by prior
does too, since a probe on few pictures and a published accuracy err in different ways (Renggli, CVPR 2022). The last
of them stay behind when their passes, by the pace just measured, would not fit the budget. The pictures used are told,
so that no test split is drawn from them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from headstart.core.context import Context
from headstart.core.say import duration
from headstart.core.types import Dataset, Embeddings, RankRow
from headstart.kit.compare import Pick, paired, pick
from headstart.kit.vectors import take
from headstart.stages.rank.probes import Arena, Entrant, Judged, arena, difference, judge

FOLDS = 5
PART_OF_BUDGET = 0.7  # of what is left goes into passes; heads, evaluation and report need the rest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Screening:
    """Which backbones go on.

    Attributes:
        pictures: (M,) int64 rows that were looked at.
        survivors: Backbones that go on, cheapest first.
        rows: One row for each depth of the backbones that do not.
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


def run(data: Dataset, embeddings: tuple[Embeddings, ...], *, ctx: Context) -> Screening:
    """Judge backbones on the few pictures they were all given.

    Args:
        data: The data set.
        embeddings: One for each backbone, all of the same rows.
        ctx: The run; the survivors are written to its decisions.
    """
    rows = np.asarray(embeddings[0].rows)
    on = _arena(data, rows, ctx)
    every, clusters = [_depths(e, on) for e in embeddings], _spread(on, len(data.uris))
    best = [min(depths, key=lambda j: j.contender.mean) for depths in every]
    chosen = pick([b.contender for b in best], clusters=clusters, metric=on.metric)
    survivors: list[str] = ctx.decide("rank/survivors", lambda: _kept(best, chosen, embeddings, data, ctx), chosen.why)
    leader = next(b.contender for b in best if b.contender.name == chosen.best)
    out = [
        dataclasses.replace(j.row, status="screened_out", paired=difference(paired(j.contender, leader, clusters), on))
        for depths in every
        for j in sorted(depths, key=lambda j: j.contender.mean)
        if j.row.backbone not in survivors
    ]
    why = f"{len(survivors)} of {len(best)} backbones go on after {len(rows):,} pictures: {', '.join(survivors)}"
    ctx.say.line("screen", f"{why} (the better half, and the best by prior)")
    return Screening(pictures=rows, survivors=tuple(survivors), rows=tuple(out))


def _kept(
    best: list[Judged], chosen: Pick, embeddings: tuple[Embeddings, ...], data: Dataset, ctx: Context
) -> list[str]:
    """Names of the backbones that go on, the best first; the best one always does."""
    order = sorted(best, key=lambda b: (b.contender.mean, b.contender.cost))
    close = [b.row.backbone for b in order if chosen.paired[b.contender.name].low <= 0]
    prior = max(embeddings, key=lambda e: (e.spec.prior, e.spec.name)).spec.name
    kept = list(dict.fromkeys([*close[: (len(best) + 1) // 2], prior]))
    left_s = ctx.left_s() * PART_OF_BUDGET
    pace_s = {e.spec.name: np.nan_to_num(e.latency_ms) / 1000 * len(data.uris) for e in embeddings}
    while len(kept) > 1 and sum(pace_s[name] for name in kept) > left_s:
        ctx.say.line("screen", f"{kept[-1]} is left behind: {duration(pace_s[kept[-1]])} more would not fit the budget")
        kept.pop()
    return kept


def _depths(of: Embeddings, on: Arena) -> list[Judged]:
    found = []
    for depth in of.spec.depths:
        entrant = Entrant(backbone=of.spec.name, depth=depth.name, flops=of.spec.flops, prior=of.spec.prior)
        found.append(judge(entrant, take(of, depth.name, on.rows), on))
    return found


def _arena(data: Dataset, rows: np.ndarray, ctx: Context) -> Arena:
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


def _spread(on: Arena, n: int) -> np.ndarray:
    """(N,) clusters by row."""
    found = np.arange(n) + int(on.clusters.max(initial=0)) + 1
    found[on.rows] = on.clusters
    return found
