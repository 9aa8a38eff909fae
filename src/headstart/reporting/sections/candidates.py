"""What was tried: every candidate with its scores and cost, the heads, and a picture of score against cost."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.core.types import CLASSIFICATION, REGRESSION, HeadRow, Ranking, RankRow, Score
from headstart.heads.ensemble import format_params
from headstart.reporting import formatting
from headstart.reporting.charts import ChartPoint, draw_cost_and_score, draw_score_by_place
from headstart.reporting.report_data import ReportInput

BEST = 5  # candidates that are seen without a click
STATUS = {"tied": "tied with the best", "screened_out": "screened out"}  # the others are words


def make_candidates_view(report: ReportInput) -> dict[str, Any] | None:
    """What the template `candidates.html` shows; None when nothing was ranked."""
    ranking = report.ranking
    if ranking is None:
        return None
    cost_ms = report.latencies_ms
    columns = list(dict.fromkeys((ranking.metric, report.dataset.learning_task.shown[0])))
    rows = [_candidate_view(row, columns, cost_ms) for row in ranking.rows]
    best = [line for line in rows if line["row"].status in ("chosen", "tied", "beaten")][:BEST]
    others = [line for line in rows if line not in best]
    return {
        "metric": ranking.metric,
        "columns": columns,
        "best": best,
        "others": others,
        "others_title": _format_others(others),
        "why": ranking.why,
        "ties": ranking.ties,
        "statuses": {row.status for row in ranking.rows if row.flops > 0},
        "timed": bool(cost_ms),
        "all_timed": _is_all_timed(_rows_with_cost(ranking), cost_ms),
        "chart": _draw_chart(report, ranking, cost_ms),
        "by_depth": _is_one_cost(ranking),
        "heads": _heads_view(report),
        "adapted": report.adapted,
    }


def shorten_candidate(candidate: str) -> str:
    """A candidate's name without its source: `efficientnet_lite0@stage5`; a random-init control stays one."""
    random, name = ("random ", candidate[7:]) if candidate.startswith("random:") else ("", candidate)
    return random + name.rpartition(":")[2]


def _candidate_view(row: RankRow, columns: list[str], cost_ms: Mapping[str, float]) -> dict[str, Any]:
    scores = {s.name: s for s in row.scores}
    return {
        "row": row,
        "status": STATUS.get(row.status, row.status),
        "marked": row.beats_random is False,
        "scores": [scores.get(name) for name in columns],
        "latency_ms": _find_latency_ms(row, cost_ms) or math.nan,
    }


def _format_others(lines: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(line["row"].status for line in lines)
    words = {"control": "control", "screened_out": "screened out", "tied": "tied", "beaten": "beaten"}
    parts = [
        formatting.format_plural(counts[status], word) if status == "control" else f"{counts[status]} {word}"
        for status, word in words.items()
        if counts[status]
    ]
    return formatting.format_list(parts) if parts else ""


def _is_one_cost(ranking: Ranking) -> bool:
    """Whether all candidates cost the same, as those of one trunk do: against cost they would be a pile."""
    return len({row.flops for row in ranking.rows if row.flops > 0}) == 1


def _draw_chart(report: ReportInput, ranking: Ranking, cost_ms: Mapping[str, float]) -> str:
    """The score against milliseconds where all were timed, else against GFLOPs; by depth for one trunk."""
    costly = _rows_with_cost(ranking)
    if not costly:
        return ""
    free = [(row.candidate, s.value) for row in ranking.rows if row.flops == 0 and (s := _find_score(row)) is not None]
    level = free[0] if free else None
    score = formatting.format_label(report.dataset.learning_task.curve)
    name = score[:1].upper() + score[1:]
    ending = "the table below holds the same numbers."
    if _is_one_cost(ranking):
        depths = _order_levels(report, costly)
        marks = [_chart_point(row, depths.index(row.depth)) for row in costly]
        title = f"{name} by depth of {len(marks)} candidates; {ending}"
        return draw_score_by_place(marks, depths, name="cost", x_label="depth", y_label=score, title=title, level=level)
    by_time = _is_all_timed(costly, cost_ms)
    costs = [(_find_latency_ms(row, cost_ms) or 0.0) if by_time else row.flops / 1e9 for row in costly]
    marks = list(map(_chart_point, costly, costs))
    axis = "milliseconds a picture (this machine)" if by_time else "GFLOPs a picture"
    title = f"{name} against {axis} of {len(marks)} candidates; {ending}"
    return draw_cost_and_score(marks, name="cost", x_label=axis, y_label=score, title=title, level=level)


def _rows_with_cost(ranking: Ranking) -> list[RankRow]:
    """What the chart shows: every trunk at every depth that has a score."""
    return [row for row in ranking.rows if row.flops > 0 and (s := _find_score(row)) and math.isfinite(s.value)]


def _is_all_timed(rows: Sequence[RankRow], cost_ms: Mapping[str, float]) -> bool:
    return all(_find_latency_ms(row, cost_ms) is not None for row in rows)


def _chart_point(row: RankRow, x: float) -> ChartPoint:
    score = _find_score(row)
    assert score is not None
    label = shorten_candidate(row.candidate)
    return ChartPoint(x=x, y=score.value, low=score.low, high=score.high, label=label, kind=row.status)


def _order_levels(report: ReportInput, rows: Sequence[RankRow]) -> list[str]:
    """Those of the rows, from shallow to deep; by name what the trunk does not tell."""
    known_levels = [level.name for spec in report.backbones for level in spec.depths]
    row_levels = {row.depth for row in rows}
    return [*(d for d in dict.fromkeys(known_levels) if d in row_levels), *sorted(row_levels.difference(known_levels))]


def _find_latency_ms(row: RankRow, cost_ms: Mapping[str, float]) -> float | None:
    """A random-init control takes as long as its trained original."""
    return cost_ms.get(row.backbone.removeprefix("random:"), cost_ms.get(row.backbone))


def _find_score(row: RankRow) -> Score | None:
    return next((s for s in row.scores if s.name in (CLASSIFICATION.curve, REGRESSION.curve)), None)


def _heads_view(report: ReportInput) -> dict[str, Any] | None:
    if report.adapted is None:
        return None
    names = list(dict.fromkeys(s.name for row in report.adapted.tried for s in row.scores))
    return {"columns": names, "rows": [_head_view(row, names) for row in report.adapted.tried]}


def _head_view(row: HeadRow, columns: list[str]) -> dict[str, Any]:
    scores = {s.name: s for s in row.scores}
    levels: dict[str, list[str]] = {}  # trunk -> its depths
    for name in row.features:
        trunk, _, depth = shorten_candidate(name).partition("@")
        levels.setdefault(trunk, []).append(depth)
    return {
        "row": row,
        "features": list(levels.items()),
        "params": format_params(row.params),
        "scores": [scores.get(name) for name in columns],
        "status": STATUS.get(row.status, row.status),
    }


def format_value(value: Any) -> str:
    """A setting's value in a few signs."""
    if isinstance(value, float):
        return f"{value:.4g}"
    is_large = isinstance(value, int) and abs(value) >= 1e6
    return formatting.format_count(value) if is_large else json.dumps(value, default=str).strip('"')
