"""Pictures that look like copies of each other, by perceptual hash and colours."""

from __future__ import annotations

import numpy as np

from headstart.checks.data._check import Check, count
from headstart.checks.data._near import BLANK_STD, alike, near_pairs
from headstart.core.types import AuditInput, Outcome


def _look(check: Check, given: AuditInput) -> Outcome:
    data = given.data
    pairs, limit = near_pairs(data)
    blank = int((np.asarray(data.facts.grey_std) < BLANK_STD).sum())
    rule = f"within {limit} of 64 hash bits" + (f", {count(blank, 'blank picture')} left out" if blank else "")
    if not len(pairs):
        return check.passed(f"no two of {count(len(data.uris))} are {rule}")
    return alike(check, data, pairs, rule)


PLUGIN = Check("D103", "near-duplicates by hash", "files", _look)
