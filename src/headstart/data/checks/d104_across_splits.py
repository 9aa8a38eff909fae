"""Copies, exact or near, that lie on two sides of the given splits."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, count, uris
from headstart.data.duplicates.duplicate_checks import chain, copies, near_pairs, tied


def _look(check: Check, given: AuditInput) -> Outcome:
    data = given.data
    if not any(data.split):
        return check.not_applicable("the folder gives no splits; copies never straddle those that are drawn")
    exact = np.array([link for group in copies(data) for link in chain(group)], np.int64).reshape(-1, 2)
    side = np.array(data.split)
    groups = tied(len(side), np.concatenate([exact, near_pairs(data)[0]]))
    found = [group for group in groups if len(np.unique(side[group])) > 1]
    if not found:
        return check.passed(f"no copy, exact or near, lies on two sides of {', '.join(sorted(set(data.split)))}")
    rows = np.concatenate(found)
    sides = [(name, int((side[rows] == name).sum())) for name in ("val", "test")]
    seen = " and ".join(f"{n:,} of {(side == name).sum():,} in `{name}`" for name, n in sides if n)
    sentence = (
        f"{count(len(found), 'group')} of copies straddle the given splits, {seen} (such as {uris(data, found[0])})"
    )
    fix = "the given splits are kept, and the score is shown with and without these; move each group to one side"
    return check.issue(sentence, fix, rows=rows, links=[link for group in found for link in chain(group)])


PLUGIN = Check("D104", "duplicates across given splits", "files", _look)
