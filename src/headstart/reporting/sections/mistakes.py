"""Where the model is right and wrong: the confusion matrix and the pictures in its cells, mistakes, suspect labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.storage.files import format_printable
from headstart.core.types import Dataset, Evaluation
from headstart.heads.decision_rule import choose_classes
from headstart.reporting import formatting
from headstart.reporting.page_images import Thumbnail, Thumbnails
from headstart.reporting.report_data import ReportInput
from headstart.uncertainty.temperature import apply_temperature

GRID_CLASSES = 25  # above this many, the most confused pairs are shown instead of a grid
PAIRS = 30
CELL = 12  # thumbnails a cell at most
CELLS = 216  # thumbnails of all cells together at most
ROW = 24  # thumbnails of mistakes, and of suspect labels
LEVELS = 8  # shades


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """The judged pictures: rows of the data set (M,), truth, answer, and the answer's probability."""

    rows: np.ndarray
    truth: np.ndarray
    answer: np.ndarray
    chance: np.ndarray


def answers(given: ReportInput, found: Evaluation) -> Answers:
    """What the model answered on the split that judges, by the same rule as the saved model."""
    rows, p_MC = np.asarray(found.rows), np.asarray(found.probabilities)
    names = given.dataset.class_names
    positive = names.index(given.job.positive) if given.job.positive in names else None
    answer = choose_classes(p_MC, positive=positive, threshold=found.threshold, costs=given.costs)
    chance = p_MC[np.arange(len(rows)), answer] if len(rows) else np.zeros(0)
    return Answers(rows=rows, truth=np.asarray(given.dataset.targets)[rows], answer=answer, chance=chance)


def view(given: ReportInput, thumbs: Thumbnails) -> dict[str, Any] | None:
    """What the template `mistakes.html` shows; None when nothing was judged."""
    found = given.evaluation
    if found is None:
        return None
    seen = answers(given, found)
    cells = _cells(np.asarray(found.confusion), seen, given.dataset, thumbs)
    elsewhere = two_labels(given)
    return {
        "names": [format_printable(name) for name in given.dataset.class_names],
        "grid": _grid(np.asarray(found.confusion), cells),
        "pairs": _pairs(np.asarray(found.confusion), cells),
        "cells": list(cells.values()),
        "worst": _worst(seen, given.dataset, thumbs, elsewhere),
        "wrong": int((seen.truth != seen.answer).sum()),
        "judged": len(seen.rows),
        "suspects": _suspects(given, found, thumbs, elsewhere),
        "suspected": len(found.suspects),
        "split": formatting.judged_on(found.split, given.adapted),
        "threshold": found.threshold,
        "positive": format_printable(given.job.positive),
    }


# ---------------------------------------------------------------- cells


def _cells(confusion: np.ndarray, seen: Answers, data: Dataset, thumbs: Thumbnails) -> dict[tuple[int, int], Any]:
    """Cells whose pictures can be looked at, in reading order: in large tables the most confused pairs alone."""
    few = len(confusion) <= GRID_CLASSES
    chosen = sorted(_filled(confusion) if few else _most_confused(confusion)[:PAIRS])
    off_first = sorted(chosen, key=lambda c: (c[0] == c[1], -confusion[c], c))
    each = max(1, min(CELL, CELLS // max(len(chosen), 1)))
    shown = {c: each if at * each < CELLS else 0 for at, c in enumerate(off_first)}
    return {c: _cell(c, shown[c], seen, data, thumbs) | {"first": c == off_first[0]} for c in chosen}


def _filled(confusion: np.ndarray) -> list[tuple[int, int]]:
    return [(int(t), int(a)) for t, a in np.argwhere(confusion > 0)]


def _most_confused(confusion: np.ndarray) -> list[tuple[int, int]]:
    off = [c for c in _filled(confusion) if c[0] != c[1]]
    return sorted(off, key=lambda c: (-confusion[c], c))


def _cell(cell: tuple[int, int], most: int, seen: Answers, data: Dataset, thumbs: Thumbnails) -> dict[str, Any]:
    """Mistakes from the most certain on, right answers from the least certain on: the telling ones first."""
    truth, answer = cell
    at = np.flatnonzero((seen.truth == truth) & (seen.answer == answer))
    order = at[np.argsort(seen.chance[at] if truth == answer else -seen.chance[at], kind="stable")]
    pictures = [thumbs.of(seen.rows[i], f"{formatting.number(seen.chance[i], 2)}") for i in order[:most]]
    return {
        "id": f"cell-{truth}-{answer}",
        "truth": format_printable(data.class_names[truth]),
        "answer": format_printable(data.class_names[answer]),
        "right": truth == answer,
        "count": len(at),
        "pictures": pictures,
        "rest": len(at) - len(pictures),
    }


def _grid(confusion: np.ndarray, cells: dict[tuple[int, int], Any]) -> list[dict[str, Any]] | None:
    if len(confusion) > GRID_CLASSES:
        return None
    return [
        {"total": int(line.sum()), "cells": [_square(t, a, line, cells.get((t, a))) for a in range(len(line))]}
        for t, line in enumerate(confusion)
    ]


def _square(truth: int, answer: int, line: np.ndarray, cell: Any) -> dict[str, Any]:
    share = float(line[answer] / line.sum()) if line.sum() else 0.0
    level = int(np.ceil(share * LEVELS)) if share else 0
    return {"count": int(line[answer]), "share": share, "level": level, "right": truth == answer, "cell": cell}


def _pairs(confusion: np.ndarray, cells: dict[tuple[int, int], Any]) -> list[dict[str, Any]]:
    """The most confused pairs, for sets of many classes."""
    if len(confusion) <= GRID_CLASSES:
        return []
    return [
        {"cell": cells[c], "count": int(confusion[c]), "of": int(confusion[c[0]].sum())}
        for c in _most_confused(confusion)[:PAIRS]
    ]


# ---------------------------------------------------------------- single pictures


def two_labels(given: ReportInput) -> dict[int, str]:
    """Row -> the other classes in which the same file lies, for rows that the audit's D102 is about."""
    links = [link for audit in given.audits for o in audit.outcomes if o.code == "D102" for link in o.links]
    groups: dict[int, set[int]] = {}
    for pair in links:
        joined = set(pair).union(*(groups.get(row, ()) for row in pair))
        groups.update(dict.fromkeys(joined, joined))
    label = given.dataset.targets
    others = {row: sorted({int(label[other]) for other in group} - {int(label[row])}) for row, group in groups.items()}
    return {
        row: ", ".join(format_printable(given.dataset.class_names[c]) for c in found)
        for row, found in others.items()
        if found
    }


def _worst(seen: Answers, data: Dataset, thumbs: Thumbnails, elsewhere: Mapping[int, str]) -> list[dict[str, Any]]:
    wrong = np.flatnonzero(seen.truth != seen.answer)
    order = wrong[np.argsort(-seen.chance[wrong], kind="stable")][:ROW]
    return [
        _example(thumbs.of(seen.rows[i]), data, int(seen.answer[i]), float(seen.chance[i]))
        | {"elsewhere": elsewhere.get(int(seen.rows[i]), "")}
        for i in order
    ]


def _suspects(
    given: ReportInput, found: Evaluation, thumbs: Thumbnails, elsewhere: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Pictures whose label the held-out predictions contradict, with what they say instead."""
    said: dict[int, np.ndarray] = {}
    if given.adapted is not None:
        held = apply_temperature(np.asarray(given.adapted.cv_probabilities), given.adapted.temperature)
        said.update(zip(given.adapted.cv_rows.tolist(), held, strict=True))
    for row, p_C in zip(found.rows.tolist(), found.probabilities, strict=True):
        said.setdefault(row, p_C)
    made = []
    for row in np.asarray(found.suspects)[:ROW].tolist():
        p_C = said.get(row)
        answer = int(np.argmax(p_C)) if p_C is not None else int(given.dataset.targets[row])
        example = _example(thumbs.of(row), given.dataset, answer, float(p_C[answer]) if p_C is not None else np.nan)
        made.append(example | {"elsewhere": elsewhere.get(row, "")})
    return made


def _example(thumb: Thumbnail, data: Dataset, answer: int, chance: float) -> dict[str, Any]:
    return {
        "thumb": thumb,
        "answer": format_printable(data.class_names[answer]),
        "chance": formatting.number(chance, 2),
    }
