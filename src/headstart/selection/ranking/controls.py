"""What should do badly, beside the chosen candidate: its own trunk with random weights, and a colour histogram.

They are judged on at most 256 training pictures and never win. A backbone that does not beat its random-init control is
marked. Only the chosen backbone has one: no verdict needs those of the others, and each costs a pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import reduce
from itertools import chain

import numpy as np

from headstart.backbones.loading import RANDOM
from headstart.core.console import format_duration
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import Dataset, Embeddings, Ranking, RankRow, Splits
from headstart.features.extraction_time import count_missing_rows, estimate_pass_seconds
from headstart.selection.cv_problem import CvProblem, make_cv_problem
from headstart.selection.ranking.probe_scores import ProbeScores, judge_features, judge_level, judge_levels
from headstart.selection.ranking.rank_backbones import format_row
from headstart.selection.ranking.screening import draw_rows
from headstart.statistics.paired_selection import paired_difference

MOST = 256  # pictures that controls see at most
HISTOGRAM = "colour histogram"
PROBES = ("knn", "ridge")  # on the first repeat alone: they say whether, not how much


def has_room(data: Dataset, backbone: str, rows: np.ndarray, *, ctx: Context) -> bool:
    """Whether the budget has time for the pass of (M,) `rows` through a backbone with random weights; said if not."""
    control = RANDOM + backbone
    seconds = estimate_pass_seconds(count_missing_rows(data, [control], ctx.store, rows), ctx.store)
    why = "is there time for the control with random weights"
    has_time = bool(ctx.record_decision("rank/control", lambda: seconds < ctx.left_s(), why))
    if not has_time:
        about = f"its pass takes about {format_duration(seconds)}, which the budget does not have"
        ctx.console.print_line("rank", f"{control} is left out: {about}")
    return has_time


def judge_controls(
    ranking: Ranking,
    data: Dataset,
    splits: Splits,
    embeddings: tuple[Embeddings, ...],
    controls: tuple[Embeddings, ...],
    *,
    ctx: Context,
) -> Ranking:
    """The ranking with rows of the controls, and written; a backbone is marked by whether it beats its own.

    `embeddings` are of all training pictures; `controls` of trunks with random weights, of at most 256 of them.
    """
    rows_of_all = reduce(np.intersect1d, (control.rows for control in controls), np.asarray(splits.train))
    rows = draw_rows(data, MOST, ctx.seed, among=rows_of_all)
    problem = make_cv_problem(rows, data, splits.folds[:1], splits.clusters, ctx=ctx, split="screen")
    reference = _judge_on_few(ranking.chosen, embeddings, problem)
    marked, judged = list(ranking.rows), list[list[ProbeScores]]()
    for control in controls:
        levels = sorted(judge_levels(control, problem, PROBES), key=lambda scores: scores.losses.mean_loss)
        judged.append(levels)
        marked = _mark_gain(marked, levels[0], embeddings, problem, ctx)
    colours = np.asarray(data.facts.histogram[problem.rows], np.float32)
    judged.append([judge_features(HISTOGRAM, colours, problem, ("logistic",))])
    at = next((at for at, row in enumerate(marked) if row.status == "screened_out"), len(marked))
    control_rows = [[_make_row(scores, reference, problem) for scores in levels] for levels in judged]
    ranking = dataclasses.replace(ranking, rows=(*marked[:at], *chain(*control_rows), *marked[at:]))
    untimed = dataclasses.replace(ranking, rows=tuple(dataclasses.replace(row, seconds=0.0) for row in ranking.rows))
    serialization.save_value(untimed, ctx.make_step_folder("rank"))
    width = max(len(row.candidate) for row in ranking.rows)
    for best, *_ in control_rows:
        ctx.console.print_line("rank", format_row(best, ranking.metric, width))
    return ranking


def _mark_gain(
    rows: list[RankRow], control: ProbeScores, embeddings: Sequence[Embeddings], problem: CvProblem, ctx: Context
) -> list[RankRow]:
    """The rows, those of the control's backbone with what it gains over random weights, each at its best level."""
    backbone = control.row.backbone.removeprefix(RANDOM)
    best = next(row.candidate for row in rows if row.backbone == backbone)
    gain = paired_difference(_judge_on_few(best, embeddings, problem).losses, control.losses, problem.clusters)
    gain_score, beats_random = problem.make_difference_score(gain), gain.high < 0
    if not beats_random:
        ctx.console.print_line("rank", f"{backbone} is no better than random weights")
    return [
        dataclasses.replace(row, over_random=gain_score, beats_random=beats_random) if row.backbone == backbone else row
        for row in rows
    ]


def _make_row(scores: ProbeScores, reference: ProbeScores, problem: CvProblem) -> RankRow:
    """A control's row, paired with the winner on the pictures they both saw."""
    gap = problem.make_difference_score(paired_difference(scores.losses, reference.losses, problem.clusters))
    return dataclasses.replace(scores.row, status="control", paired=gap)


def _judge_on_few(candidate: str, embeddings: Sequence[Embeddings], problem: CvProblem) -> ProbeScores:
    """A candidate on the few pictures that controls saw, by the probes that they get."""
    backbone, _, level = candidate.rpartition("@")
    embedded = next(e for e in embeddings if e.spec.name == backbone)
    return judge_level(embedded, level, problem, PROBES)
