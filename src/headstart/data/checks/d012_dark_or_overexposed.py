"""Pictures that are nearly black or nearly white while the others of the set are not."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Finding, Outcome
from headstart.data.check_base import Check, format_count, format_uris
from headstart.data.duplicates.copy_detection import BLANK_STD

DARK, LIGHT = 40.0, 200.0  # grey levels 0..255 that 95 % of a picture lie below, or above
SPREADS = 6.0  # from the set's median
LEAST_SPREAD = 10.0  # grey levels


def _check_dark_or_overexposed(check: Check, audit_input: AuditInput) -> Outcome:
    facts = audit_input.data.facts
    low, high = facts.get_measure("grey_low"), facts.get_measure("grey_high")
    dark, light = (high < DARK) & (_count_spreads(high) < -SPREADS), (low > LIGHT) & (_count_spreads(low) > SPREADS)
    findings = list[Finding]()
    for selected, levels, side, word in ((dark, high, "below", "dark"), (light, low, "above", "overexposed")):
        rows = np.flatnonzero(selected & (np.asarray(facts.grey_std) >= BLANK_STD))  # of blank ones D007 speaks
        if not len(rows):
            continue
        bound, usual = (DARK if word == "dark" else LIGHT), np.median(levels)
        sentence = (
            f"{format_count(len(rows))} {word}: 95 % of each lies {side} grey level {bound:.0f} of 255, "
            f"{usual:.0f} is usual ({format_uris(audit_input.data, rows)})"
        )
        fix = "look at them: leave out what a person cannot tell, keep what will be met in use"
        findings.append(check.make_finding("warning", sentence, fix, rows=rows))
    if findings:
        return check.make_outcome(findings)
    return check.make_passed(
        f"95 % of a picture reach grey level {high.min():.0f} at least, and begin at {low.max():.0f}"
    )


def _count_spreads(levels: np.ndarray) -> np.ndarray:
    """(N,) by how many spreads (1.48 median absolute deviations) grey levels (N,) lie above the median."""
    distance = levels - np.median(levels)
    return np.asarray(distance / max(1.4826 * float(np.median(np.abs(distance))), LEAST_SPREAD))


PLUGIN = Check("D012", "dark or overexposed pictures", "files", _check_dark_or_overexposed)
