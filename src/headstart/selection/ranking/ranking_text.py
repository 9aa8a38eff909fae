"""The ranking as a few lines of text."""

from __future__ import annotations

from headstart.core.console import format_duration
from headstart.core.types import Ranking, RankRow
from headstart.selection.ranking.probe_scores import ProbeCvProblem

SHOWN = 8


def format_ranking(ranking: Ranking, problem: ProbeCvProblem, seconds: float) -> list[str]:
    """What was compared, the best candidates, the best control, and the reason of the choice."""
    rows = [row for row in ranking.rows if row.status not in ("control", "screened_out")]
    repeats, folds = len(problem.folds), int(problem.folds.max()) + 1
    times = f" x {repeats}" if repeats > 1 else ""
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
    """The best level of each control."""
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
