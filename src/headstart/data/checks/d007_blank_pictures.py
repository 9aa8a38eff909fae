"""Pictures of one even grey level."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count, format_uris
from headstart.data.duplicates.copy_detection import BLANK_STD


def _check_blank_pictures(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    spread = np.asarray(data.facts.grey_std)
    blank = np.flatnonzero(spread < BLANK_STD)
    if not len(blank):
        return check.make_passed(
            f"grey levels of {format_count(len(spread))} spread by at least {spread.min():.1f} of 255"
        )
    share = len(blank) / len(spread)
    sentence = f"{format_count(len(blank))} ({share:.1%}) of one even grey level ({format_uris(data, blank)})"
    fix = "take them away, unless an empty picture is what the class means"
    return check.make_issue(sentence, fix, rows=blank, remove_rows=blank)


PLUGIN = Check("D007", "blank pictures", "files", _check_blank_pictures)
