"""Where the model is right and wrong: the confusion matrix and the pictures in its cells, mistakes, suspect labels."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from headstart.core.storage.files import format_printable
from headstart.core.types import Dataset, Evaluation
from headstart.heads.decision_rule import choose_classes
from headstart.reporting import formatting
from headstart.reporting.page_images import Thumbnail, Thumbnails
from headstart.reporting.report_data import ReportInput

GRID_CLASSES = 25  # above this many, the most confused pairs are shown instead of a grid
PAIRS = 30
CELL = 12  # thumbnails a cell at most
CELLS = 216  # thumbnails of all cells together at most
ROW = 24  # thumbnails of mistakes, and of suspect labels
LEVELS = 8  # shades


class Answers(NamedTuple):
    """The judged pictures, each (M,): rows of the data set, truth, answer, and the answer's probability."""

    rows: np.ndarray
    truth: np.ndarray
    answer: np.ndarray
    chance: np.ndarray


def judge_answers(report: ReportInput, evaluation: Evaluation) -> Answers:
    """What the model answered on the split that judges, by the same rule as the saved model."""
    rows, p_MC = np.asarray(evaluation.rows), np.asarray(evaluation.probabilities)
    names = report.dataset.class_names
    positive = names.index(report.job.positive) if report.job.positive in names else None
    answer = choose_classes(p_MC, positive=positive, threshold=evaluation.threshold, costs=report.costs)
    chance = p_MC[np.arange(len(rows)), answer] if len(rows) else np.zeros(0)
    return Answers(rows=rows, truth=np.asarray(report.dataset.targets)[rows], answer=answer, chance=chance)


def make_mistakes_view(report: ReportInput, thumbs: Thumbnails) -> dict[str, Any] | None:
    """What the template `mistakes.html` shows; None when nothing was judged, and for numbers."""
    evaluation = report.evaluation
    if evaluation is None or not report.dataset.learning_task.has_classes:
        return None
    judged, confusion = judge_answers(report, evaluation), np.asarray(evaluation.confusion)
    cells = _make_cells(confusion, judged, report.dataset, thumbs)
    other_classes = find_two_labels(report)
    return {
        "names": [format_printable(name) for name in report.dataset.class_names],
        "grid": _grid_view(confusion, cells),
        "pairs": _confused_pairs(confusion, cells),
        "cells": list(cells.values()),
        "worst": _worst_mistakes(judged, report.dataset, thumbs, other_classes),
        "wrong": int((judged.truth != judged.answer).sum()),
        "judged": len(judged.rows),
        "suspects": _label_suspects(report, evaluation, thumbs, other_classes),
        "suspected": len(evaluation.suspects),
        "wrong_labels": formatting.format_wrong_labels(evaluation),
        "split": formatting.format_judged_on(evaluation),
        "threshold": evaluation.threshold,
        "positive": format_printable(report.job.positive),
    }


def _make_cells(
    confusion: np.ndarray, answers: Answers, data: Dataset, thumbs: Thumbnails
) -> dict[tuple[int, int], Any]:
    """Cells whose pictures can be looked at, in reading order: in large tables the most confused pairs alone."""
    few = len(confusion) <= GRID_CLASSES
    chosen = sorted(_filled_cells(confusion) if few else _most_confused(confusion)[:PAIRS])
    off_first = sorted(chosen, key=lambda c: (c[0] == c[1], -confusion[c], c))
    each = max(1, min(CELL, CELLS // max(len(chosen), 1)))
    shown = {c: each if position * each < CELLS else 0 for position, c in enumerate(off_first)}
    return {c: _cell_view(c, shown[c], answers, data, thumbs) for c in chosen}


def _filled_cells(confusion: np.ndarray) -> list[tuple[int, int]]:
    return [(int(t), int(a)) for t, a in np.argwhere(confusion > 0)]


def _most_confused(confusion: np.ndarray) -> list[tuple[int, int]]:
    off = [c for c in _filled_cells(confusion) if c[0] != c[1]]
    return sorted(off, key=lambda c: (-confusion[c], c))


def _cell_view(cell: tuple[int, int], most: int, answers: Answers, data: Dataset, thumbs: Thumbnails) -> dict[str, Any]:
    """Mistakes from the most certain on, right answers from the least certain on: the telling ones first."""
    truth, answer = cell
    positions = np.flatnonzero((answers.truth == truth) & (answers.answer == answer))
    chances = answers.chance[positions] if truth == answer else -answers.chance[positions]
    shown = positions[np.argsort(chances, kind="stable")][:most]
    notes = [formatting.format_number(answers.chance[i], 2) for i in shown]
    pictures = list(map(thumbs.make_thumbnail, answers.rows[shown], notes))
    return {
        "id": f"cell-{truth}-{answer}",
        "truth": format_printable(data.class_names[truth]),
        "answer": format_printable(data.class_names[answer]),
        "right": truth == answer,
        "count": len(positions),
        "pictures": pictures,
        "rest": len(positions) - len(pictures),
    }


def _grid_view(confusion: np.ndarray, cells: dict[tuple[int, int], Any]) -> list[dict[str, Any]] | None:
    if len(confusion) > GRID_CLASSES:
        return None
    return [
        {"total": int(line.sum()), "cells": [_square_view(t, a, line, cells.get((t, a))) for a in range(len(line))]}
        for t, line in enumerate(confusion)
    ]


def _square_view(truth: int, answer: int, line: np.ndarray, cell: Any) -> dict[str, Any]:
    share = float(line[answer] / line.sum()) if line.sum() else 0.0
    level = int(np.ceil(share * LEVELS)) if share else 0
    return {"count": int(line[answer]), "share": share, "level": level, "right": truth == answer, "cell": cell}


def _confused_pairs(confusion: np.ndarray, cells: dict[tuple[int, int], Any]) -> list[dict[str, Any]]:
    pairs = _most_confused(confusion)[:PAIRS] if len(confusion) > GRID_CLASSES else []
    return [{"cell": cells[c], "count": int(confusion[c]), "of": int(confusion[c[0]].sum())} for c in pairs]


def find_two_labels(report: ReportInput) -> dict[int, str]:
    """Row -> the other classes in which the same file lies, for rows that the audit's D102 is about."""
    links = [link for audit in report.audits for o in audit.outcomes if o.code == "D102" for link in o.links]
    groups: dict[int, set[int]] = {}
    for pair in links:
        joined = set(pair).union(*(groups.get(row, ()) for row in pair))
        groups.update(dict.fromkeys(joined, joined))
    label, names = report.dataset.targets, list(map(format_printable, report.dataset.class_names))
    others = {row: sorted({int(label[other]) for other in group} - {int(label[row])}) for row, group in groups.items()}
    return {row: ", ".join(names[c] for c in classes) for row, classes in others.items() if classes}


def _worst_mistakes(
    answers: Answers, data: Dataset, thumbs: Thumbnails, other_classes: Mapping[int, str]
) -> list[dict[str, Any]]:
    wrong = np.flatnonzero(answers.truth != answers.answer)
    examples = []
    for i in wrong[np.argsort(-answers.chance[wrong], kind="stable")][:ROW]:
        row, answer, chance = int(answers.rows[i]), int(answers.answer[i]), float(answers.chance[i])
        examples.append(_example_view(thumbs.make_thumbnail(row), data, answer, chance, other_classes.get(row, "")))
    return examples


def _label_suspects(
    report: ReportInput, evaluation: Evaluation, thumbs: Thumbnails, other_classes: Mapping[int, str]
) -> list[dict[str, Any]]:
    suspects = []
    rivals = zip(evaluation.suspects.tolist(), evaluation.rival_classes, evaluation.rival_probabilities, strict=False)
    for row, rival, probability in islice(rivals, ROW):  # of an older run no rival is known
        thumb, elsewhere = thumbs.make_thumbnail(row), other_classes.get(row, "")
        suspects.append(_example_view(thumb, report.dataset, rival, probability, elsewhere))
    return suspects


def _example_view(thumb: Thumbnail, data: Dataset, answer: int, chance: float, elsewhere: str) -> dict[str, Any]:
    name, probability = format_printable(data.class_names[answer]), formatting.format_number(chance, 2)
    return {"thumb": thumb, "answer": name, "chance": probability, "elsewhere": elsewhere}
