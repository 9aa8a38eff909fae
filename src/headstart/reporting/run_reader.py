"""From a run folder to everything that a report may tell; nothing is computed anew."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from headstart.backbones import loading
from headstart.core import provenance
from headstart.core.errors import DataError, UsageError
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.storage.files import read_json, write_json
from headstart.core.types import (
    Audit,
    Dataset,
    Evaluation,
    Explained,
    Exported,
    FitResult,
    Forecasts,
    Ranking,
    Splits,
    UncertaintyReport,
)
from headstart.reporting.report_data import BackboneFacts, ReportInput
from headstart.selection.forecast.forecast_model import STEPS, timed

T = TypeVar("T")


def gather(ctx: Context, *, computed_now: bool = False) -> ReportInput:
    """Read what the run folder holds so far.

    Args:
        ctx: The run.
        computed_now: This process computed the run, so versions and machine are noted; else those noted then are told.

    Raises:
        DataError: The run has not read its pictures yet, so there is nothing to tell.
    """
    data = _value(Dataset, "read", ctx)
    if data is None:
        raise DataError(
            f"the run `{ctx.run.path}` has not read its pictures yet: there is nothing to report",
            hint="run the command that made it again: it resumes",
        )
    ranking = _value(Ranking, "rank", ctx)
    timings = _timings(ctx)
    splits = _value(Splits, "splits", ctx)
    return ReportInput(
        job=ctx.job,
        run_name=ctx.run.path.resolve().name,
        dataset=data,
        audits=tuple(a for phase in ("files", "vectors") if (a := _value(Audit, "audit", ctx, phase)) is not None),
        splits=splits,
        backbones=_backbones(ranking, timings),
        ranking=ranking,
        adapted=_value(FitResult, "adapt", ctx),
        evaluation=_value(Evaluation, "evaluate", ctx),
        exported=_value(Exported, "export", ctx),
        doubted=_value(UncertaintyReport, "doubt", ctx),
        explained=_value(Explained, "explain", ctx),
        overlays=_overlays(ctx),
        forecasts=_value(Forecasts, "forecast", ctx),
        seconds=tuple(found for phase in STEPS if (found := timed(ctx.run.path, phase)) is not None),
        costs=_costs(ctx),
        decisions=tuple(ctx.run.read_decisions()),
        timings={step: float(entry["wall_s"]) for step, entry in timings.items()},
        provenance=_provenance(data, ctx, computed_now),
    )


def _value(kind: type[T], stage: str, ctx: Context, name: str = "value") -> T | None:
    return serialization.find_value(kind, ctx.run.path / stage, name)


def _overlays(ctx: Context) -> Mapping[str, bytes]:
    """Name -> JPEG of the heat maps that the stage `explain` wrote."""
    return {path.name: path.read_bytes() for path in sorted((ctx.run.path / "explain").glob("map*.jpg"))}


def _costs(ctx: Context) -> np.ndarray | None:
    """As the saved model keeps them: the file that the user named may be gone."""
    path = ctx.run.path / "model" / "manifest.json"
    try:
        costs = read_json(path)["decision"]["costs"] if path.is_file() else None
        return None if costs is None else np.array(costs, np.float64)
    except (ValueError, KeyError, TypeError) as err:
        raise DataError(
            f"`{path}` is not a model's manifest: {err!r}",
            where=str(path),
            hint="run the `headstart fit` that made the run again: it exports the model anew",
        ) from err


def _timings(ctx: Context) -> Mapping[str, Mapping[str, Any]]:
    """Of all steps but the report's own, which is not over yet."""
    path = ctx.run.path / "timings.json"
    found: dict[str, Any] = read_json(path) if path.is_file() else {}
    return {step: entry for step, entry in found.items() if step != "report"}


def _backbones(ranking: Ranking | None, timings: Mapping[str, Mapping[str, Any]]) -> tuple[BackboneFacts, ...]:
    names = dict.fromkeys(row.backbone for row in ranking.rows) if ranking else {}
    return tuple(found for name in names if (found := _facts(name, timings)) is not None)


def _facts(name: str, timings: Mapping[str, Mapping[str, Any]]) -> BackboneFacts | None:
    """None for what is no trunk (a colour histogram) or comes from a source that is not installed here."""
    try:
        spec = loading.find(name).spec
    except UsageError:
        return None
    passes = [entry for step, entry in timings.items() if step.startswith(f"embed {name} ")]
    measured = [entry["latency_ms"] for entry in passes if entry.get("latency_ms") is not None]
    return BackboneFacts(
        name=name,
        licence=spec.licence,
        licence_note=spec.licence_note,
        pretrained_on=spec.pretrained_on,
        params=spec.params,
        flops=spec.flops,
        prior_source=spec.prior_source,
        latency_ms=float(measured[-1]) if measured else math.nan,
        depths=tuple(depth.name for depth in spec.depths),
    )


def _provenance(data: Dataset, ctx: Context, computed_now: bool) -> dict[str, dict[str, str]]:
    digests = {"data set (SHA-256)": data.digest}
    for path in sorted((ctx.run.path / "embed").glob("*.json")):
        entry = read_json(path)
        for depth, of in entry["vectors"].items():
            digests[f"{entry['key']['backbone']}@{depth}, {entry['pictures']:,} pictures"] = of["sha256"]
    return _computed_by(ctx, computed_now) | {"Digests": digests}


def _computed_by(ctx: Context, now: bool) -> dict[str, dict[str, str]]:
    """Versions and machine, kept at the end of each fit, so that a page written again elsewhere tells the truth."""
    path = ctx.make_step_folder("report") / "provenance.json"
    if now or not path.is_file():
        write_json(path, {"Versions": provenance.list_versions(), "Machine": provenance.describe_machine()})
    found: dict[str, dict[str, str]] = read_json(path)
    return found
