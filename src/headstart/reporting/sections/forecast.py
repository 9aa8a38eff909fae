"""What was forecast, beside what came out."""

from __future__ import annotations

import math
from typing import Any

from headstart.core.console import format_duration
from headstart.core.types import Forecast, Score, TimeForecast
from headstart.reporting import formatting
from headstart.reporting.report_data import ReportInput

WHEN = {"before": "before anything was spent", "probed": "after the frozen probe, before the training"}


def view(given: ReportInput) -> dict[str, Any] | None:
    """What the template `forecast.html` shows; None where nothing was forecast."""
    if given.forecasts is None or not given.forecasts.forecasts:
        return None
    found, outcome = given.forecasts.forecasts, given.forecasts.outcome
    return {
        "name": found[0].name,
        "lead": _lead(found[0], outcome) if outcome else "",
        "outcome": outcome,
        "rows": [_row(one, outcome) for one in found],
        "seconds": [_seconds(one) for one in given.seconds],
    }


def _lead(first: Forecast, outcome: Score) -> str:
    told = f"{formatting.percent(first.value)} was expected, between "
    told += f"{formatting.percent(first.low)} and {formatting.percent(first.high)}"
    where = "inside" if first.holds(outcome) else "outside"
    return f"{told}; {formatting.percent(outcome.value)} came out, {where} that interval"


def _row(of: Forecast, outcome: Score | None) -> dict[str, Any]:
    return {
        "when": WHEN[of.phase],
        "forecast": of,
        "error": formatting.signed(outcome.value - of.value) if outcome else "–",
        "inside": ("inside" if of.holds(outcome) else "outside") if outcome else "–",
        "rests_on": of.rests_on,
    }


def _seconds(of: TimeForecast) -> dict[str, str]:
    known = math.isfinite(of.taken_s)
    return {
        "when": WHEN[of.phase],
        "value": format_duration(of.value_s),
        "low": format_duration(of.low_s),
        "high": format_duration(of.high_s),
        "taken": format_duration(of.taken_s) if known else "–",
        "ratio": f"{of.taken_s / of.value_s:.2f}" if known else "–",
        "inside": ("inside" if of.low_s <= of.taken_s <= of.high_s else "outside") if known else "–",
    }
