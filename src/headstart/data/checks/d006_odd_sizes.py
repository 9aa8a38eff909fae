"""Pictures of unusual shape or size."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count, format_uris
from headstart.images.preprocessing import CROP_LOSS, measure_crop_loss

ASPECT = 3.0  # longer side to shorter
AREA = 16.0  # pixels against the set's median: a factor of 16 is 4 on each side


def _check_odd_sizes(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    wide, high = np.asarray(data.facts.width_px, np.float64), np.asarray(data.facts.height_px, np.float64)
    aspect, area = np.maximum(wide, high) / np.minimum(wide, high), wide * high
    usual = float(np.median(area))
    long = np.flatnonzero(aspect > ASPECT)
    far = np.flatnonzero((area > AREA * usual) | (area < usual / AREA))
    loss = measure_crop_loss(wide, high)
    findings = []
    if loss.mean() > CROP_LOSS and data.reading.resize not in ("pad", "squash"):
        worst = format_uris(data, [int(loss.argmax())])
        sentence = f"a centre crop would lose {loss.mean():.0%} of a picture on average, {loss.max():.0%} of {worst}"
        rows = np.flatnonzero(loss > CROP_LOSS)
        findings.append(check.make_finding("info", sentence, "`--resize auto` measures what keeps more", rows=rows))
    if len(long):
        sentence = (
            f"{format_count(len(long))} with a side more than {ASPECT:.0f} times the other, at most {aspect.max():.1f} "
            f"times ({format_uris(data, long[np.argsort(-aspect[long], kind='stable')])})"
        )
        findings.append(check.make_finding("info", sentence, "see whether their ends matter: cut them up", rows=long))
    if len(far):
        sentence = (
            f"{format_count(len(far))} with {AREA:.0f} times more or fewer pixels than usual ({format_uris(data, far)})"
        )
        findings.append(check.make_finding("info", sentence, "see whether they belong to the set", rows=far))
    if findings:
        return check.make_outcome(findings)
    lost = f"a centre crop loses {loss.mean():.0%} of a picture on average, {loss.max():.0%} at most"
    return check.make_passed(f"{lost}; median size {usual / 1e6:.2f} megapixels")


PLUGIN = Check("D006", "odd shapes and sizes", "files", _check_odd_sizes)
