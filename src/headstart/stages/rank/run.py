"""Rank: which backbone at which depth suits these pictures, measured by probes on the same folds.

Every candidate is cross-validated inside `train` only; the test split is never seen. Candidates are compared picture by
picture (`headstart.kit.compare`). Controls (a trunk with random weights, a colour histogram) are judged on at most 256
pictures beside the chosen candidate on these same pictures; they never win. Of more than 50,000 pictures a stratified
part is used, and said. The winner's score is optimistic, for it was chosen by it: what is reported is the test score.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np

from headstart.core.context import Context
from headstart.core.types import Dataset, Embeddings, Ranking, RankRow, Splits
from headstart.kit import values
from headstart.kit.compare import Pick, paired, pick
from headstart.kit.vectors import take
from headstart.stages.rank.probes import Arena, Entrant, Judged, arena, difference, judge
from headstart.stages.rank.screen import sample
from headstart.stages.rank.table import told

MOST = 50_000  # pictures that are cross-validated
ENOUGH = 1_000  # pictures times repeats: more repeats hardly narrow a paired interval
FEW = 256  # pictures that controls see at most
HISTOGRAM = "colour histogram"
QUICK = ("knn", "ridge")  # probes of controls, on the first repeat alone: they say whether, not how much


def run(
    data: Dataset,
    splits: Splits,
    embeddings: tuple[Embeddings, ...],
    *,
    ctx: Context,
    controls: tuple[Embeddings, ...] = (),
    screened: tuple[RankRow, ...] = (),
) -> Ranking:
    """Judge all candidates and choose one.

    Args:
        data: The data set.
        splits: Folds and clusters; only `train` is looked at.
        embeddings: Features of all pictures, one for each backbone that came so far.
        ctx: The run; its job gives metric, preference and class weights.
        controls: Embeddings of trunks with random weights, of at most 256 training pictures.
        screened: Rows of backbones that did not come so far, told at the end.
    """
    started = time.monotonic()
    on = _arena(data, splits, ctx)
    judged = [each for e in embeddings for each in _depths(e, on)]
    found = pick([j.contender for j in judged], prefer=ctx.job.prefer, clusters=splits.clusters, metric=on.metric)
    winner = ctx.decide("rank/chosen", lambda: found.winner, found.why)
    judged.sort(key=lambda j: (j.contender.mean, j.row.flops, j.row.candidate))
    rows = [_standing(j, found, winner, on) for j in judged]
    rows += [*_controls(data, splits, embeddings, controls, winner, ctx), *screened]
    ranking = Ranking(
        metric=on.metric,
        rows=tuple(rows),
        chosen=winner,
        why=found.why,
        ties=tuple(name for name in found.ties if name != winner),
        survivors=_survivors(embeddings, found, winner),
    )
    still = dataclasses.replace(ranking, rows=tuple(dataclasses.replace(row, seconds=0.0) for row in rows))
    values.save(still, ctx.folder("rank"))
    for line in told(ranking, on, time.monotonic() - started):
        ctx.say.line("rank", line)
    return ranking


def _arena(data: Dataset, splits: Splits, ctx: Context) -> Arena:
    rows = np.asarray(splits.train)
    if len(rows) > MOST:
        rows = sample(data, MOST, ctx.seed, among=rows)
        ctx.say.line("rank", f"candidates are compared on {MOST:,} of {len(splits.train):,} pictures, drawn by class")
    folds = splits.folds[: max(1, ENOUGH // len(rows))]
    return arena(rows, data.targets, folds, splits.clusters, split="cv", classes=len(data.class_names), ctx=ctx)


def _depths(of: Embeddings, on: Arena, probes: tuple[str, ...] = ()) -> list[Judged]:
    spec, found = of.spec, []
    for depth in spec.depths:
        entrant = Entrant(backbone=spec.name, depth=depth.name, flops=spec.flops, prior=spec.prior)
        found.append(judge(entrant, take(of, depth.name, on.rows), on, probes))
    return found


def _standing(judged: Judged, found: Pick, winner: str, on: Arena) -> RankRow:
    name = judged.contender.name
    status = "chosen" if name == winner else "tied" if name in found.ties or name == found.best else "beaten"
    return dataclasses.replace(judged.row, status=status, paired=difference(found.paired[name], on))


def _survivors(embeddings: Sequence[Embeddings], found: Pick, winner: str) -> tuple[str, ...]:
    """Backbones with a candidate that ties with the best, and the best by prior; in the order of `embeddings`."""
    close = {name.rpartition("@")[0] for name in (winner, found.best, *found.ties)}
    close.add(max(embeddings, key=lambda e: (e.spec.prior, e.spec.name)).spec.name)
    return tuple(e.spec.name for e in embeddings if e.spec.name in close)


# ---------------------------------------------------------------- controls


def _controls(
    data: Dataset,
    splits: Splits,
    embeddings: tuple[Embeddings, ...],
    controls: tuple[Embeddings, ...],
    winner: str,
    ctx: Context,
) -> list[RankRow]:
    """Rows of the histogram and of random trunks, each paired with the winner on the pictures they all saw."""
    given = np.asarray(splits.train)
    for control in controls:
        given = np.intersect1d(given, control.rows)
    rows = sample(data, FEW, ctx.seed, among=given)
    on = arena(
        rows, data.targets, splits.folds[:1], splits.clusters, split="screen", classes=len(data.class_names), ctx=ctx
    )
    backbone, _, depth = winner.rpartition("@")
    chosen = next(e for e in embeddings if e.spec.name == backbone)
    entrant = Entrant(backbone=backbone, depth=depth, flops=chosen.spec.flops, prior=chosen.spec.prior)
    reference = judge(entrant, take(chosen, depth, rows), on, QUICK)
    found = [each for control in controls for each in _depths(control, on, QUICK)]
    found.append(judge(_histogram(), np.asarray(data.facts.histogram[rows], np.float32), on, ("logistic",)))
    return [_control(j, reference, splits.clusters, on) for j in found]


def _histogram() -> Entrant:
    return Entrant(backbone=HISTOGRAM, depth="", flops=0, prior=0.0)


def _control(judged: Judged, reference: Judged, clusters: np.ndarray, on: Arena) -> RankRow:
    apart = difference(paired(judged.contender, reference.contender, clusters), on)
    return dataclasses.replace(judged.row, status="control", paired=apart)
