"""Class by class, learnt against held out, how far its certainty can be believed, and the learning so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.core.storage.files import format_printable
from headstart.core.types import CalibrationBin, Evaluation, FitResult, Score
from headstart.evaluation import curve_forecast
from headstart.reporting import formatting
from headstart.reporting.charts import draw_learning_curve, draw_reliability
from headstart.reporting.report_data import ReportInput
from headstart.statistics.intervals import wilson_interval

PER_CLASS = ("precision", "recall", "specificity", "f1", "roc_auc", "average_precision")
SPLITS = ("train", "cv", "val", "test")
MANY = 25  # classes; above, the worst come first


def make_classes_view(report: ReportInput) -> dict[str, Any] | None:
    """What the template `classes.html` shows; None when nothing was judged."""
    evaluation = report.evaluation
    if evaluation is None:
        return None
    word = "label" if report.dataset.learning_task.has_labels else "class"
    return {
        "word": word,
        "title": f"{word.capitalize()} by {word}",
        "split": formatting.SPLITS.get(evaluation.split, evaluation.split),
        "bins_of": formatting.format_judged_on(evaluation),
        "per_class": _class_scores(evaluation, report.dataset.class_names),
        "splits": _split_scores(evaluation, report.adapted),
        "reliability": _draw_reliability(evaluation),
        "bins": [(b, _bin_accuracy(b)) for b in evaluation.calibration],
        **_view_curve(report),
    }


def _class_scores(evaluation: Evaluation, class_names: tuple[str, ...]) -> dict[str, Any]:
    by_class = {(s.subject, s.name): s for s in evaluation.scores if s.subject and s.split == evaluation.split}
    many = len(class_names) > MANY
    names = sorted(class_names, key=lambda name: _sort_key(by_class.get((name, "f1")))) if many else class_names
    columns = [name for name in PER_CLASS if any(name == measured for _, measured in by_class)]
    rows = [{"name": format_printable(name), "scores": [by_class.get((name, s)) for s in columns]} for name in names]
    sorted_by = "F1, the worst first" if many else ""
    return {"columns": columns, "rows": rows, "sorted_by": sorted_by, "any": bool(by_class)}


def _sort_key(score: Score | None) -> float:
    return score.value if score is not None and np.isfinite(score.value) else np.inf


def _split_scores(evaluation: Evaluation, adapted: FitResult | None) -> dict[str, Any]:
    """Every score over all classes, one column a split; nested cross-validation counts as its own."""
    by_split = {(s.split, s.name): s for s in evaluation.scores if not s.subject}
    for score in adapted.nested if adapted else ():
        by_split.setdefault((score.split, score.name), score)
    scored = dict.fromkeys(split for split, _ in by_split)
    splits = [*(split for split in SPLITS if split in scored), *(split for split in scored if split not in SPLITS)]
    names = dict.fromkeys(name for _, name in by_split)
    rows = [{"name": name, "scores": [by_split.get((split, name)) for split in splits]} for name in names]
    return {"splits": splits, "rows": rows}


def _draw_reliability(evaluation: Evaluation) -> str:
    if not evaluation.calibration:
        return ""
    title = "How often the model was right against how sure it was; the table below holds the same numbers."
    ends = [(s.low, s.high) for s in map(_bin_accuracy, evaluation.calibration)]
    return draw_reliability(evaluation.calibration, ends, name="reliability", title=title)


def _bin_accuracy(calibration_bin: CalibrationBin) -> Score:
    value, low, high = wilson_interval(calibration_bin.accuracy * calibration_bin.n, calibration_bin.n)
    return Score(split="", name="accuracy", value=value, low=low, high=high, n=calibration_bin.n, method="wilson")


def _view_curve(report: ReportInput) -> dict[str, Any]:
    """The curve as it was measured and as it is expected to go on, and what the next round scores take."""
    adapted, n_outputs = report.adapted, curve_forecast.count_classes(report.dataset)
    if adapted is None or len(adapted.curve) < 2:
        return {"curve": ""}
    forecasts = curve_forecast.list_forecasts(adapted.curve, n_outputs)
    labelled = len(adapted.train_probabilities)
    targets = curve_forecast.list_targets(adapted.curve, labelled, n_outputs)
    metric = formatting.format_label(adapted.curve[0].score.name)
    title = (
        f"The {metric} by the number of pictures learnt from, with its interval"
        f"{', and what is expected of more' if forecasts else ''}; the tables below have the numbers."
    )
    points = [(p.n_train, p.score.value, p.score.low, p.score.high) for p in adapted.curve]
    bands = [(size, *band) for size, band in forecasts.items()]
    return {
        "curve": draw_learning_curve(points, bands, name="curve", y_label=metric, title=title),
        "points": adapted.curve,
        "forecasts": forecasts,
        "untold": curve_forecast.format_untold(n_outputs),
        "furthest": curve_forecast.FURTHEST,
        "band": curve_forecast.BAND,
        "labelled": labelled,
        "targets": [(target, curve_forecast.format_more(more)) for target, more in targets.items()],
    }
