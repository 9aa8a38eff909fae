"""Pictures of unusual shape or size."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count, format_uris

ASPECT = 3.0  # longer side to shorter: at 3 a centre crop throws two thirds of the picture away
AREA = 16.0  # pixels against the set's median: a factor of 16 is 4 on each side


def _check_odd_sizes(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    wide, high = np.asarray(data.facts.width_px, np.float64), np.asarray(data.facts.height_px, np.float64)
    aspect, area = np.maximum(wide, high) / np.minimum(wide, high), wide * high
    usual = float(np.median(area))
    long = np.flatnonzero(aspect > ASPECT)
    far = np.flatnonzero((area > AREA * usual) | (area < usual / AREA))
    findings = []
    if len(long):
        sentence = (
            f"{format_count(len(long))} with a side more than {ASPECT:.0f} times the other ({format_uris(data, long)})"
        )
        findings.append(
            check.make_finding("info", sentence, "a centre crop cuts off their ends: cut them up first", rows=long)
        )
    if len(far):
        sentence = (
            f"{format_count(len(far))} with {AREA:.0f} times more or fewer pixels than usual ({format_uris(data, far)})"
        )
        findings.append(check.make_finding("info", sentence, "see whether they belong to the set", rows=far))
    if findings:
        return check.make_outcome(findings)
    return check.make_passed(f"largest aspect ratio {aspect.max():.1f}, median size {usual / 1e6:.2f} megapixels")


PLUGIN = Check("D006", "odd shapes and sizes", "files", _check_odd_sizes)
