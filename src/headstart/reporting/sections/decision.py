"""What a threshold or costs came to: how the positive class is found, or what an answer costs on average."""

from __future__ import annotations

from typing import Any

from headstart.core.storage.files import format_printable
from headstart.core.types import Evaluation
from headstart.evaluation.baselines import ALWAYS
from headstart.reporting.report_data import ReportInput

MEDIAN = "the answer is the grade in the middle of the probabilities, which is the fewest ranks off on average"


def make_decision_view(report: ReportInput, evaluation: Evaluation) -> dict[str, Any] | None:
    """A sentence and the scores it is about, named; None where the most probable class is answered."""
    if evaluation.threshold is not None:
        return _threshold_view(report.job.positive, evaluation.threshold, evaluation)
    if report.dataset.learning_task.ordered and not report.job.costs:
        return {"sentence": MEDIAN, "scores": []}
    return None if report.costs is None else _costs_view(evaluation)


def _threshold_view(positive: str, threshold: float, evaluation: Evaluation) -> dict[str, Any]:
    by_name = {s.name: s for s in evaluation.scores if s.split == evaluation.split and s.subject == positive}
    measured = [name for name in ("precision", "recall") if name in by_name]
    rows = [(f"{name} of", format_printable(positive), by_name[name]) for name in measured]
    sentence = (
        f"`{positive}` is answered wherever its probability reaches {threshold:.3f}, the threshold of the best F1 in "
        "cross-validation on the training pictures"
    )
    return {"sentence": sentence, "scores": rows}


def _costs_view(evaluation: Evaluation) -> dict[str, Any]:
    rows = [
        (
            "always answering" if score.subject else "this model",
            format_printable(score.subject.removeprefix(ALWAYS)),
            score,
        )
        for score in (*evaluation.scores, *evaluation.baselines)
        if (score.split, score.name) == (evaluation.split, "mean_cost")
    ]
    sentence = "the answer is the class with the lowest expected cost; this is the mean cost a picture, lower is better"
    return {"sentence": sentence, "scores": rows}
