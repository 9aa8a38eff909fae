"""Files with equal bytes inside one class."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, count, uris
from headstart.data.duplicates.duplicate_checks import chain, copies


def _look(check: Check, given: AuditInput) -> Outcome:
    data = given.data
    targets = np.asarray(data.targets)
    found = [part for group in copies(data) for part in _by_class(group, targets) if len(part) > 1]
    if not found:
        return check.passed(f"no two files of a class among {len(data.uris):,} have the same bytes")
    extra = sum(len(group) - 1 for group in found)
    sentence = f"{count(extra, 'exact copy')} of {count(len(found))} in the same class (such as {uris(data, found[0])})"
    fix = "remove the copies; until then they stay on one side of every split that is drawn"
    links = [link for group in found for link in chain(group)]
    return check.issue(sentence, fix, rows=np.concatenate(found), links=links)


def _by_class(group: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
    return [group[targets[group] == label] for label in np.unique(targets[group])]


PLUGIN = Check("D101", "exact duplicates", "files", _look)
