"""Copies, exact or near, that lie on two sides of the given splits."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count, format_uris
from headstart.data.duplicates.copy_detection import UNSEEN, find_copies, find_near_pairs, group_pairs, link_groups


def _check_across_splits(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    if not any(data.split):
        return check.make_not_applicable("the folder gives no splits; copies that are seen never straddle those drawn")
    exact = np.array(link_groups(find_copies(data)), np.int64).reshape(-1, 2)
    side = np.array(data.split)
    groups = group_pairs(len(side), np.concatenate([exact, find_near_pairs(data)[0]]))
    with_split = [group[side[group] != ""] for group in groups]  # of the others no copy of what judges is learnt from
    straddling = [group for group in with_split if len(np.unique(side[group])) > 1]
    if not straddling:
        split_names = ", ".join(sorted({*data.split} - {""}))
        return check.make_passed(f"no copy, exact or near, lies on two sides of {split_names}; {UNSEEN}")
    rows = np.concatenate(straddling)
    sides = [(name, int((side[rows] == name).sum())) for name in ("val", "test")]
    counts = " and ".join(f"{n:,} of {(side == name).sum():,} in `{name}`" for name, n in sides if n)
    sentence = (
        f"{format_count(len(straddling), 'group')} of copies straddle the given splits, {counts} (such as "
        f"{format_uris(data, straddling[0])}); {UNSEEN}"
    )
    fix = "the given splits are kept, and the score is shown with and without these; move each group to one side"
    return check.make_issue(sentence, fix, rows=rows, links=link_groups(straddling))


PLUGIN = Check("D104", "duplicates across given splits", "files", _check_across_splits)
