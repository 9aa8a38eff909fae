"""What a report may tell: everything a run found, each part absent where the run did not come so far."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones import loading
from headstart.core import provenance
from headstart.core.errors import DataError, UsageError
from headstart.core.job import Job
from headstart.core.run.context import Context
from headstart.core.run.reader import RunReader
from headstart.core.storage.files import read_json, write_json
from headstart.core.storage.serialization import refuse_damage
from headstart.core.types import (
    Audit,
    BackboneSpec,
    Dataset,
    DomainAdaptation,
    DomainShift,
    Evaluation,
    Explained,
    Exported,
    FitResult,
    PictureMap,
    Ranking,
    Splits,
    TargetDomain,
    UncertaintyReport,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportInput:
    """Everything a run found."""

    job: Job
    run_name: str
    dataset: Dataset
    audits: tuple[Audit, ...] = ()  # of the files and of the vectors
    splits: Splits | None = None  # who learns and who judges
    backbones: tuple[BackboneSpec, ...] = ()  # those that were ranked and are known here
    latencies_ms: Mapping[str, float] = field(default_factory=dict)  # name -> of a picture, where this run measured it
    ranking: Ranking | None = None
    adapted: FitResult | None = None
    evaluation: Evaluation | None = None  # None too where nothing could judge
    refusal: str = ""  # then why nothing is claimed
    exported: Exported | None = None
    uncertainty: UncertaintyReport | None = None
    explained: Explained | None = None  # what the run keeps to explain its answers by; None in an older run
    picture_map: PictureMap | None = None  # None in an older run
    target: TargetDomain | None = None  # pictures of another domain; None without any
    shift: DomainShift | None = None  # how they differ
    adaptation: DomainAdaptation | None = None  # what was adapted to them
    overlays: Mapping[str, bytes] = field(default_factory=dict)  # name -> JPEG of each of its heat maps
    costs: np.ndarray | None = None  # (C, C) cost of answering the column when the row is true, or None
    decisions: tuple[Mapping[str, Any], ...] = ()  # lines of `decisions.jsonl`
    timings: Mapping[str, float] = field(default_factory=dict)  # step -> wall seconds
    provenance: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_report_input(ctx: Context, *, computed_now: bool = False) -> ReportInput:
    """Read what the run folder holds so far; with `computed_now` versions and machine are noted, else those noted then.

    Raises:
        DataError: The run has not read its pictures yet, or what it holds is damaged.
    """
    run = RunReader(ctx.run.path)
    data = run.find(Dataset)
    if data is None:
        raise DataError(
            f"the run `{run.path}` has not read its pictures yet: there is nothing to report",
            hint="run the command that made it again: it resumes",
        )
    ranking, costs, evaluation = run.find(Ranking), run.find_costs(), run.find(Evaluation)
    refusal = evaluation.refusal if evaluation else ""
    backbones = _find_backbones(ranking)
    return ReportInput(
        job=ctx.job,
        run_name=run.path.resolve().name,
        dataset=data,
        audits=run.audits,
        splits=run.find(Splits),
        backbones=backbones,
        latencies_ms={
            spec.name: latency_ms for spec in backbones if (latency_ms := run.find_latency_ms(spec.name)) is not None
        },
        ranking=ranking,
        adapted=run.find(FitResult),
        evaluation=None if refusal else evaluation,
        refusal=refusal,
        exported=run.find(Exported),
        uncertainty=run.find(UncertaintyReport),
        explained=run.find(Explained),
        picture_map=run.find(PictureMap),
        target=_find_target(run, ctx.job),
        shift=run.find(DomainShift),
        adaptation=run.find(DomainAdaptation),
        overlays=run.read_heat_maps(),
        costs=None if costs is None else np.array(costs, np.float64),
        decisions=tuple(run.read_decisions()),
        # the report's own step is not over yet
        timings={step: float(entry["wall_s"]) for step, entry in run.timings.items() if step != "report"},
        provenance=_read_environment(ctx, computed_now)
        | {"Digests": {"data set (SHA-256)": data.digest} | run.read_feature_digests()},
    )


def _find_target(run: RunReader, job: Job) -> TargetDomain | None:
    """The pictures of another domain, where the job says that they lie."""
    target = run.find(TargetDomain)
    if target is None or Path(target.pictures.root).is_absolute():
        return target
    place = Path(job.unlabeled)
    root = place if place.is_dir() else place.parent
    return replace(target, pictures=replace(target.pictures, root=str(root)))


def _find_backbones(ranking: Ranking | None) -> tuple[BackboneSpec, ...]:
    """Every ranked backbone that is known here: a colour histogram is none, and a source may not be installed."""
    specs = []
    for name in dict.fromkeys(row.backbone for row in ranking.rows) if ranking else ():
        with contextlib.suppress(UsageError):
            specs.append(loading.find_backbone(name).spec)
    return tuple(specs)


def _read_environment(ctx: Context, computed_now: bool) -> dict[str, dict[str, str]]:
    """Versions and machine, kept at the end of each fit, so that a page written again elsewhere tells the truth."""
    path = ctx.make_step_folder("report") / "provenance.json"
    if computed_now or not path.is_file():
        write_json(path, {"Versions": provenance.list_versions(), "Machine": provenance.describe_machine()})
    with refuse_damage(path):
        return {head: {key: str(fact) for key, fact in rows.items()} for head, rows in read_json(path).items()}
