"""The first two sections: the result beside its baselines, and what it means in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.core.storage.files import format_printable
from headstart.core.types import Dataset, Evaluation, Score, Verdict, list_verdicts
from headstart.data.splits import count_straddling, describe_straddling
from headstart.reporting import formatting
from headstart.reporting.report_data import ReportInput
from headstart.reporting.sections.decision import make_decision_view
from headstart.reporting.sections.domain import format_scope

BESIDE = ("log_loss", "binary_log_loss", "macro_f1", "roc_auc")
NESTED = (
    "No picture was held back for a test. What is told of this model comes from nested cross-validation, where the "
    "whole search is made anew without each fold"
)
PLAIN = (
    "No picture was held back, and there are no nested scores: the folds of cross-validation also chose the model, so "
    "all scores are optimistic"
)
QUESTIONS = {
    "transfer": "Does the pre-training pay here?",
    "overfitting": "Does it overfit?",
    "enough_data": "Are there enough pictures?",
    "uneven_classes": "Is a class missed far more than others?",
    "uneven_labels": "Is a label missed far more than others?",
    "fine_tuning": "Does fine-tuning pay here?",
    "negative_transfer": "Does the pre-training harm here?",
    "data_saved": "Does the pre-training save pictures?",
    "unknown": "Does it know what it does not know?",
}


def make_result_view(report: ReportInput) -> dict[str, Any]:
    """What the template `result.html` shows."""
    evaluation = report.evaluation
    if evaluation is None:
        headline = "The model was fitted, and nothing is claimed of it"
        headline = headline if report.refusal else "This run has not come to its result yet"
        return {"headline": headline, "lead": report.refusal, "main": [], "table": None, "verdicts": []}
    by_name = {s.name: s for s in evaluation.scores if not s.subject and s.split == evaluation.split}
    task = report.dataset.learning_task
    return {
        "headline": _format_headline(by_name, evaluation, report),
        "lead": next((v.sentence for v in evaluation.verdicts if v.code == "headline"), ""),
        "split": formatting.SPLITS.get(evaluation.split, evaluation.split),
        "split_note": formatting.SPLIT_NOTES.get(evaluation.split, ""),
        "main": [by_name[name] for name in task.headline[:2] if name in by_name],
        "shares": not (task.is_number or task.ordered),
        "table": _baseline_table(by_name, evaluation, report.dataset),
        "verdicts": [_verdict_view(v) for v in list_verdicts(evaluation, report.uncertainty) if v.code != "headline"],
        "folds": "" if evaluation.split != "cv" else PLAIN if evaluation.is_optimistic else NESTED,
        "decision": make_decision_view(report, evaluation),
    }


def _format_headline(by_name: Mapping[str, Score], evaluation: Evaluation, report: ReportInput) -> str:
    splits, data = report.splits, report.dataset
    score = by_name.get("accuracy") or by_name.get("mae") or by_name.get("mean_average_precision")
    if score is None:
        return "The model was fitted, and its accuracy was not measured"
    judged_on = {
        "test": "pictures it had never seen",
        "val": "pictures of the validation folder",
        "cv": "pictures, each held out in turn,",
    }.get(evaluation.split, f"pictures ({evaluation.split})")
    if splits is not None and (count := count_straddling(splits, evaluation.rows)):
        judged_on = f"pictures, {count:,} of which {describe_straddling(data)},"
    optimism = " (optimistic: the same folds chose the model)" if evaluation.is_optimistic else ""
    if report.shift is not None:
        optimism += f" ({format_scope(report.adaptation)})"
    if score.name == "mae":
        return f"{score.n:,} {judged_on} are answered {score.value:.3g} off on average{optimism}"
    if score.name != "accuracy":
        name = formatting.format_label(score.name).capitalize()
        return f"{name} is {formatting.format_percent(score.value)} on {score.n:,} {judged_on}{optimism}"
    off = by_name.get("mean_rank_error")
    ranks = f", {off.value:.2g} ranks off on average" if off else ""
    return f"{formatting.format_percent(score.value)} of {score.n:,} {judged_on} are answered rightly{ranks}{optimism}"


def _verdict_view(verdict: Verdict) -> dict[str, str]:
    question = QUESTIONS.get(verdict.code, verdict.code.replace("_", " ").capitalize())
    return {"question": question, "answer": verdict.answer, "sentence": verdict.sentence}


def _baseline_table(by_name: Mapping[str, Score], evaluation: Evaluation, data: Dataset) -> dict[str, Any]:
    """The model and its baselines in groups that were judged on the same pictures; the same scores in all columns."""
    baseline_names = {s.name for s in evaluation.baselines}
    beside = (name for name in BESIDE if name in baseline_names and name in by_name)
    columns = list(dict.fromkeys([*data.learning_task.headline, *beside]))
    groups: dict[str, dict[str, Any]] = {
        evaluation.split: {"n": 0, "rows": [_table_line("this model", by_name, columns, is_model=True)]}
    }
    # such as without near-duplicates
    partial = [s for s in evaluation.scores if s.subject and s.subject not in data.class_names]
    lines: dict[tuple[str, str], dict[str, Score]] = {}
    for score in (s for s in (*partial, *evaluation.baselines) if s.name in columns):
        lines.setdefault((score.split, score.subject), {})[score.name] = score
    for (split, subject), scores in lines.items():
        group = groups.setdefault(split, {"n": max(s.n for s in scores.values()), "rows": []})
        name = f"this model {subject}" if any(s.subject == subject for s in partial) else subject
        group["rows"].append(_table_line(name, scores, columns))
    return {"columns": columns, "groups": groups, "split": evaluation.split}


def _table_line(
    subject: str, scores: Mapping[str, Score], columns: list[str], *, is_model: bool = False
) -> dict[str, Any]:
    return {"subject": format_printable(subject), "own": is_model, "scores": [scores.get(name) for name in columns]}
