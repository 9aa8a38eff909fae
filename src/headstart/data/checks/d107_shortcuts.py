"""Properties of the files, such as size, format or camera, that tell the class without a look at the content."""

from __future__ import annotations

from headstart.core.types import AuditInput, Finding, Outcome
from headstart.data.check_base import Check, format_count, format_names
from headstart.data.shortcuts import LEAST_ROWS, MADE, Shortcut, judge_properties

_UNSEEN = "marks inside the pictures, such as a stamp, a text or a background, are not looked for"


def _check_shortcuts(check: Check, audit_input: AuditInput) -> Outcome:
    shortcuts = judge_properties(audit_input.data)
    if not shortcuts:
        why = f"two classes of {LEAST_ROWS} pictures, two groups and a property that differs are needed"
        return check.make_not_applicable(why)
    findings = [_describe_shortcut(check, each, len(shortcuts)) for each in shortcuts if each.is_certain]
    if findings:
        return check.make_outcome(findings)
    strongest = f"the strongest is {shortcuts[0].name}, {_format_score(shortcuts[0])}"
    return check.make_passed(
        f"of {format_count(len(shortcuts), 'property')} none tells the class; {strongest}; {_UNSEEN}"
    )


def _describe_shortcut(check: Check, shortcut: Shortcut, n_properties: int) -> Finding:
    answer = "the class" if shortcut.gain >= MADE else "something of the class"
    if shortcut.gain < MADE and shortcut.classes:
        answer = f"{format_names(shortcut.classes)} from all others"
    among = format_count(n_properties, "property")
    sentence = f"{shortcut.name} alone tells {answer}: {_format_score(shortcut)}; one of {among}"
    fix = (
        "a model may learn this instead of the content: give every class pictures that were taken and saved alike, and "
        "test on pictures where it does not hold"
    )
    if shortcut.large > MADE:
        fix = f"see whether this is content, as a colour can be; if not, {fix}"
    return check.make_finding("warning" if shortcut.is_large else "info", sentence, fix)


def _format_score(shortcut: Shortcut) -> str:
    score = shortcut.score
    interval = f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}]"
    return f"balanced accuracy {interval} (n = {score.n:,}; {shortcut.chance:.2f} is chance)"


PLUGIN = Check("D107", "shortcuts", "files", _check_shortcuts, of_classes=True)
