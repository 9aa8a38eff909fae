"""Files with equal bytes under two labels."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count, format_uris
from headstart.data.duplicates.copy_detection import find_copies, link_groups
from headstart.data.strata import encode_targets


def _check_two_labels(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    targets = encode_targets(np.asarray(data.targets))
    groups = [group for group in find_copies(data) if len(np.unique(targets[group])) > 1]
    if not groups:
        return check.make_passed(f"none of {format_count(len(data.uris))} is under two labels")
    verb = "is" if len(groups) == 1 else "are"
    sentence = f"{format_count(len(groups))} {verb} under two labels or more ({format_uris(data, groups[0])})"
    fix = "keep each under its right label and remove the other copy: a model cannot learn both"
    return check.make_issue(sentence, fix, rows=np.concatenate(groups), links=link_groups(groups))


PLUGIN = Check("D102", "exact duplicates under two labels", "files", _check_two_labels, of_labels=True)
