"""Pictures with far less fine detail than the others of the set."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import TINY_PX, Check, format_count, format_uris
from headstart.data.duplicates.copy_detection import BLANK_STD

FEWEST = 20  # pictures among which one can stand out
BLURRED = 1.0  # energy of the Laplacian by that of the gradient; sharp photographs have 1.4 and more
SPREADS = 4.0  # below the set's median, of log sharpness
LEAST_SPREAD = 0.1  # sets of one camera and one scene spread by less


def _check_blurred_pictures(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    is_large = np.minimum(data.facts.width_px, data.facts.height_px) >= TINY_PX
    judged = np.flatnonzero(is_large & (np.asarray(data.facts.grey_std) >= BLANK_STD))
    if len(judged) < FEWEST:
        kinds = f"that are not blank and have sides of {TINY_PX} px or more"
        return check.make_not_applicable(f"fewer than {FEWEST} pictures {kinds}: none can stand out")
    sharpness = data.facts.get_measure("sharpness")[judged]
    logs = np.log(np.maximum(sharpness, 1e-6))
    median = np.median(logs)
    spread = max(1.4826 * float(np.median(np.abs(logs - median))), LEAST_SPREAD)
    blurred = (sharpness < BLURRED) & (logs < median - SPREADS * spread)
    if not blurred.any():
        return check.make_passed(f"sharpness of {format_count(len(judged))} from {sharpness.min():.2g}")
    rows = judged[blurred][np.argsort(sharpness[blurred], kind="stable")]
    sentence = (
        f"{format_count(len(rows))} blurred, of sharpness {sharpness[blurred].min():.2g} to "
        f"{sharpness[blurred].max():.2g} where {np.exp(median):.2g} is usual ({format_uris(data, rows)})"
    )
    fix = "look at them, blurred first: leave out what a person cannot tell, keep what will be met in use"
    return check.make_issue(sentence, fix, rows=rows)


PLUGIN = Check("D011", "blurred pictures", "files", _check_blurred_pictures)
