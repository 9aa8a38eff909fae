"""Pictures too small to show much."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import TINY_PX, Check, format_count, format_uris

SMALL_PX = 224  # smaller side; below it a picture is blown up to the input


def _check_tiny_pictures(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    side = np.minimum(data.facts.width_px, data.facts.height_px)
    tiny, small = np.flatnonzero(side < TINY_PX), np.flatnonzero((side >= TINY_PX) & (side < SMALL_PX))
    findings = []
    if len(tiny):
        sentence = f"{format_count(len(tiny))} with a side under {TINY_PX} px ({format_uris(data, tiny)})"
        findings.append(
            check.make_finding("warning", sentence, "use the originals, if these are thumbnails", rows=tiny)
        )
    if len(small):
        sentence = (
            f"{format_count(len(small))} with a side under {SMALL_PX} px, the input of most backbones, will be enlarged"
        )
        fix = "nothing, if no larger ones exist; inner stages often do better on small pictures"
        findings.append(check.make_finding("info", sentence, fix, rows=small))
    if findings:
        return check.make_outcome(findings)
    return check.make_passed(f"the smallest side of {format_count(len(side))} is {int(side.min())} px")


PLUGIN = Check("D005", "tiny pictures", "files", _check_tiny_pictures)
