"""Scores and predictions as CSV, for spreadsheets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from headstart.core.storage.csv_tables import format_csv
from headstart.core.storage.files import write_bytes
from headstart.core.types import Dataset, Evaluation, format_labels
from headstart.evaluation.held_out_scores import JudgedSplit


def write_scores(evaluation: Evaluation, path: Path) -> None:
    """One row a score, the baselines' after the model's; what could not be computed is an empty cell."""
    header = ("split", "subject", "name", "value", "low", "high", "n", "method")
    rows = [
        [_format_cell(getattr(score, column)) for column in header]
        for score in (*evaluation.scores, *evaluation.baselines)
    ]
    write_bytes(path, format_csv([header, *rows]))


def write_predictions(parts: Sequence[JudgedSplit], data: Dataset, path: Path) -> None:
    """One row a held-out picture: where, label, answer and the probability of each class; of numbers these alone."""
    if data.learning_task.is_number:
        write_bytes(path, format_csv([["split", "uri", "truth", "answer"], *_list_numbers(parts, data)]))
        return
    header = ["split", "uri", "truth", "answer", *(f"p {name}" for name in data.class_names)]
    rows = []
    for part in (p for p in parts if p.split != "train"):
        for row, y, answer, p in zip(part.rows, part.y, part.answers, part.p, strict=True):
            if data.learning_task.has_labels:
                words = [format_labels(tuple(compress(data.class_names, labels))) for labels in (y, answer)]
            else:
                words = [data.class_names[y], data.class_names[answer]]
            rows.append([part.split, data.uris[row], *words, *(f"{v:.6g}" for v in p.tolist())])
    write_bytes(path, format_csv([header, *rows]))


def _list_numbers(parts: Sequence[JudgedSplit], data: Dataset) -> Iterator[list[Any]]:
    for part in (p for p in parts if p.split != "train"):
        for row, y, answer in zip(part.rows, part.y, part.p[:, 0], strict=True):
            yield [part.split, data.uris[row], f"{y:.8g}", f"{answer:.8g}"]


def _format_cell(value: Any) -> Any:
    return "" if isinstance(value, float) and not math.isfinite(value) else value
