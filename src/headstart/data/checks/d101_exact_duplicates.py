"""Files with equal bytes inside one class."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count, format_uris
from headstart.data.duplicates.copy_detection import find_copies, link_groups
from headstart.data.strata import encode_targets


def _check_exact_duplicates(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    targets = encode_targets(np.asarray(data.targets))
    parts = [group[targets[group] == label] for group in find_copies(data) for label in np.unique(targets[group])]
    groups = [part for part in parts if len(part) > 1]
    where, whose = (" in the same class", " of a class") if data.learning_task.is_learnt else ("", "")
    if not groups:
        return check.make_passed(f"no two files{whose} among {len(data.uris):,} have the same bytes")
    extra = sum(len(group) - 1 for group in groups)
    sentence = (
        f"{format_count(extra, 'exact copy')} of {format_count(len(groups))}{where} (such as "
        f"{format_uris(data, groups[0])})"
    )
    fix = "remove the copies; until then they stay on one side of every split that is drawn"
    later = np.concatenate([group[1:] for group in groups])
    rows = np.concatenate(groups)
    return check.make_issue(sentence, fix, rows=rows, remove_rows=later, links=link_groups(groups))


PLUGIN = Check("D101", "exact duplicates", "files", _check_exact_duplicates)
