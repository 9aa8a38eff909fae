"""Limits on what is handed over: licence, size and latency of the trunks, and which of them a choice breaks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from headstart.backbones.licences import is_permissive
from headstart.core.console import format_bytes
from headstart.core.job import Job
from headstart.core.types import BackboneSpec

LATENCIES = "latency_ms"  # the decision that holds what was measured for `--max-latency`
_BYTES_A_WEIGHT = 4  # float32


def weights_bytes(spec: BackboneSpec) -> int:
    """What a trunk's weights take in what is handed over; the source's classifier is not in it."""
    return _BYTES_A_WEIGHT * spec.params


def has_limits(job: Job) -> bool:
    """Whether a job sets any limit."""
    return job.license != "any" or bool(job.max_latency or job.max_size)


def format_broken_limits(specs: Sequence[BackboneSpec], job: Job, latency_ms: Mapping[str, float]) -> str:
    """The limits that trunks break together, each with its number; empty when they obey all.

    Trunks that answer together add up. A latency that is not measured yet breaks nothing.
    """
    problems = []
    if job.license == "permissive":
        for licence in dict.fromkeys(spec.licence for spec in specs if not is_permissive(spec.licence)):
            problems.append(f"its licence `{licence}` is not permissive, --license {job.license}")
    total_bytes = sum(map(weights_bytes, specs))
    if total_bytes > job.max_size_bytes:
        problems.append(f"{format_bytes(total_bytes)} of weights, --max-size {job.max_size}")
    total_ms = sum(latency_ms.get(spec.name, math.nan) for spec in specs)
    if total_ms > job.max_latency_ms:
        problems.append(f"{total_ms:.3g} ms for one picture, --max-latency {job.max_latency}")
    return "; ".join(problems)
