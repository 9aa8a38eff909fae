"""What a threshold or costs came to: how the positive class is found, or what an answer costs on average."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.core.storage.files import format_printable
from headstart.core.types import Evaluation
from headstart.reporting.report_data import ReportInput
from headstart.statistics.intervals import make_score, mean_interval


def make_decision_view(report: ReportInput, evaluation: Evaluation) -> dict[str, Any] | None:
    """A sentence and the scores it is about, named; None where the most probable class is answered."""
    if evaluation.threshold is not None:
        return _threshold_view(report.job.positive, evaluation.threshold, evaluation)
    return _costs_view(report, evaluation) if report.costs is not None else None


def _threshold_view(positive: str, threshold: float, evaluation: Evaluation) -> dict[str, Any]:
    by_name = {s.name: s for s in evaluation.scores if s.split == evaluation.split and s.subject == positive}
    measured = [name for name in ("precision", "recall") if name in by_name]
    named = [(f"{name} of", format_printable(positive), by_name[name]) for name in measured]
    sentence = (
        f"`{positive}` is answered wherever its probability reaches {threshold:.3f}, the threshold of the best F1 in "
        "cross-validation on the training pictures"
    )
    return {"sentence": sentence, "scores": named}


def _costs_view(report: ReportInput, evaluation: Evaluation) -> dict[str, Any]:
    mean_costs = [s for s in evaluation.scores if (s.split, s.name, s.subject) == (evaluation.split, "mean_cost", "")]
    named = [("this model", "", score) for score in mean_costs]
    if report.splits is not None:
        most = int(np.argmax(np.bincount(np.asarray(report.dataset.targets)[report.splits.train])))
        rows = np.asarray(evaluation.rows)
        costs = np.asarray(report.costs)[np.asarray(report.dataset.targets)[rows], most]
        interval = mean_interval(costs, np.asarray(report.splits.clusters)[rows])
        score = make_score("mean_cost", evaluation.split, interval, len(rows), method="t")
        named.append(("always answering", format_printable(report.dataset.class_names[most]), score))
    sentence = "the answer is the class with the lowest expected cost; this is the mean cost a picture, lower is better"
    return {"sentence": sentence, "scores": named}
