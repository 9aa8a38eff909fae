"""How far the answers of a model of numbers are off: a chart, the largest errors, and numbers that are suspect."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.core.storage.files import format_printable
from headstart.reporting import formatting
from headstart.reporting.charts import draw_answers_by_truth
from headstart.reporting.page_images import Thumbnails
from headstart.reporting.report_data import ReportInput
from headstart.statistics.sampling import evenly_spaced

SHOWN = 24  # thumbnails
POINTS = 1_000  # of the chart


def make_errors_view(report: ReportInput, thumbs: Thumbnails) -> dict[str, Any] | None:
    """What the template `errors.html` shows; None when nothing was judged, and for classes."""
    evaluation, data = report.evaluation, report.dataset
    if evaluation is None or data.learning_task.has_classes:
        return None
    rows, answers = np.asarray(evaluation.rows), np.asarray(evaluation.probabilities)[:, 0]
    truth = np.asarray(data.targets)[rows]
    order = np.argsort(-np.abs(answers - truth), kind="stable")[:SHOWN]
    some = evenly_spaced(len(rows), POINTS)
    suspects = zip(evaluation.suspects[:SHOWN].tolist(), evaluation.rival_probabilities, strict=False)
    name = format_printable(data.output_names[0])
    return {
        "chart": draw_answers_by_truth(truth[some], answers[some], name="errors", label=name),
        "judged": len(rows),
        "split": formatting.format_judged_on(evaluation),
        "worst": [_make_example(thumbs, rows[place], answers[place]) for place in order],
        "suspects": [_make_example(thumbs, row, answer) for row, answer in suspects],
    }


def _make_example(thumbs: Thumbnails, row: int, answer: float) -> dict[str, Any]:
    return {"thumb": thumbs.make_thumbnail(row), "answer": f"{answer:.5g}", "chance": "", "elsewhere": ""}
