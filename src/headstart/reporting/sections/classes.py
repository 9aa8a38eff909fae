"""Class by class, learnt against held out, how far its certainty can be believed, and the learning so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.core.storage.files import format_printable
from headstart.core.types import CalibrationBin, Evaluation, FitResult, Score
from headstart.reporting import formatting
from headstart.reporting.charts import learning_curve, reliability
from headstart.reporting.report_data import ReportInput
from headstart.statistics.intervals import wilson_interval

PER_CLASS = ("precision", "recall", "specificity", "f1", "roc_auc", "average_precision")
SPLITS = ("train", "cv", "val", "test")
MANY = 25  # classes; above, the worst come first


def view(given: ReportInput) -> dict[str, Any] | None:
    """What the template `classes.html` shows; None when nothing was judged."""
    found = given.evaluation
    if found is None:
        return None
    return {
        "split": formatting.SPLITS.get(found.split, found.split),
        "bins_of": formatting.judged_on(found.split, given.adapted),
        "per_class": _per_class(found, given.dataset.class_names),
        "splits": _splits(found, given.adapted),
        "reliability": _reliability(found),
        "bins": [(b, _share(b)) for b in found.calibration],
        "curve": _curve(given.adapted),
        "points": given.adapted.curve if given.adapted else (),
        "curve_of": formatting.label(given.adapted.curve[0].score.name)
        if given.adapted and given.adapted.curve
        else "",
    }


def _per_class(found: Evaluation, class_names: tuple[str, ...]) -> dict[str, Any]:
    of = {(s.subject, s.name): s for s in found.scores if s.subject and s.split == found.split}
    many = len(class_names) > MANY
    names = sorted(class_names, key=lambda name: _value(of.get((name, "f1")))) if many else class_names
    rows = [{"name": format_printable(name), "scores": [of.get((name, s)) for s in PER_CLASS]} for name in names]
    return {"columns": PER_CLASS, "rows": rows, "sorted_by": "F1, the worst first" if many else "", "any": bool(of)}


def _value(score: Score | None) -> float:
    return score.value if score is not None and np.isfinite(score.value) else np.inf


def _splits(found: Evaluation, adapted: FitResult | None) -> dict[str, Any]:
    """Every score over all classes, one column a split; nested cross-validation counts as its own."""
    of = {(s.split, s.name): s for s in found.scores if not s.subject}
    for score in adapted.nested if adapted else ():
        of.setdefault((score.split, score.name), score)
    splits = [s for s in dict.fromkeys((*SPLITS, *(split for split, _ in of))) if any(k[0] == s for k in of)]
    names = list(dict.fromkeys(name for _, name in of))
    rows = [{"name": name, "scores": [of.get((split, name)) for split in splits]} for name in names]
    return {"splits": splits, "rows": rows}


def _reliability(found: Evaluation) -> str:
    if not found.calibration:
        return ""
    title = "How often the model was right against how sure it was; the table below holds the same numbers."
    ends = [(s.low, s.high) for s in map(_share, found.calibration)]
    return reliability(found.calibration, ends, name="reliability", title=title)


def _share(of: CalibrationBin) -> Score:
    """The share of right answers in a bin, with its interval."""
    value, low, high = wilson_interval(of.accuracy * of.n, of.n)
    return Score(split="", name="accuracy", value=value, low=low, high=high, n=of.n, method="wilson")


def _curve(adapted: FitResult | None) -> str:
    if adapted is None or len(adapted.curve) < 2:
        return ""
    points = [(p.n_train, p.score.value, p.score.low, p.score.high) for p in adapted.curve]
    of = formatting.label(adapted.curve[0].score.name)
    title = (
        f"The {of} by the number of pictures learnt from, with its interval; the table below holds the same numbers."
    )
    return learning_curve(points, name="curve", y_label=of, title=title)
