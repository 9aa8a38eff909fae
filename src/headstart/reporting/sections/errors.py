"""How far answers that are no classes are off: the largest errors, and numbers or labels that are suspect."""

from __future__ import annotations

from itertools import compress, islice
from typing import Any

import numpy as np

from headstart.core.storage.files import format_printable
from headstart.core.types import PRESENT, Dataset, Evaluation, format_labels
from headstart.reporting import formatting
from headstart.reporting.charts import draw_answers_by_truth
from headstart.reporting.page_images import Thumbnails
from headstart.reporting.report_data import ReportInput
from headstart.statistics.losses import binary_log_losses
from headstart.statistics.sampling import evenly_spaced

SHOWN = 24  # thumbnails
POINTS = 1_000  # of the chart
TITLES = {"regression": "How far off", "multilabel": "Labels missed and label suspects"}


def make_errors_view(report: ReportInput, thumbs: Thumbnails) -> dict[str, Any] | None:
    """What the template `errors.html` shows; None when nothing was judged, and for classes."""
    evaluation, data = report.evaluation, report.dataset
    if evaluation is None or data.learning_task.has_classes:
        return None
    rows, p = np.asarray(evaluation.rows), np.asarray(evaluation.probabilities)
    view = _view_labels if data.learning_task.has_labels else _view_numbers
    shared = {"judged": len(rows), "split": formatting.format_judged_on(evaluation)}
    return shared | view(evaluation, data, np.asarray(data.targets)[rows], p, thumbs)


def _view_numbers(
    evaluation: Evaluation, data: Dataset, truth: np.ndarray, p: np.ndarray, thumbs: Thumbnails
) -> dict[str, Any]:
    answers, some = p[:, 0], evenly_spaced(len(truth), POINTS)
    order = np.argsort(-np.abs(answers - truth), kind="stable")[:SHOWN]
    suspects = zip(evaluation.suspects[:SHOWN].tolist(), evaluation.rival_probabilities, strict=False)
    name = format_printable(data.output_names[0])
    return {
        "title": TITLES["regression"],
        "noun": "number",
        "chart": draw_answers_by_truth(truth[some], answers[some], name="errors", label=name),
        "worst": [_make_example(thumbs, evaluation.rows[place], f"{answers[place]:.5g}") for place in order],
        "suspects": [_make_example(thumbs, row, f"{answer:.5g}") for row, answer in suspects],
    }


def _view_labels(
    evaluation: Evaluation, data: Dataset, truth: np.ndarray, p: np.ndarray, thumbs: Thumbnails
) -> dict[str, Any]:
    """Pictures with a label too many or too few, and labels that are suspect."""
    names, present = tuple(map(format_printable, data.class_names)), p >= PRESENT
    wrong = np.flatnonzero((present != truth).any(axis=1))
    order = wrong[np.argsort(-binary_log_losses(truth, p)[wrong], kind="stable")][:SHOWN]
    suspects = zip(evaluation.suspects.tolist(), evaluation.rival_classes, evaluation.rival_probabilities, strict=True)
    return {
        "title": TITLES["multilabel"],
        "noun": "label",
        "wrong": len(wrong),
        "chart": "",
        "worst": [
            _make_example(thumbs, evaluation.rows[at], format_labels(tuple(compress(names, present[at]))))
            for at in order
        ],
        "suspects": [
            _make_example(thumbs, row, f"{'without' if data.targets[row][c] else 'with'} {names[c]}", f"{chance:.2f}")
            for row, c, chance in islice(suspects, SHOWN)
        ],
        "suspected": len(evaluation.suspects),
        "wrong_labels": formatting.format_wrong_labels(evaluation),
    }


def _make_example(thumbs: Thumbnails, row: int, answer: str, chance: str = "") -> dict[str, Any]:
    return {"thumb": thumbs.make_thumbnail(row), "answer": answer, "chance": chance, "elsewhere": ""}
