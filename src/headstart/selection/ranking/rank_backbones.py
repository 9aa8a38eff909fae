"""Rank: which backbone at which depth suits these pictures, measured by probes on the same folds.

Every candidate is cross-validated inside `train` only; the test split is never seen. Candidates are compared picture by
picture (`headstart.statistics.paired_selection`). Controls (each trunk with random weights, a colour histogram) are
judged on at most 256 pictures beside the chosen candidate on these same pictures; they never win. A backbone that
does not beat its own random twin there is marked. Of more than 50,000 pictures a stratified part is used, and said.
The winner's score is optimistic, for it was chosen by it: what is reported is the test score.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence

import numpy as np

from headstart.backbones.loading import RANDOM
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import BackboneSpec, Dataset, Embeddings, Ranking, RankRow, Splits
from headstart.features.embeddings import take_vectors
from headstart.selection.published_accuracy import expected_accuracy, format_expected_accuracy
from headstart.selection.ranking.probe_scores import ProbeCvProblem, ProbeInput, ProbeScores, arena, difference, judge
from headstart.selection.ranking.ranking_text import told
from headstart.selection.ranking.screening import sample
from headstart.selection.successive_halving import Option, best_by_prior
from headstart.statistics.intervals import Interval
from headstart.statistics.paired_selection import PairedChoice, choose_candidate, paired_difference

MOST = 50_000  # pictures that are cross-validated
ENOUGH = 1_000  # pictures times repeats: more repeats hardly narrow a paired interval
FEW = 256  # pictures that controls see at most
HISTOGRAM = "colour histogram"
QUICK = ("knn", "ridge")  # probes of controls, on the first repeat alone: they say whether, not how much


def rank_backbones(
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
    found = choose_candidate(
        [j.contender for j in judged], prefer=ctx.job.prefer, clusters=splits.clusters, metric=on.metric
    )
    winner = ctx.record_decision("rank/chosen", lambda: found.winner, found.why)
    judged.sort(key=lambda j: (j.contender.mean_loss, j.row.flops, j.row.candidate))
    few = _few(data, splits, controls, ctx)
    twins = [each for control in controls for each in _depths(control, few, QUICK)]
    over = _over_random(judged, twins, embeddings, splits.clusters, few)
    rows = [_marked(_standing(j, found, winner, on), over, few) for j in judged]
    rows += [*_controls(data, twins, embeddings, winner, splits.clusters, few), *screened]
    promising = _best_by_prior(embeddings)
    has_figure = not math.isnan(expected_accuracy(promising))
    ranking = Ranking(
        metric=on.metric,
        rows=tuple(rows),
        chosen=winner,
        why=found.why,
        ties=tuple(name for name in found.ties if name != winner),
        survivors=_survivors(embeddings, found, winner, promising.name),
        best_by_probe=found.best,
        best_by_prior=promising.name if has_figure else "",
        prior_why=format_expected_accuracy(promising) if has_figure else "",
    )
    still = dataclasses.replace(ranking, rows=tuple(dataclasses.replace(row, seconds=0.0) for row in rows))
    serialization.save_value(still, ctx.make_step_folder("rank"))
    for line in told(ranking, on, time.monotonic() - started):
        ctx.console.print_line("rank", line)
    if len(embeddings) > 1:
        by_prior = f"; best by prior: {ranking.best_by_prior} ({ranking.prior_why})" if has_figure else ""
        ctx.console.print_line("rank", f"best by probe: {found.best}{by_prior}")
    return ranking


def _arena(data: Dataset, splits: Splits, ctx: Context) -> ProbeCvProblem:
    rows = np.asarray(splits.train)
    if len(rows) > MOST:
        rows = sample(data, MOST, ctx.seed, among=rows)
        ctx.console.print_line(
            "rank", f"candidates are compared on {MOST:,} of {len(splits.train):,} pictures, drawn by class"
        )
    folds = splits.folds[: max(1, ENOUGH // len(rows))]
    return arena(rows, data.targets, folds, splits.clusters, split="cv", classes=len(data.class_names), ctx=ctx)


def _depths(of: Embeddings, on: ProbeCvProblem, probes: tuple[str, ...] = ()) -> list[ProbeScores]:
    """Every depth of a backbone."""
    spec, found = of.spec, []
    for depth in spec.depths:
        entrant = ProbeInput(backbone=spec.name, depth=depth.name, flops=spec.flops, prior=spec.prior)
        found.append(judge(entrant, take_vectors(of, depth.name, on.rows), on, probes))
    return found


def _standing(judged: ProbeScores, found: PairedChoice, winner: str, on: ProbeCvProblem) -> RankRow:
    name = judged.contender.name
    status = "chosen" if name == winner else "tied" if name in found.ties or name == found.best else "beaten"
    return dataclasses.replace(judged.row, status=status, paired=difference(found.paired[name], on))


def _best_by_prior(embeddings: Sequence[Embeddings]) -> BackboneSpec:
    """The backbone of which most is expected."""
    specs = {e.spec.name: e.spec for e in embeddings}
    options = [Option(name=spec.name, expected=expected_accuracy(spec), cost=spec.flops) for spec in specs.values()]
    return specs[best_by_prior(options)]


def _survivors(embeddings: Sequence[Embeddings], found: PairedChoice, winner: str, by_prior: str) -> tuple[str, ...]:
    """Backbones with a candidate that ties with the best, and the best by prior; in the order of `embeddings`."""
    close = {name.rpartition("@")[0] for name in (winner, found.best, *found.ties)}
    return tuple(e.spec.name for e in embeddings if e.spec.name in close | {by_prior})


# ---------------------------------------------------------------- controls


def _few(data: Dataset, splits: Splits, controls: tuple[Embeddings, ...], ctx: Context) -> ProbeCvProblem:
    """The training pictures that all controls saw, on the first repeat of the folds."""
    given = np.asarray(splits.train)
    for control in controls:
        given = np.intersect1d(given, control.rows)
    rows = sample(data, FEW, ctx.seed, among=given)
    return arena(
        rows, data.targets, splits.folds[:1], splits.clusters, split="screen", classes=len(data.class_names), ctx=ctx
    )


def _controls(
    data: Dataset,
    twins: Sequence[ProbeScores],
    embeddings: Sequence[Embeddings],
    winner: str,
    clusters: np.ndarray,
    few: ProbeCvProblem,
) -> list[RankRow]:
    """Rows of the random trunks and of the histogram, each paired with the winner on the pictures they all saw."""
    reference = _again(winner, embeddings, few)
    histogram = judge(_histogram(), np.asarray(data.facts.histogram[few.rows], np.float32), few, ("logistic",))
    found = []
    for each in (*twins, histogram):
        apart = difference(paired_difference(each.contender, reference.contender, clusters), few)
        found.append(dataclasses.replace(each.row, status="control", paired=apart))
    return found


def _over_random(
    judged: Sequence[ProbeScores],
    twins: Sequence[ProbeScores],
    embeddings: Sequence[Embeddings],
    clusters: np.ndarray,
    few: ProbeCvProblem,
) -> dict[str, Interval]:
    """Backbone -> loss of its best depth minus that of its random twin at the twin's best, for those with a twin."""
    best, best_twin = _best(judged), _best(twins)
    found = {}
    for name in (e.spec.name for e in embeddings):
        twin = best_twin.get(RANDOM + name)
        if twin is not None:
            own = _again(best[name].contender.name, embeddings, few)
            found[name] = paired_difference(own.contender, twin.contender, clusters)
    return found


def _best(judged: Sequence[ProbeScores]) -> dict[str, ProbeScores]:
    """The best depth of each backbone."""
    found: dict[str, ProbeScores] = {}
    for each in sorted(judged, key=lambda j: j.contender.mean_loss):
        found.setdefault(each.row.backbone, each)
    return found


def _marked(row: RankRow, over: Mapping[str, Interval], few: ProbeCvProblem) -> RankRow:
    """With what its backbone gains over random weights."""
    if row.backbone not in over:
        return row
    gain = over[row.backbone]
    return dataclasses.replace(row, over_random=difference(gain, few), beats_random=gain.high < 0)


def _again(candidate: str, embeddings: Sequence[Embeddings], few: ProbeCvProblem) -> ProbeScores:
    """A candidate on the few pictures that controls saw, by the probes that they get."""
    backbone, _, depth = candidate.rpartition("@")
    of = next(e for e in embeddings if e.spec.name == backbone)
    entrant = ProbeInput(backbone=backbone, depth=depth, flops=of.spec.flops, prior=of.spec.prior)
    return judge(entrant, take_vectors(of, depth, few.rows), few, QUICK)


def _histogram() -> ProbeInput:
    return ProbeInput(backbone=HISTOGRAM, depth="", flops=0, prior=0.0)
