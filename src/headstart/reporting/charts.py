"""Charts of scores: against cost, by place, certainty, number of pictures, epoch; `title` is for screen readers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.reporting.charts_svg import BOX, ROLES, WIDTH, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from headstart.core.types import CalibrationBin

_NAME = 18  # signs of a class's name that are drawn
Level = tuple[str, float]  # a score without a cost or place, drawn as a line across: its name and value


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartPoint:
    """A measured thing with a cost."""

    x: float  # the cost
    y: float  # the score, between the ends of its interval
    low: float
    high: float
    label: str  # drawn where there is room for it
    kind: str  # `chosen`, `tied`, `beaten`, `control` or `screened_out`; gives shape and colour


_LOOK: dict[str, dict[str, Any]] = {
    "chosen": {"marker": "D", "ms": 9, "mfc": ROLES["accent"], "mec": ROLES["accent"]},
    "tied": {"marker": "o", "ms": 7, "mfc": ROLES["accent"], "mec": ROLES["accent"]},
    "beaten": {"marker": "o", "ms": 6, "mfc": ROLES["paper"], "mec": ROLES["muted"]},
    "control": {"marker": "X", "ms": 7, "mfc": ROLES["second"], "mec": ROLES["second"]},
    "screened_out": {"marker": "^", "ms": 6, "mfc": ROLES["paper"], "mec": ROLES["second"]},
}


def draw_cost_and_score(
    marks: Sequence[ChartPoint], *, name: str, x_label: str, y_label: str, title: str, level: Level | None = None
) -> str:
    """Scores against cost, with the front of candidates that nothing cheaper beats."""

    def draw(axes: Axes) -> None:
        _draw_level(axes, level)
        best = _find_front(marks)
        axes.plot([m.x for m in best], [m.y for m in best], color=ROLES["accent"], lw=1, drawstyle="steps-post")
        for mark in marks:
            _draw_mark(axes, mark)
        labelled = [m for m in marks if m in best or m.kind == "chosen"]
        _cost_axis(axes, marks, labelled)
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.margins(y=0.1)
        _draw_names(axes, labelled)

    return draw_svg(draw, name, title)


def draw_score_by_place(
    marks: Sequence[ChartPoint],
    places: Sequence[str],
    *,
    name: str,
    x_label: str,
    y_label: str,
    title: str,
    level: Level | None = None,
) -> str:
    """Scores by place, for candidates that cost the same; a mark's `x` is the position in `places`, names in order."""

    def draw(axes: Axes) -> None:
        _draw_level(axes, level)
        for place in range(len(places)):
            at_place = [m for m in marks if m.x == place]
            for position, mark in enumerate(at_place):
                _draw_mark(axes, replace(mark, x=place + 0.14 * (position - (len(at_place) - 1) / 2)))
        axes.set_xticks(range(len(places)), places)
        axes.set(xlim=(-0.5, len(places) - 0.5), xlabel=x_label, ylabel=y_label)
        axes.margins(y=0.1)

    return draw_svg(draw, name, title)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShare:
    """A class's share of the pictures of two domains."""

    name: str
    source: float  # of the labelled one
    target: float  # of the new one, estimated, between the ends of its interval
    low: float
    high: float


def draw_shares(shares: Sequence[ClassShare], *, name: str, title: str) -> str:
    """One line a class, from the top down: its share of the labelled domain, hollow, and of the new one, filled."""

    def draw(axes: Axes) -> None:
        words = [share.name if len(share.name) <= _NAME else f"{share.name[: _NAME - 1]}…" for share in shares]
        left = max(BOX[0], (6.2 * max(map(len, words)) + 12) / WIDTH)
        axes.set_position((left, BOX[1], BOX[0] + BOX[2] - left, BOX[3]))
        for place, share in enumerate(shares):
            axes.plot([share.source, share.target], [place] * 2, color=ROLES["grid"], lw=3, solid_capstyle="butt")
            axes.plot([share.low, share.high], [place] * 2, color=ROLES["accent"], lw=1.4, solid_capstyle="butt")
            axes.plot([share.source], [place], ls="", mew=1.4, **_LOOK["beaten"] | {"ms": 8})
            axes.plot([share.target], [place], ls="", mew=1.4, **_LOOK["chosen"] | {"ms": 6.5})
        axes.set_yticks(range(len(shares)), words)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="share of the pictures", ylim=(len(shares) - 0.5, -0.5), xlim=(-0.02, None))

    return draw_svg(draw, name, title)


def _draw_level(axes: Axes, level: Level | None) -> None:
    if level:
        axes.axhline(level[1], color=ROLES["second"], lw=1, ls=(0, (4, 3)))
        axes.text(1, level[1], level[0], transform=axes.get_yaxis_transform(), ha="right", va="bottom", size=10)


def _draw_mark(axes: Axes, mark: ChartPoint) -> None:
    look = _LOOK[mark.kind]
    axes.plot([mark.x] * 2, [mark.low, mark.high], color=look["mec"], lw=1, alpha=0.55, solid_capstyle="butt")
    axes.plot([mark.x], [mark.y], ls="", mew=1.4, **look)


def _find_front(marks: Sequence[ChartPoint]) -> list[ChartPoint]:
    """Candidates that no cheaper one reaches, from cheap to dear; controls and screened ones stay out."""
    best: list[ChartPoint] = []
    for mark in sorted(marks, key=lambda m: (m.x, -m.y)):
        if mark.kind not in ("control", "screened_out") and (not best or mark.y > best[-1].y):
            best.append(mark)
    return best


def _cost_axis(axes: Axes, marks: Sequence[ChartPoint], labelled: Sequence[ChartPoint]) -> None:
    """A logarithmic axis with a tick at each cost that was measured, and room on the left for the names."""
    costs = sorted({mark.x for mark in marks})
    room = min(0.45, max((5.9 * len(m.label) + 14) / (WIDTH * BOX[2]) for m in labelled)) if labelled else 0.05
    first, last = math.log10(costs[0]), math.log10(costs[-1])
    last += 0.06 * max(last - first, 0.5)
    axes.set_xscale("log")
    axes.set_xlim(10 ** ((first - room * last) / (1 - room)), 10**last)
    _set_ticks(axes, costs, lambda cost: f"{cost:,.3g}")


def _set_ticks(axes: Axes, ticks: Sequence[float], written: Callable[[float], str]) -> None:
    """Ticks at these values, without those whose words would touch; the last one stays."""
    place = axes.transData.transform
    shown: list[float] = []
    for value in reversed(ticks):
        if not shown or place((shown[-1], 0))[0] - place((value, 0))[0] > 6 * len(written(value)) + 4:
            shown.append(value)
    axes.set_xticks(shown, [written(value) for value in shown])
    axes.set_xticks([], minor=True)


def _draw_names(axes: Axes, marks: Sequence[ChartPoint]) -> None:
    """Names to the left of the marks, where nothing cheaper is as good; pushed up where they would touch."""
    place, back = axes.transData.transform, axes.transAxes.inverted().transform
    heights: list[float] = []
    for mark in sorted(marks, key=lambda m: m.y):
        x, y = place((mark.x, mark.y))
        y = max([y + 2, *(other + 13 for other in heights)])
        heights.append(y)
        weight = "bold" if mark.kind == "chosen" else "normal"
        right_end, up = back((x - 9, y))
        axes.text(right_end, up, mark.label, transform=axes.transAxes, ha="right", va="center", size=10, weight=weight)


def draw_reliability(
    bins: Sequence[CalibrationBin], ends: Sequence[tuple[float, float]], *, name: str, title: str
) -> str:
    """How often answers of a given confidence were right; `ends` are those of each bin's interval of being right."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=ROLES["muted"], lw=1, ls=(0, (4, 3)))
        most = max(b.n for b in bins)
        axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], color=ROLES["accent"], lw=1.2)
        for b, (low, high) in zip(bins, ends, strict=True):
            axes.plot([b.confidence] * 2, [low, high], color=ROLES["accent"], lw=1, alpha=0.55, solid_capstyle="butt")
            size = 4 + 5 * (b.n / most) ** 0.5
            axes.plot([b.confidence], [b.accuracy], "o", ms=size, color=ROLES["accent"])
        least = min(b.confidence for b in bins) - 0.06
        bottom = min(least, *(low for low, _ in ends)) - 0.02
        axes.set(xlim=(max(0.0, least), 1.02), ylim=(max(0.0, bottom), 1.02))
        axes.set_xticks([tick for tick in axes.get_xticks() if max(0.0, least) <= tick <= 1.0])
        axes.set(xlabel="how sure the model was", ylabel="how often it was right")

    return draw_svg(draw, name, title)


def draw_answers_by_truth(truth: np.ndarray, answers: np.ndarray, *, name: str, label: str) -> str:
    """Numbers (M,) and what was answered for them (M,), with the line on which both agree."""

    def draw(axes: Axes) -> None:
        ends = [min(truth.min(), answers.min()), max(truth.max(), answers.max())]
        axes.plot(ends, ends, color=ROLES["muted"], lw=1, ls=(0, (4, 3)))
        axes.plot(truth, answers, "o", ms=3.5, color=ROLES["accent"], alpha=0.6)
        axes.set(xlabel=label, ylabel="answered")

    return draw_svg(draw, name, f"What was answered against {label}, each point a held-out picture.")


def draw_learning_curve(
    points: Sequence[tuple[int, float, float, float]],
    forecast: Sequence[tuple[int, float, float, float]] = (),
    *,
    name: str,
    y_label: str,
    title: str,
) -> str:
    """A score by the number of pictures learnt from, measured and expected.

    `points` and `forecast` are number, value, low, high, in order of the number.
    """

    def draw(axes: Axes) -> None:
        n, value, low, high = zip(*points, strict=True)
        axes.set_xscale("log")
        axes.fill_between(n, low, high, color=ROLES["accent"], alpha=0.18, lw=0)
        axes.plot(n, value, "o-", color=ROLES["accent"], lw=1.6, ms=5)
        ticks = [*n]
        if forecast:
            later, expected, least, most = zip(points[-1], *forecast, strict=True)
            axes.fill_between(later, least, most, color=ROLES["second"], alpha=0.16, lw=0)
            axes.plot(later, expected, color=ROLES["second"], lw=1.6, ls=(0, (4, 3)))
            ticks += [count for count in later if count in (2 * n[-1], 4 * n[-1])]
        axes.set(xlabel="pictures learnt from", ylabel=y_label)
        axes.margins(x=0.05)
        _set_ticks(axes, ticks, lambda count: f"{count:,}")

    return draw_svg(draw, name, title)


_LINE: dict[str, dict[str, Any]] = {
    "held": {"color": ROLES["accent"], "ls": "-", "lw": 1.8},
    "learnt": {"color": ROLES["second"], "ls": (0, (5, 2)), "lw": 1.4},
    "random": {"color": ROLES["muted"], "ls": (0, (1, 2)), "lw": 1.8},
}


def draw_by_epoch(
    lines: Mapping[str, np.ndarray], *, name: str, y_label: str, title: str, chosen: int | None = None
) -> str:
    """A score by epoch: lines are means over the folds, bands go from the lowest fold to the highest.

    Args:
        lines: (F, E + 1) float64 for `held`, `learnt` and `random`, from epoch 0, NaN where nothing was measured. A
            mean ends where fewer than half of the folds still train.
        chosen: The epoch whose weights count, marked by an upright line.
    """
    from matplotlib.ticker import MaxNLocator

    def draw(axes: Axes) -> None:
        for kind, values in lines.items():
            counts = np.isfinite(values).sum(axis=0)
            epochs = np.flatnonzero((counts > 0) & (2 * counts >= counts.max()))
            if not len(epochs):
                continue
            shown, look = values[:, epochs], _LINE[kind]
            if counts.max() > 1:
                low, high = np.nanmin(shown, axis=0), np.nanmax(shown, axis=0)
                axes.fill_between(epochs, low, high, color=look["color"], alpha=0.16, lw=0)
            axes.plot(epochs, np.nanmean(shown, axis=0), marker="o" if len(epochs) == 1 else "", ms=5, **look)
        if chosen is not None:
            axes.axvline(chosen, color=ROLES["ink"], lw=0.8, ls=(0, (1, 3)))
        axes.set(xlabel="epoch", ylabel=y_label)
        axes.margins(x=0.02)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))

    return draw_svg(draw, name, title)


def draw_picture_map(places: np.ndarray, colours: np.ndarray, rings: np.ndarray, *, name: str, title: str) -> str:
    """Pictures at places (M, 2) from 0 to 1 in colours (M,) 0..7; those in doubt, `rings` (M,) bool, with a ring."""

    def draw(axes: Axes) -> None:
        axes.set_position((0, 0, 1, 1))
        for colour in np.unique(colours).tolist():
            x, y = places[colours == colour].T
            axes.plot(x, y, "o", ms=3.2, mew=0, color=ROLES[f"class{colour}"], alpha=0.85)
        axes.plot(*places[rings].T, "o", ms=6.5, mfc="none", mec=ROLES["ink"], mew=0.9)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axes.set_axis_off()

    return draw_svg(draw, name, title)
