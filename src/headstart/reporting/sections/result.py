"""The first two sections: the result beside its baselines, and what it means in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.core.storage.files import format_printable
from headstart.core.types import Evaluation, Score, Verdict
from headstart.reporting import formatting
from headstart.reporting.report_data import ReportInput
from headstart.reporting.sections.decision import decision

HEADLINE = ("accuracy", "balanced_accuracy")
BESIDE = ("log_loss", "macro_f1", "roc_auc")
NESTED = (
    "No picture was held back for a test. The scores of this model come from nested cross-validation, where the whole "
    "search is made anew without each fold; the confusion matrix, the mistakes, the certainty and the overfitting "
    "verdict come from plain cross-validation of the chosen model, which flatters a little"
)
PARTLY = (
    "No picture was held back for a test. Of this model's scores {} come from nested cross-validation; all that "
    "rests on its answers, accuracy included, comes from plain cross-validation, which flatters a little"
)
PLAIN = (
    "No picture was held back for a test, and there are no nested scores: all come from plain cross-validation of the "
    "model that was chosen by it, which flatters a little"
)
QUESTIONS = {
    "transfer": "Does the pre-training pay here?",
    "overfitting": "Does it overfit?",
    "enough_data": "Are there enough pictures?",
    "uneven_classes": "Is a class mostly missed?",
    "fine_tuning": "Does fine-tuning pay here?",
    "negative_transfer": "Does the pre-training harm here?",
    "data_saved": "Does the pre-training save pictures?",
}


def view(given: ReportInput) -> dict[str, Any]:
    """What the template `result.html` shows."""
    found = given.evaluation
    if found is None:
        return {"headline": "This run has not come to its result yet", "main": [], "table": None, "verdicts": []}
    own = {s.name: s for s in found.scores if not s.subject and s.split == found.split}
    return {
        "headline": _headline(own.get("accuracy"), found.split),
        "lead": next((v.sentence for v in found.verdicts if v.code == "headline"), ""),
        "split": formatting.SPLITS.get(found.split, found.split),
        "split_note": formatting.SPLIT_NOTES.get(found.split, ""),
        "main": [own[name] for name in HEADLINE if name in own],
        "table": _table(own, found, given.dataset.class_names),
        "verdicts": [_verdict(v) for v in found.verdicts if v.code != "headline"],
        "folds": _folds(own, found.split, given.adapted.nested if given.adapted else ()),
        "decision": decision(given, found),
    }


def _folds(own: Mapping[str, Score], split: str, nested: Sequence[Score]) -> str:
    """Without a test split: which numbers are nested and which are not."""
    if split != "cv":
        return ""
    if own.get("accuracy") in nested:
        return NESTED
    inside = [formatting.label(name) for name, score in own.items() if score in nested]
    return (
        PARTLY.format(" and ".join([", ".join(inside[:-1]), inside[-1]] if inside[1:] else inside)) if inside else PLAIN
    )


def _headline(accuracy: Score | None, split: str) -> str:
    if accuracy is None:
        return "The model was fitted, and its accuracy was not measured"
    where = {
        "test": "pictures it had never seen",
        "val": "pictures of the validation folder",
        "cv": "pictures, each held out in turn,",
    }.get(split, f"pictures ({split})")
    return f"{formatting.percent(accuracy.value)} of {accuracy.n:,} {where} are answered rightly"


def _verdict(verdict: Verdict) -> dict[str, str]:
    question = QUESTIONS.get(verdict.code, verdict.code.replace("_", " ").capitalize())
    return {"question": question, "answer": verdict.answer, "sentence": verdict.sentence}


def _table(own: Mapping[str, Score], found: Evaluation, class_names: tuple[str, ...]) -> dict[str, Any]:
    """The model and its baselines in groups that were judged on the same pictures; the same scores in all columns."""
    known = {s.name for s in found.baselines}
    columns = [*HEADLINE, *(name for name in BESIDE if name in known and name in own)]
    groups: dict[str, dict[str, Any]] = {found.split: {"n": 0, "rows": [_line("this model", own, columns, own=True)]}}
    apart = [s for s in found.scores if s.subject and s.subject not in class_names]  # such as without near-duplicates
    for split, subject in dict.fromkeys((s.split, s.subject) for s in (*apart, *found.baselines)):
        theirs = {s.name: s for s in (*apart, *found.baselines) if (s.split, s.subject) == (split, subject)}
        group = groups.setdefault(split, {"n": max(s.n for s in theirs.values()), "rows": []})
        name = f"this model {subject}" if any(s.subject == subject for s in apart) else subject
        group["rows"].append(_line(name, theirs, columns))
    return {"columns": columns, "groups": groups, "split": found.split}


def _line(subject: str, scores: Mapping[str, Score], columns: list[str], *, own: bool = False) -> dict[str, Any]:
    return {"subject": format_printable(subject), "own": own, "scores": [scores.get(name) for name in columns]}
