"""Pictures that were cut out of others of the set."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count
from headstart.data.duplicates.copy_detection import make_near_duplicate_issue
from headstart.data.duplicates.crop_search import find_cropped_pairs

MOST_ROWS = 50_000  # hashing and looking up the windows of so many pictures takes about two minutes


def _check_cropped_copies(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    n = len(data.uris)
    if n > MOST_ROWS:
        return check.make_skipped(f"{n:,} pictures are more than the {MOST_ROWS:,} whose windows are compared")
    pairs, least, rest = find_cropped_pairs(data)
    more = f"; {format_count(rest, 'pair')} of less likely ones not compared" if rest else ""
    if not len(pairs):
        return check.make_passed(f"none of {format_count(n)} shows 76 to 96 % of a side of another one{more}")
    rule = f"one a part of the other, their gradients correlate by {least:g} or more"
    side = np.array(data.split)
    first, second = side[pairs].T
    across = int(((first != second) & (first != "") & (second != "")).sum())
    rule += f", {format_count(across, 'pair')} across the given splits" if across else ""
    return make_near_duplicate_issue(check, data, pairs, rule + more)


PLUGIN = Check("D108", "cropped copies", "files", _check_cropped_copies)
