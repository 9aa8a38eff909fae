"""Rank: which backbone at which feature level suits these pictures, measured by probes on the same folds.

Candidates are cross-validated inside `train` and compared picture by picture. Controls (each trunk with random weights,
a colour histogram) are judged on at most 256 pictures beside the chosen candidate; they never win, and a backbone that
does not beat its own is marked. Of more than 50,000 pictures a stratified part is used. The winner's score is
optimistic, for it was chosen by it: what is reported is the test score.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence

import numpy as np

from headstart.backbones.loading import RANDOM
from headstart.core.console import format_duration
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import BackboneSpec, Dataset, Embeddings, Ranking, RankRow, Splits
from headstart.selection.cv_problem import CvProblem, make_cv_problem
from headstart.selection.published_accuracy import expected_accuracy, format_expected_accuracy
from headstart.selection.ranking.probe_scores import (
    ProbeScores,
    judge_features,
    judge_level,
    judge_levels,
)
from headstart.selection.ranking.screening import draw_rows
from headstart.selection.successive_halving import Option, best_by_prior
from headstart.statistics.intervals import Interval
from headstart.statistics.paired_selection import PairedChoice, choose_candidate, paired_difference

MAX_PICTURES = 50_000  # pictures that are cross-validated
ENOUGH = 1_000  # pictures times repeats: more repeats hardly narrow a paired interval
CONTROL_PICTURES = 256  # pictures that controls see at most
SHOWN = 8  # candidates in the text
HISTOGRAM = "colour histogram"
CONTROL_PROBES = ("knn", "ridge")  # probes of controls, on the first repeat alone: they say whether, not how much


def rank_backbones(
    data: Dataset,
    splits: Splits,
    embeddings: tuple[Embeddings, ...],
    *,
    ctx: Context,
    controls: tuple[Embeddings, ...] = (),
    screened: tuple[RankRow, ...] = (),
) -> Ranking:
    """Judge all candidates and choose one; only `train` of the splits is looked at.

    `embeddings` are of all pictures, one for each backbone that came so far; `controls` of trunks with random weights,
    of at most 256 training pictures; `screened` are rows of backbones that did not come so far, told at the end.
    """
    started = time.monotonic()
    problem = _make_problem(data, splits, ctx)
    candidates = [scores for e in embeddings for scores in judge_levels(e, problem)]
    choice = choose_candidate(
        [j.losses for j in candidates], prefer=problem.prefer, clusters=problem.clusters, metric=problem.metric
    )
    winner = ctx.record_decision("rank/chosen", lambda: choice.winner, choice.why)
    candidates.sort(key=lambda j: (j.losses.mean_loss, j.row.flops, j.row.candidate))
    control_problem = _make_control_problem(data, splits, controls, ctx)
    control_scores = [s for control in controls for s in judge_levels(control, control_problem, CONTROL_PROBES)]
    gains = _compare_with_random(candidates, control_scores, embeddings, control_problem)
    rows = [_mark_gain(_set_status(j, choice, winner, problem), gains, control_problem) for j in candidates]
    rows += [*_make_control_rows(data, control_scores, embeddings, winner, control_problem), *screened]
    promising = _best_by_prior(embeddings)
    has_figure = not math.isnan(expected_accuracy(promising))
    ranking = Ranking(
        metric=problem.metric,
        rows=tuple(rows),
        chosen=winner,
        why=choice.why,
        ties=tuple(name for name in choice.ties if name != winner),
        survivors=_list_survivors(embeddings, choice, winner, promising.name),
        best_by_probe=choice.best,
        best_by_prior=promising.name if has_figure else "",
        prior_why=format_expected_accuracy(promising) if has_figure else "",
    )
    untimed = dataclasses.replace(ranking, rows=tuple(dataclasses.replace(row, seconds=0.0) for row in rows))
    serialization.save_value(untimed, ctx.make_step_folder("rank"))
    for line in format_ranking(ranking, problem, len(splits.folds), time.monotonic() - started):
        ctx.console.print_line("rank", line)
    if len(embeddings) > 1:
        by_prior = f"; best by prior: {ranking.best_by_prior} ({ranking.prior_why})" if has_figure else ""
        ctx.console.print_line("rank", f"best by probe: {choice.best}{by_prior}")
    return ranking


def _make_problem(data: Dataset, splits: Splits, ctx: Context) -> CvProblem:
    rows = np.asarray(splits.train)
    if len(rows) > MAX_PICTURES:
        rows = draw_rows(data, MAX_PICTURES, ctx.seed, among=rows)
        ctx.console.print_line(
            "rank", f"candidates are compared on {MAX_PICTURES:,} of {len(splits.train):,} pictures, drawn by class"
        )
    folds = splits.folds[: max(1, ENOUGH // len(rows))]
    return make_cv_problem(rows, data, folds, splits.clusters, ctx=ctx)


def _set_status(scores: ProbeScores, choice: PairedChoice, winner: str, problem: CvProblem) -> RankRow:
    name = scores.losses.name
    status = "chosen" if name == winner else "tied" if name in choice.ties or name == choice.best else "beaten"
    return dataclasses.replace(scores.row, status=status, paired=problem.make_difference_score(choice.paired[name]))


def _best_by_prior(embeddings: Sequence[Embeddings]) -> BackboneSpec:
    specs = {e.spec.name: e.spec for e in embeddings}
    options = [Option(name=spec.name, expected=expected_accuracy(spec), cost=spec.flops) for spec in specs.values()]
    return specs[best_by_prior(options)]


def _list_survivors(
    embeddings: Sequence[Embeddings], choice: PairedChoice, winner: str, by_prior: str
) -> tuple[str, ...]:
    """Backbones with a candidate that ties with the best, and the best by prior; in the order of `embeddings`."""
    tied = {name.rpartition("@")[0] for name in (winner, choice.best, *choice.ties)}
    return tuple(e.spec.name for e in embeddings if e.spec.name in tied | {by_prior})


def _make_control_problem(data: Dataset, splits: Splits, controls: tuple[Embeddings, ...], ctx: Context) -> CvProblem:
    """The training pictures that all controls saw, on the first repeat of the folds."""
    rows_of_all = np.asarray(splits.train)
    for control in controls:
        rows_of_all = np.intersect1d(rows_of_all, control.rows)
    rows = draw_rows(data, CONTROL_PICTURES, ctx.seed, among=rows_of_all)
    return make_cv_problem(rows, data, splits.folds[:1], splits.clusters, ctx=ctx, split="screen")


def _make_control_rows(
    data: Dataset,
    control_scores: Sequence[ProbeScores],
    embeddings: Sequence[Embeddings],
    winner: str,
    problem: CvProblem,
) -> list[RankRow]:
    """Rows of the random trunks and of the histogram, each paired with the winner on the pictures they all saw."""
    reference = _judge_on_few(winner, embeddings, problem)
    colours = np.asarray(data.facts.histogram[problem.rows], np.float32)
    histogram = judge_features(HISTOGRAM, colours, problem, ("logistic",))
    rows = []
    for scores in (*control_scores, histogram):
        gap = problem.make_difference_score(paired_difference(scores.losses, reference.losses, problem.clusters))
        rows.append(dataclasses.replace(scores.row, status="control", paired=gap))
    return rows


def _compare_with_random(
    scores: Sequence[ProbeScores],
    control_scores: Sequence[ProbeScores],
    embeddings: Sequence[Embeddings],
    problem: CvProblem,
) -> dict[str, Interval]:
    """Backbone -> loss of its best level minus that of its random-init control at its own best, for those with one."""
    best, best_control = _best_levels(scores), _best_levels(control_scores)
    gains = {}
    for name in (e.spec.name for e in embeddings if RANDOM + e.spec.name in best_control):
        trained = _judge_on_few(best[name].losses.name, embeddings, problem)
        gains[name] = paired_difference(trained.losses, best_control[RANDOM + name].losses, problem.clusters)
    return gains


def _best_levels(scores: Sequence[ProbeScores]) -> dict[str, ProbeScores]:
    return {s.row.backbone: s for s in sorted(scores, key=lambda s: s.losses.mean_loss)[::-1]}


def _mark_gain(row: RankRow, gains: Mapping[str, Interval], problem: CvProblem) -> RankRow:
    if (gain := gains.get(row.backbone)) is None:
        return row
    return dataclasses.replace(row, over_random=problem.make_difference_score(gain), beats_random=gain.high < 0)


def _judge_on_few(candidate: str, embeddings: Sequence[Embeddings], problem: CvProblem) -> ProbeScores:
    """A candidate on the few pictures that controls saw, by the probes that they get."""
    backbone, _, level = candidate.rpartition("@")
    embedded = next(e for e in embeddings if e.spec.name == backbone)
    return judge_level(embedded, level, problem, CONTROL_PROBES)


def format_ranking(ranking: Ranking, problem: CvProblem, drawn: int, seconds: float) -> list[str]:
    """What was compared, on how many of the `drawn` repeats, the best candidates and controls, the choice's reason."""
    rows = [row for row in ranking.rows if row.status not in ("control", "screened_out")]
    repeats, folds = len(problem.folds), int(problem.folds.max()) + 1
    times = f" x {repeats}" if repeats > 1 else ""
    if repeats < drawn:
        times += f" (of {drawn} repeats: more hardly narrow the intervals)"
    lines = [
        f"{len(rows)} candidates on {len(problem.rows):,} pictures, {folds} folds{times}, "
        f"by {ranking.metric.replace('_', ' ')}, {format_duration(seconds)}"
    ]
    width = max(len(row.candidate) for row in ranking.rows)
    lines += [_format_row(row, ranking.metric, width) for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        lines.append(f"  … and {len(rows) - SHOWN} more in rank/value.json")
    lines += [_format_row(row, ranking.metric, width) for row in _list_best_controls(ranking)]
    return [*lines, ranking.why]


def _list_best_controls(ranking: Ranking) -> list[RankRow]:
    sign = -1 if ranking.metric.endswith("accuracy") else 1
    best: dict[str, RankRow] = {}
    for row in sorted((r for r in ranking.rows if r.status == "control"), key=lambda r: sign * r.scores[0].value):
        best.setdefault(row.backbone, row)
    return list(best.values())


def _format_row(row: RankRow, metric: str, width: int) -> str:
    score = row.scores[0]
    second = next(s for s in row.scores if s.name != metric and s.name.endswith("accuracy"))
    return (
        f"  {row.candidate:<{width}}  {row.probe:<8}  {score.value:.3f} [{score.low:.3f}, {score.high:.3f}]  "
        f"{second.name.replace('_', ' ')} {second.value:.3f}  {row.flops / 1e9:.2f} GFLOPs  {row.status}"
        + (f" ({row.rows_seen} pictures)" if row.status == "control" else "")
        + (", no better than random weights" if row.beats_random is False else "")
    )
