"""Classes or labels with fewer pictures to learn from than cross-validation has folds."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Finding, Outcome
from headstart.data.check_base import Check, count_per_class, find_learning_rows, format_count, format_uris
from headstart.data.groups import can_judge

LEAST = 2  # one picture cannot be both learnt from and judged


def _check_few_pictures(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    if data.learning_task.is_number:
        return check.make_not_applicable("the targets are numbers, and it asks about classes")
    word, needed = ("label", 0) if data.learning_task.has_labels else ("class", LEAST)
    rows = find_learning_rows(data)
    learn, everywhere = count_per_class(data, rows), count_per_class(data, np.arange(len(data.uris)))
    there = [c for c in range(len(learn)) if everywhere[c] > 0]
    hopeless = [c for c in there if learn[c] < needed]
    few = [c for c in there if needed <= learn[c] < audit_input.folds]
    findings = [_make_hopeless_finding(check, audit_input, rows, c) for c in hopeless]
    if few:
        class_sizes = ", ".join(f"`{data.class_names[c]}` {learn[c]}" for c in few)
        sentence = (
            f"{format_count(len(few), word)} with fewer than {audit_input.folds} pictures, the folds asked "
            f"for: {class_sizes}"
        )
        fewer = "fewer folds are drawn, and " if word == "class" else ""
        fix = f"add pictures; until then {fewer}scores of these mean little"
        findings.append(check.make_finding("warning", sentence, fix))
    if findings:
        return check.make_outcome(findings)
    least = int(learn[everywhere > 0].min()) if everywhere.any() else 0
    return check.make_passed(f"each {word} has at least {format_count(least)} for {audit_input.folds} folds")


def _make_hopeless_finding(check: Check, audit_input: AuditInput, rows: np.ndarray, label: int) -> Finding:
    data = audit_input.data
    class_rows = [int(row) for row in rows if data.targets[row] == label]
    place = " in `train`" if any(data.split) else ""
    examples = f" ({format_uris(data, class_rows)})" if class_rows else ""
    pictures = f"{format_count(len(class_rows))}{place}{examples}"
    sentence = f"class `{data.class_names[label]}` has {pictures}: it cannot be cross-validated"
    fix = f"add pictures to it (at least {audit_input.folds}), merge it with another class, or remove it"
    severity = "error" if can_judge(data) else "warning"
    fix += "" if severity == "error" else "; until then the model is fitted, and nothing is claimed of it"
    return check.make_finding(severity, sentence, fix, rows=class_rows, uris=[data.uris[row] for row in class_rows])


PLUGIN = Check("D003", "few pictures in a class", "files", _check_few_pictures, of_labels=True)
