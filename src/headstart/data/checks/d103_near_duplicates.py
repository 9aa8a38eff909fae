"""Pictures that look like copies of each other, by perceptual hash and colours."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, count
from headstart.data.duplicates.duplicate_checks import BLANK_STD, alike, near_pairs


def _look(check: Check, given: AuditInput) -> Outcome:
    data = given.data
    pairs, limit = near_pairs(data)
    blank = int((np.asarray(data.facts.grey_std) < BLANK_STD).sum())
    rule = f"within {limit} of 64 hash bits" + (f", {count(blank, 'blank picture')} left out" if blank else "")
    if not len(pairs):
        return check.passed(f"no two of {count(len(data.uris))} are {rule}")
    return alike(check, data, pairs, rule)


PLUGIN = Check("D103", "near-duplicates by hash", "files", _look)
