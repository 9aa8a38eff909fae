"""Groups (patients, sites) that lie on two sides of the given splits, and classes that one group holds whole."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Dataset, Finding, Outcome
from headstart.data.check_base import Check, find_learning_rows, format_count, format_names, format_uris
from headstart.data.duplicates.clusters import group_rows
from headstart.data.groups import can_judge, find_groups


def _check_groups(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    if not data.groups:
        return check.make_not_applicable("no column says which pictures belong together")
    groups = find_groups(data)
    findings = [*_find_straddling(check, data, groups), *_find_single_group_classes(check, data, groups)]
    if findings:
        return check.make_outcome(findings)
    sizes = np.unique(groups, return_counts=True)[1]
    largest = format_count(int(sizes.max()))
    return check.make_passed(f"{format_count(len(sizes), 'group')} of at most {largest}; none straddles a split")


def _find_straddling(check: Check, data: Dataset, groups: np.ndarray) -> list[Finding]:
    side = np.array(data.split)
    with_split = [rows[side[rows] != ""] for rows in group_rows(groups)]
    straddling = [rows for rows in with_split if len(np.unique(side[rows])) > 1]
    if not straddling:
        return []
    rows = np.concatenate(straddling)
    names = format_names(data.groups[rows[0]] for rows in straddling)
    counts = [f"{(side[rows] == name).sum():,} in `{name}`" for name in ("train", "val", "test") if name in side[rows]]
    sentence = (
        f"{format_count(len(straddling), 'group')} on two sides of the given splits: {names}, with "
        f"{', '.join(counts)} (such as {format_uris(data, straddling[0])})"
    )
    fix = "the given splits are kept, and the score is shown with and without these; move each group to one side"
    return [check.make_finding("warning", sentence, fix, rows=rows)]


def _find_single_group_classes(check: Check, data: Dataset, groups: np.ndarray) -> list[Finding]:
    """Classes of which one group would have to teach and to judge; of a lone picture D003 speaks."""
    learning, targets = find_learning_rows(data), np.asarray(data.targets)
    findings = list[Finding]()
    if not data.learning_task.has_classes or not can_judge(data):
        return findings
    for label, name in enumerate(data.class_names):
        rows = learning[targets[learning] == label]
        if len(rows) < 2 or len(np.unique(groups[rows])) > 1:
            continue
        sentence = (
            f"all {format_count(len(rows))} of class `{name}` to learn from are of one group, "
            f"{format_names([data.groups[rows[0]]])}: no split that keeps groups whole can both learn and judge it"
        )
        fix = (
            "add pictures of the class from another group, merge the class or remove it; without groups a fit is "
            "possible, and then its scores say nothing of other groups"
        )
        findings.append(check.make_finding("error", sentence, fix, rows=rows))
    return findings


PLUGIN = Check("D105", "groups across splits and classes", "files", _check_groups)
