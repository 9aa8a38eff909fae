"""Pictures of one even grey level."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, count, uris
from headstart.data.duplicates.duplicate_checks import BLANK_STD


def _look(check: Check, given: AuditInput) -> Outcome:
    data = given.data
    spread = np.asarray(data.facts.grey_std)
    blank = np.flatnonzero(spread < BLANK_STD)
    if not len(blank):
        return check.passed(f"grey levels of {count(len(spread))} spread by at least {spread.min():.1f} of 255")
    share = len(blank) / len(spread)
    sentence = f"{count(len(blank))} ({share:.1%}) of one even grey level ({uris(data, blank)})"
    return check.issue(sentence, "take them away, unless an empty picture is what the class means", rows=blank)


PLUGIN = Check("D007", "blank pictures", "files", _look)
