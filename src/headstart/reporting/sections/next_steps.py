"""What to do next: what the findings of a run ask of its user, the most urgent first."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headstart.core.storage.files import format_printable
from headstart.core.types import Evaluation
from headstart.core.types.domain import ENOUGH_LABELS
from headstart.domain_adaptation.shift.measure_shift import LABELLED
from headstart.reporting import formatting
from headstart.reporting.report_data import ReportInput

MOST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """One thing to do: a sentence, a command that does it or none, and the part of the page that says more."""

    sentence: str
    command: str = ""
    section: str = ""
    link: str = ""


def list_next_steps(report: ReportInput) -> list[NextStep]:
    """At most five; empty for a run without a result. RUN stands for its folder, DATA for that of its pictures."""
    evaluation = report.evaluation
    if evaluation is None:
        return []
    steps = _label_target(report) + _mend_pictures(report, evaluation) + _collect_pictures(report, evaluation)
    if evaluation.split == "cv":
        sentence = "Judge it on labelled pictures of their own: none were held back here"
        steps.append(NextStep(sentence=sentence, command="headstart evaluate RUN DATA"))
    accuracy = next((s.value for s in evaluation.scores if s.name == "accuracy" and not s.subject), 1.0)
    tuning = report.adapted.tuning if report.adapted else None
    paid = next((verdict.answer for verdict in evaluation.verdicts if verdict.code == "fine_tuning"), "")
    command = f"headstart fit DATA{'' if report.shift is None else ' --unlabeled NEW'} --strategy auto --budget 10m"
    if tuning is None and accuracy < 1:
        steps.append(
            NextStep(sentence="See whether training the network itself pays: it was not tried", command=command)
        )
    elif tuning is not None and tuning.taken and paid != "yes":
        sentence = "Let the run choose: the trained network was asked for, and is not shown to be better than the probe"
        steps.append(NextStep(sentence=sentence, command=command))
    use = NextStep(
        sentence="Try it on pictures of yours",
        command="headstart predict RUN FOLDER",
        section="use",
        link="all commands",
    )
    return [*steps[: MOST - 1], use]


def _label_target(report: ReportInput) -> list[NextStep]:
    """Labels of the new domain, where too few are there to measure anything on it."""
    if report.shift is None:
        return []
    count = next((score.n for score in report.shift.accuracy if score.subject == LABELLED), 0)
    if count >= ENOUGH_LABELS:
        return []
    label = NextStep(
        sentence=f"Label {ENOUGH_LABELS} to {2 * ENOUGH_LABELS} of the new pictures ({count or 'none'} so far): random "
        "ones to measure accuracy, or those that it is least sure of, to learn from",
        command=f"headstart suggest RUN -n {2 * ENOUGH_LABELS} --sheet next.html",
    )
    fit = NextStep(
        sentence="Move them to `NEW/labelled/CLASS` and fit again; without the last setting they only judge",
        command="headstart fit DATA --unlabeled NEW --target-labels learn",
    )
    return [label, fit]


def _mend_pictures(report: ReportInput, evaluation: Evaluation) -> list[NextStep]:
    issues = [outcome.name for audit in report.audits for outcome in audit.outcomes if outcome.status == "issue"]
    steps = []
    if issues:
        sentence = f"Look at what the checks of the pictures found: {formatting.format_list(issues)}"
        steps.append(NextStep(sentence=sentence, section="audit", link="the checks"))
    count = round(evaluation.wrong_labels[0]) if evaluation.wrong_labels else len(evaluation.suspects)
    if count and len(evaluation.suspects):
        sentence = f"Look at the labels that may be wrong, the likeliest first; expect about {count:,} that are"
        section = "mistakes" if report.dataset.learning_task.has_classes else "errors"
        steps.append(NextStep(sentence=sentence, section=section, link="the suspects"))
    return steps


def _collect_pictures(report: ReportInput, evaluation: Evaluation) -> list[NextStep]:
    answers = {verdict.code: verdict.answer for verdict in evaluation.verdicts}
    recalls = [
        (score.value, score.subject)
        for score in evaluation.scores
        if score.name == "recall" and score.split == evaluation.split and score.subject in report.dataset.class_names
        if math.isfinite(score.value)
    ]
    is_uneven = "yes" in (answers.get("uneven_classes"), answers.get("uneven_labels"))
    if answers.get("enough_data") != "no" and not is_uneven:
        return []
    if not recalls or not is_uneven:  # where classes tie, more pictures of one cost the others more than it gains
        return [NextStep(sentence="Collect more pictures, drawn as these were: they would help")]
    value, name = min(recalls)
    recall = f"of which {formatting.format_percent(value)} are recognised"
    word = "label" if report.dataset.learning_task.has_labels else "class"
    sentence = f"Collect more pictures, above all of `{format_printable(name)}`, {recall}"
    return [NextStep(sentence=sentence, section="classes", link=f"{word} by {word}")]
