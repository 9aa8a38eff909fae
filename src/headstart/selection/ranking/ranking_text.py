"""The ranking as a few lines of text."""

from __future__ import annotations

from headstart.core.console import format_duration
from headstart.core.types import Ranking, RankRow, SourceSimilarity
from headstart.selection.ranking.probe_scores import ProbeCvProblem

SHOWN = 8


def told(ranking: Ranking, on: ProbeCvProblem, seconds: float) -> list[str]:
    """What was compared, the best candidates, the best control, and the reason of the choice."""
    rows = [row for row in ranking.rows if row.status not in ("control", "screened_out")]
    repeats, folds = len(on.folds), int(on.folds.max()) + 1
    times = f" x {repeats}" if repeats > 1 else ""
    lines = [
        f"{len(rows)} candidates on {len(on.rows):,} pictures, {folds} folds{times}, "
        f"by {ranking.metric.replace('_', ' ')}, {format_duration(seconds)}"
    ]
    width = max(len(row.candidate) for row in ranking.rows)
    lines += [_line(row, ranking.metric, width) for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        lines.append(f"  … and {len(rows) - SHOWN} more in rank/value.json")
    lines += [_line(row, ranking.metric, width) for row in _best_controls(ranking)]
    lines += [f"  {row.candidate:<{width}}  {near}" for row in rows[:SHOWN] if (near := _near(row.likeness))]
    return [*lines, ranking.why]


def _near(of: SourceSimilarity) -> str:
    """What is known of how near the source is; nothing where nothing is."""
    values = (("LEEP", of.leep), ("NCE", of.nce), ("CKA", of.cka), ("Fréchet", of.frechet))
    parts = [f"{name} {value:.3f}" for name, value in values if value is not None]
    if of.two_sample:
        two = of.two_sample
        parts.append(f"told from its source {two.value:.3f} [{two.low:.3f}, {two.high:.3f}] (n = {two.n:,})")
    return f"source: {', '.join(parts)}" if parts else ""


def _best_controls(ranking: Ranking) -> list[RankRow]:
    """The best depth of each control."""
    sign = -1 if ranking.metric.endswith("accuracy") else 1
    found: dict[str, RankRow] = {}
    for row in sorted((r for r in ranking.rows if r.status == "control"), key=lambda r: sign * r.scores[0].value):
        found.setdefault(row.backbone, row)
    return list(found.values())


def _line(row: RankRow, metric: str, width: int) -> str:
    score = row.scores[0]
    second = next(s for s in row.scores if s.name != metric and s.name.endswith("accuracy"))
    return (
        f"  {row.candidate:<{width}}  {row.probe:<8}  {score.value:.3f} [{score.low:.3f}, {score.high:.3f}]  "
        f"{second.name.replace('_', ' ')} {second.value:.3f}  {row.flops / 1e9:.2f} GFLOPs  {row.status}"
        + (f" ({row.rows_seen} pictures)" if row.status == "control" else "")
        + (", no better than random weights" if row.beats_random is False else "")
    )
