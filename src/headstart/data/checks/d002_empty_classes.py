"""Classes without a usable picture."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, count_per_class, format_count, format_names


def _check_empty_classes(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    per_class = count_per_class(data, np.arange(len(data.uris)))
    empty = [name for name, n in zip(data.class_names, per_class, strict=True) if n == 0]
    if len(empty) > len(data.class_names) - 2:
        filled = len(data.class_names) - len(empty)
        sentence = f"{format_count(filled, 'class')} with usable pictures, and at least 2 are needed"
        return check.make_outcome(
            [check.make_finding("error", sentence, "put the pictures of each class into a folder of its own")]
        )
    if not empty:
        return check.make_passed(f"each of the {len(per_class)} classes has pictures")
    verb = "has" if len(empty) == 1 else "have"
    sentence = (
        f"{format_count(len(empty), 'class')} {verb} no usable picture and can never be the answer: "
        f"{format_names(empty)}"
    )
    return check.make_issue(sentence, "add pictures, or remove the folder")


PLUGIN = Check("D002", "empty classes", "files", _check_empty_classes, of_classes=True)
