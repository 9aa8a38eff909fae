"""Classes with fewer pictures to learn from than cross-validation has folds."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Finding, Outcome
from headstart.data.check_base import Check, class_counts, count, learning_rows, uris

# One picture cannot be both learnt from and judged.
LEAST = 2


def _look(check: Check, given: AuditInput) -> Outcome:
    data = given.data
    rows = learning_rows(data)
    learn, everywhere = class_counts(data, rows), class_counts(data, np.arange(len(data.uris)))
    hopeless = [c for c in range(len(learn)) if learn[c] < LEAST and everywhere[c] > 0]
    few = [c for c in range(len(learn)) if LEAST <= learn[c] < given.folds]
    findings = [_hopeless(check, given, rows, c) for c in hopeless]
    if few:
        named = ", ".join(f"`{data.class_names[c]}` {learn[c]}" for c in few)
        sentence = f"{count(len(few), 'class')} with fewer than {given.folds} pictures, the folds asked for: {named}"
        fix = "add pictures; until then fewer folds are drawn, and scores of these classes mean little"
        findings.append(check.finding("warning", sentence, fix))
    if findings:
        return check.found(findings)
    least = int(learn[everywhere > 0].min()) if everywhere.any() else 0
    return check.passed(f"each class has at least {count(least)} for {given.folds} folds")


def _hopeless(check: Check, given: AuditInput, rows: np.ndarray, label: int) -> Finding:
    data = given.data
    own = [int(row) for row in rows if data.targets[row] == label]
    where = " in `train`" if any(data.split) else ""
    named = f" ({uris(data, own)})" if own else ""
    sentence = f"class `{data.class_names[label]}` has {count(len(own))}{where}{named}: it cannot be cross-validated"
    fix = f"add pictures to it (at least {given.folds}), merge it with another class, or remove it"
    return check.finding("error", sentence, fix, rows=own, uris=[data.uris[row] for row in own])


PLUGIN = Check("D003", "few pictures in a class", "files", _look)
