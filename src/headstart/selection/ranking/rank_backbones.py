"""Rank: which backbone at which feature level suits these pictures, measured by probes on the same folds.

Candidates are cross-validated inside `train` and compared picture by picture. Of more than 50,000 pictures a stratified
part is used. The winner's score is optimistic, for it was chosen by it: what is reported is the test score.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np

from headstart.core.console import format_duration
from headstart.core.run.context import Context
from headstart.core.types import BackboneSpec, Dataset, Embeddings, Ranking, RankRow, Splits
from headstart.selection.cv_problem import CvProblem, make_cv_problem
from headstart.selection.published_accuracy import expected_accuracy, format_expected_accuracy, make_option
from headstart.selection.ranking.probe_scores import ProbeScores, judge_levels
from headstart.selection.ranking.screening import draw_rows
from headstart.selection.successive_halving import best_by_prior
from headstart.statistics.paired_selection import PairedChoice, choose_candidate

MAX_PICTURES = 50_000  # pictures that are cross-validated
ENOUGH = 1_000  # pictures times repeats: more repeats hardly narrow a paired interval
SHOWN = 8  # candidates in the text


def rank_backbones(
    data: Dataset,
    splits: Splits,
    embeddings: tuple[Embeddings, ...],
    *,
    ctx: Context,
    screened: tuple[RankRow, ...] = (),
) -> Ranking:
    """Judge all candidates and choose one; only `train` of the splits is looked at.

    `embeddings` are of all pictures, one for each backbone that came so far; `screened` are rows of backbones that did
    not come so far, told at the end.
    """
    started = time.monotonic()
    problem = _make_problem(data, splits, ctx)
    candidates = [scores for e in embeddings for scores in judge_levels(e, problem)]
    choice = choose_candidate(
        [j.losses for j in candidates], prefer=problem.prefer, clusters=problem.clusters, metric=problem.metric
    )
    winner = ctx.record_decision("rank/chosen", lambda: choice.winner, choice.why)
    candidates.sort(key=lambda j: (j.losses.mean_loss, j.row.flops, j.row.candidate))
    rows = [_set_status(j, choice, winner, problem) for j in candidates]
    promising = _best_by_prior(embeddings)
    has_figure = not math.isnan(expected_accuracy(promising))
    ranking = Ranking(
        metric=problem.metric,
        rows=(*rows, *screened),
        chosen=winner,
        why=choice.why,
        ties=tuple(name for name in choice.ties if name != winner),
        survivors=_list_survivors(embeddings, choice, winner, promising.name),
        best_by_probe=choice.best,
        best_by_prior=promising.name if has_figure else "",
        prior_why=format_expected_accuracy(promising) if has_figure else "",
    )
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
    return specs[best_by_prior(map(make_option, specs.values()))]


def _list_survivors(
    embeddings: Sequence[Embeddings], choice: PairedChoice, winner: str, by_prior: str
) -> tuple[str, ...]:
    """Backbones with a candidate that ties with the best, and the best by prior; in the order of `embeddings`."""
    tied = {name.rpartition("@")[0] for name in (winner, choice.best, *choice.ties)}
    return tuple(e.spec.name for e in embeddings if e.spec.name in tied | {by_prior})


def format_ranking(ranking: Ranking, problem: CvProblem, drawn: int, seconds: float) -> list[str]:
    """What was compared, on how many of the `drawn` repeats, the best candidates, the choice's reason."""
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
    lines += [format_row(row, ranking.metric, width) for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        lines.append(f"  … and {len(rows) - SHOWN} more in rank/value.json")
    return [*lines, ranking.why]


def format_row(row: RankRow, metric: str, width: int) -> str:
    """One candidate or control, its scores and cost."""
    score, second = row.scores[:2]
    return (
        f"  {row.candidate:<{width}}  {row.probe:<8}  {score.value:.3f} [{score.low:.3f}, {score.high:.3f}]  "
        f"{second.name.replace('_', ' ')} {second.value:.3f}  {row.flops / 1e9:.2f} GFLOPs  {row.status}"
        + (f" ({row.rows_seen} pictures)" if row.status == "control" else "")
        + (", no better than random weights" if row.beats_random is False else "")
    )
