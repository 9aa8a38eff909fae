"""Files with equal bytes inside one class."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count, format_uris
from headstart.data.duplicates.duplicate_checks import find_copies, link_group


def _check_exact_duplicates(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    targets = np.asarray(data.targets)
    groups = [part for group in find_copies(data) for part in _split_by_class(group, targets) if len(part) > 1]
    if not groups:
        return check.make_passed(f"no two files of a class among {len(data.uris):,} have the same bytes")
    extra = sum(len(group) - 1 for group in groups)
    sentence = (
        f"{format_count(extra, 'exact copy')} of {format_count(len(groups))} in the same class (such as "
        f"{format_uris(data, groups[0])})"
    )
    fix = "remove the copies; until then they stay on one side of every split that is drawn"
    links = [link for group in groups for link in link_group(group)]
    return check.make_issue(sentence, fix, rows=np.concatenate(groups), links=links)


def _split_by_class(group: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
    return [group[targets[group] == label] for label in np.unique(targets[group])]


PLUGIN = Check("D101", "exact duplicates", "files", _check_exact_duplicates)
