"""Classes without a usable picture."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, class_counts, count, some


def _look(check: Check, given: AuditInput) -> Outcome:
    data = given.data
    per_class = class_counts(data, np.arange(len(data.uris)))
    empty = [name for name, n in zip(data.class_names, per_class, strict=True) if n == 0]
    if len(empty) > len(data.class_names) - 2:
        left = len(data.class_names) - len(empty)
        sentence = f"{count(left, 'class')} with usable pictures, and at least 2 are needed"
        return check.found(
            [check.finding("error", sentence, "put the pictures of each class into a folder of its own")]
        )
    if not empty:
        return check.passed(f"each of the {len(per_class)} classes has pictures")
    verb = "has" if len(empty) == 1 else "have"
    sentence = f"{count(len(empty), 'class')} {verb} no usable picture and can never be the answer: {some(empty)}"
    return check.issue(sentence, "add pictures, or remove the folder")


PLUGIN = Check("D002", "empty classes", "files", _look)
