"""Pictures too small to show much."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, count, uris

# Smaller side in px: below the first a trunk's last stages see one cell; below the second it is blown up to the input.
TINY_PX, SMALL_PX = 32, 224


def _look(check: Check, given: AuditInput) -> Outcome:
    data = given.data
    side = np.minimum(data.facts.width_px, data.facts.height_px)
    tiny, small = np.flatnonzero(side < TINY_PX), np.flatnonzero((side >= TINY_PX) & (side < SMALL_PX))
    findings = []
    if len(tiny):
        sentence = f"{count(len(tiny))} with a side under {TINY_PX} px ({uris(data, tiny)})"
        findings.append(check.finding("warning", sentence, "use the originals, if these are thumbnails", rows=tiny))
    if len(small):
        sentence = f"{count(len(small))} with a side under {SMALL_PX} px, the input of most backbones, will be enlarged"
        fix = "nothing, if no larger ones exist; inner stages often do better on small pictures"
        findings.append(check.finding("info", sentence, fix, rows=small))
    if findings:
        return check.found(findings)
    return check.passed(f"the smallest side of {count(len(side))} is {int(side.min())} px")


PLUGIN = Check("D005", "tiny pictures", "files", _look)
