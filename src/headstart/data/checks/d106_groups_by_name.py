"""File names that tell which pictures belong together (patient, video, burst) while no groups are given."""

from __future__ import annotations

import shlex
from collections import Counter

import numpy as np

from headstart.core.picture_settings import BY_NAME
from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count, format_names, format_uris
from headstart.data.name_groups import find_name_groups


def _check_groups_by_name(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    if data.groups:
        return check.make_not_applicable("groups are given")
    groups = find_name_groups(data)
    if groups is None:
        return check.make_passed(f"no part of {format_count(len(data.uris), 'name')} that pictures alike share")
    names = np.array(groups.names)
    rows = np.flatnonzero(names != "")
    distinct, counts = np.unique(names[rows], return_counts=True)
    sides = {(names[row], data.split[row]) for row in rows.tolist() if data.split[row]}
    straddling = sum(n > 1 for n in Counter(name for name, _ in sides).values())
    sentence = (
        f"names such as {format_uris(data, rows[:1])} tell {format_count(len(distinct), 'group')} "
        f"({format_names(distinct[np.argsort(-counts, kind='stable')])}) of at most {format_count(int(counts.max()))}, "
        f"whose distance is {groups.closeness:.0%} of that of any of a class"
    )
    if straddling:
        sentence += f"; {straddling:,} of them lie on two sides of the given splits"
    option = shlex.quote(f"{BY_NAME}{groups.pattern}")
    fix = f"`--group {option}` keeps each group on one side of drawn splits, and D105 names what straddles given ones"
    return check.make_issue(sentence, fix, rows=rows)


PLUGIN = Check("D106", "groups by file name", "files", _check_groups_by_name)
