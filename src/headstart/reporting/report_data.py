"""What a report may tell: everything a run found, each part absent where the run did not come so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headstart.core.job import Job
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
    TimeForecast,
    UncertaintyReport,
)

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneFacts:
    """What the reader should know of a trunk that was tried.

    Attributes:
        name: `source:preset`.
        licence: SPDX identifier, or the words of the source.
        licence_note: What else to know, or empty.
        pretrained_on: Data and task of the source.
        params: Weights in the trunk.
        flops: Floating-point operations for one picture.
        prior_source: Where its prior comes from.
        latency_ms: Milliseconds a picture as measured in this run, NaN when nothing had to be computed.
        depths: Names of the places where features are taken, from shallow to deep.
    """

    name: str
    licence: str
    licence_note: str
    pretrained_on: str
    params: int
    flops: int
    prior_source: str
    latency_ms: float
    depths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportInput:
    """Everything a run found.

    Attributes:
        job: The request.
        run_name: Name of the run folder.
        dataset: The pictures.
        audits: Of the files and of the vectors.
        splits: Who learns and who judges.
        backbones: Of all trunks that were tried.
        ranking: All candidates.
        adapted: The head.
        evaluation: The measured model.
        exported: The saved model.
        doubted: When it should not be believed; None in a run of before that was measured.
        explained: What the run keeps to explain its answers by; None in an older run.
        overlays: Name -> JPEG of each of its heat maps.
        forecasts: What the run was expected to come to, and what came out.
        seconds: The same of its time.
        costs: (C, C) cost of answering the column when the row is true, or None.
        decisions: Lines of `decisions.jsonl`.
        timings: Step -> wall seconds.
        provenance: Heading -> name -> value: versions, machine, digests.
    """

    job: Job
    run_name: str
    dataset: Dataset
    audits: tuple[Audit, ...] = ()
    splits: Splits | None = None
    backbones: tuple[BackboneFacts, ...] = ()
    ranking: Ranking | None = None
    adapted: FitResult | None = None
    evaluation: Evaluation | None = None
    exported: Exported | None = None
    doubted: UncertaintyReport | None = None
    explained: Explained | None = None
    overlays: Mapping[str, bytes] = field(default_factory=dict)
    forecasts: Forecasts | None = None
    seconds: tuple[TimeForecast, ...] = ()
    costs: np.ndarray | None = None
    decisions: tuple[Mapping[str, Any], ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
