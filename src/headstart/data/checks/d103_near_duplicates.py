"""Pictures that look like copies of each other, mirrored and turned ones too, by perceptual hash and colours."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count
from headstart.data.duplicates.clusters import find_spanning_links
from headstart.data.duplicates.copy_detection import BLANK_STD, UNSEEN, find_near_pairs, make_near_duplicate_issue


def _check_near_duplicates(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    pairs, is_turned, limit = find_near_pairs(data)
    blank = int((np.asarray(data.facts.grey_std) < BLANK_STD).sum())
    rule = f"within {limit} of 64 hash bits" + (f", {format_count(blank, 'blank picture')} left out" if blank else "")
    if not len(pairs):
        return check.make_passed(f"no two of {format_count(len(data.uris))} are {rule}; {UNSEEN}")
    all_links, plain_links = (find_spanning_links(len(data.uris), links) for links in (pairs, pairs[~is_turned]))
    if len(all_links) > len(plain_links):
        rule += f", {len(all_links) - len(plain_links):,} of them mirrored or turned"
    return make_near_duplicate_issue(check, data, pairs, rule)


PLUGIN = Check("D103", "near-duplicates by hash", "files", _check_near_duplicates)
