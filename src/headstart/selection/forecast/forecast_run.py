"""Forecast: the expected accuracy and time, said before anything is spent and again before networks are trained.

What is told once is decided, so a resumed run repeats it whatever this user's other runs came to meanwhile; seconds are
kept in `timings.json` alone. At the end what came out is laid beside it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headstart.backbones import loading
from headstart.core.console import format_duration
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.storage.files import read_json
from headstart.core.types import Dataset, Evaluation, FitResult, Forecast, Forecasts, Splits, TimeForecast
from headstart.selection.forecast import forecast_model, history, prior
from headstart.selection.forecast.forecast_model import BEFORE, PROBED, Task
from headstart.selection.forecast.run_time import planned_s, training_s
from headstart.statistics import metrics

Sizes = tuple[tuple[int, ...], int]  # training pictures of each class that has some, and how many pictures will judge


def name_of(metric: str) -> str:
    """What is forecast for a job's metric: the accuracy stands for the log loss."""
    return "balanced_accuracy" if metric == "balanced_accuracy" else "accuracy"


def ahead(
    data: Dataset, sizes: Sizes, chosen: Sequence[str], passes_s: float, ctx: Context
) -> tuple[Forecast, TimeForecast] | None:
    """What is expected before anything is spent; None where there are no two classes to tell apart.

    Args:
        data: The pictures.
        sizes: See `Sizes`.
        chosen: Names of the candidates.
        passes_s: Seconds of passing all pictures through each of them.
        ctx: The run.
    """
    if len(sizes[0]) < 2:
        return None
    known, task = _records(data, ctx), _task(data, sizes, chosen, ctx)
    reckoned = planned_s(ctx.job, task.counts, len(data.uris), chosen, passes_s)
    return forecast_model.before(task, known), forecast_model.seconds(task, BEFORE, reckoned, known)


def before(data: Dataset, sizes: Sizes, chosen: Sequence[str], passes_s: float, *, ctx: Context) -> Forecasts:
    """The same, decided, kept and said."""

    @functools.cache
    def made() -> tuple[Forecast, TimeForecast]:
        found = ahead(data, sizes, chosen, passes_s, ctx)
        assert found is not None  # the audit has stopped a set of one class
        return found

    why = "what the run is expected to come to, before anything is spent"
    first = _decided(BEFORE, lambda: made()[0], why, ctx)
    _say(first, _timed(BEFORE, lambda: made()[1], ctx), ctx)
    return _kept(Forecasts(forecasts=(first,)), ctx)


def probed(
    data: Dataset, splits: Splits, probe: FitResult, chosen: Sequence[str], before: Forecasts, *, ctx: Context
) -> Forecasts:
    """What is expected of fine-tuning now that the frozen probe is measured; decided, kept and said.

    Args:
        data: The pictures.
        splits: Who learns and who judges.
        probe: The frozen probe.
        chosen: Names of the candidates.
        before: The first forecast.
        ctx: The run.
    """
    targets, rows = np.asarray(data.targets), np.asarray(probe.cv_rows)
    counts = np.bincount(targets[splits.train])
    judges = next((len(part) for part in (splits.test, splits.val) if len(part)), len(splits.train))
    clusters, name = np.asarray(splits.clusters)[rows], name_of(ctx.job.metric)

    @functools.cache
    def task() -> Task:
        return _task(data, (tuple(int(n) for n in counts[counts > 0]), judges), chosen, ctx)

    def made() -> Forecast:
        score = metrics.score(name, targets[rows], probe.cv_probabilities, split="cv", clusters=clusters)
        return forecast_model.probed(task(), score, _records(data, ctx))

    def left() -> TimeForecast:
        spent_s = time.monotonic() - ctx.started
        rest_s = training_s(ctx.job, task().counts, chosen) if ctx.job.recipe else max(ctx.left_s(), 1.0)
        return forecast_model.seconds(task(), PROBED, rest_s, _records(data, ctx), spent_s)

    second = _decided(PROBED, made, "what fine-tuning is expected to come to, by the frozen probe", ctx)
    _say(second, _timed(PROBED, left, ctx), ctx)
    return _kept(dataclasses.replace(before, forecasts=(*before.forecasts[:1], second)), ctx)


def check(found: Forecasts, evaluation: Evaluation, *, ctx: Context) -> Forecasts:
    """Lay what came out beside what was forecast; kept and said."""
    name = found.forecasts[0].name
    outcome = next(s for s in evaluation.scores if (s.split, s.name, s.subject) == (evaluation.split, name, ""))
    _finish(ctx)
    told = [
        f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}] was forecast {_when(one.phase)}: "
        f"{'inside' if one.holds(outcome) else 'outside'}"
        for one in found.forecasts
    ]
    words, lasts = name.replace("_", " "), forecast_model.timed(ctx.run.path, BEFORE)
    ctx.console.print_line("forecast", f"{outcome.split} {words} {outcome.value:.3f} came out; {'; '.join(told)}")
    if lasts is not None and math.isfinite(lasts.taken_s):
        ctx.console.print_line(
            "forecast", f"it took {format_duration(lasts.taken_s)}; {_span(lasts)} was forecast at first"
        )
    return _kept(dataclasses.replace(found, outcome=outcome), ctx)


# ---------------------------------------------------------------- what is known


def _records(data: Dataset, ctx: Context) -> tuple[history.Record, ...]:
    """Earlier runs; what of them is passed over is said once, where backbones are compared (`prior.of_run`)."""
    return history.records(ctx.store, lambda sentence: None, but=history.address(data.digest, ctx.job))


def _task(data: Dataset, sizes: Sizes, chosen: Sequence[str], ctx: Context) -> Task:
    specs = [loading.find(name).spec for name in chosen]
    return Task(
        pictures=data.digest,
        name=name_of(ctx.job.metric),
        counts=sizes[0],
        n=sizes[1],
        strategy=ctx.job.strategy,
        explicit=bool(ctx.job.recipe),
        worth=prior.best(prior.of_run(specs, ctx, pictures=data.digest).values()),
    )


def _decided(phase: str, make: Callable[[], Forecast], why: str, ctx: Context) -> Forecast:
    kept: dict[str, Any] = ctx.record_decision(f"forecast/{phase}", lambda: serialization.as_json(make()), why)
    return Forecast(**{**kept, "rests_on": tuple(kept["rests_on"])})


def _kept(found: Forecasts, ctx: Context) -> Forecasts:
    serialization.save_value(found, ctx.make_step_folder("forecast"))
    return found


# ---------------------------------------------------------------- seconds


def _timed(phase: str, make: Callable[[], TimeForecast], ctx: Context) -> TimeForecast:
    """The forecast of seconds as it was first made, with how often the run has come this far."""
    earlier = forecast_model.timed(ctx.run.path, phase)
    with ctx.time_step(forecast_model.STEPS[phase]) as entry:
        found = earlier or make()
        goes = _timings(ctx).get(forecast_model.STEPS[phase], {}).get("goes", 0.0) + 1.0
        entry |= {**forecast_model.entry(found), "goes": goes}
    return found


def _finish(ctx: Context) -> None:
    """Note what a run that was done in one go took; of one done in several nobody knows."""
    known, seconds = _timings(ctx), time.monotonic() - ctx.started
    with ctx.time_step(forecast_model.CHECK) as entry:
        once = known.get(forecast_model.STEPS[BEFORE], {}).get("goes") == 1.0
        taken_s = seconds if once else known.get(forecast_model.CHECK, {}).get("taken_s", math.nan)
        if math.isfinite(taken_s):
            entry["taken_s"] = taken_s


def _timings(ctx: Context) -> dict[str, dict[str, float]]:
    path = ctx.run.path / "timings.json"
    return read_json(path) if path.is_file() else {}


# ---------------------------------------------------------------- what is said


def _when(phase: str) -> str:
    return "at first" if phase == BEFORE else "after the probe"


def _say(found: Forecast, lasts: TimeForecast, ctx: Context) -> None:
    words = found.name.replace("_", " ")
    reach = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
    ctx.console.print_line("forecast", f"{words} {reach} in {_span(lasts)}; {found.rests_on[-1]}")


def _span(of: TimeForecast) -> str:
    return f"{format_duration(of.value_s)} [{format_duration(of.low_s)}, {format_duration(of.high_s)}]"
