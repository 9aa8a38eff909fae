"""Files with equal bytes under two labels."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, count, uris
from headstart.data.duplicates.duplicate_checks import chain, copies


def _look(check: Check, given: AuditInput) -> Outcome:
    data = given.data
    targets = np.asarray(data.targets)
    found = [group for group in copies(data) if len(np.unique(targets[group])) > 1]
    if not found:
        return check.passed(f"none of {count(len(data.uris))} lies in two classes")
    verb = "lies" if len(found) == 1 else "lie"
    sentence = f"{count(len(found))} {verb} in two classes or more ({uris(data, found[0])})"
    fix = "keep each under its right label and remove the other copy: a model cannot learn both"
    links = [link for group in found for link in chain(group)]
    return check.issue(sentence, fix, rows=np.concatenate(found), links=links)


PLUGIN = Check("D102", "exact duplicates under two labels", "files", _look)
