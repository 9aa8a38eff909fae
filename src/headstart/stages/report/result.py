"""The first two sections: the result beside its baselines, and what it means in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headstart.core.files import show
from headstart.core.types import Evaluation, Score, Verdict
from headstart.stages.report import words
from headstart.stages.report.findings import ReportInput

HEADLINE = ("accuracy", "balanced_accuracy")
BESIDE = ("log_loss", "macro_f1", "roc_auc")
QUESTIONS = {
    "transfer": "Does the pre-training pay here?",
    "overfitting": "Does it overfit?",
    "enough_data": "Are there enough pictures?",
    "calibration": "Can its certainty be trusted?",
    "imbalance": "Do rare classes suffer?",
    "leakage": "Do look-alikes flatter the score?",
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
        "split": words.SPLITS.get(found.split, found.split),
        "split_note": words.SPLIT_NOTES.get(found.split, ""),
        "main": [own[name] for name in HEADLINE if name in own],
        "table": _table(own, found),
        "verdicts": [_verdict(v) for v in found.verdicts if v.code != "headline"],
    }


def _headline(accuracy: Score | None, split: str) -> str:
    if accuracy is None:
        return "The model was fitted, and its accuracy was not measured"
    where = {
        "test": "pictures it had never seen",
        "val": "pictures of the validation folder",
        "cv": "pictures, each held out in turn",
    }.get(split, f"pictures ({split})")
    return f"{words.percent(accuracy.value)} of {accuracy.n:,} {where} are answered rightly"


def _verdict(verdict: Verdict) -> dict[str, str]:
    question = QUESTIONS.get(verdict.code, verdict.code.replace("_", " ").capitalize())
    return {"question": question, "answer": verdict.answer, "sentence": show(verdict.sentence)}


def _table(own: Mapping[str, Score], found: Evaluation) -> dict[str, Any]:
    """The model and its baselines, one row each, the same scores in the same columns."""
    known = {s.name for s in found.baselines}
    columns = [*HEADLINE, *(name for name in BESIDE if name in known and name in own)]
    rows = [{"subject": "this model", "own": True, "scores": [own.get(name) for name in columns]}]
    for subject in dict.fromkeys(s.subject for s in found.baselines):
        theirs = _by_name((s for s in found.baselines if s.subject == subject), found.split)
        rows.append({"subject": show(subject), "own": False, "scores": [theirs.get(name) for name in columns]})
    return {"columns": columns, "rows": rows, "split": found.split}


def _by_name(scores: Iterable[Score], split: str) -> dict[str, Score]:
    """The score of each name, of the split that judges where there is one."""
    return {s.name: s for s in sorted(scores, key=lambda s: s.split == split)}
