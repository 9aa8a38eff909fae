"""What the map says of each of its pictures: place, label, colour, held-out answer, and marks of doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np

from headstart.core.storage.files import format_printable
from headstart.core.types import PRESENT, Dataset, Evaluation, PictureMap, Splits, format_labels
from headstart.reporting import formatting
from headstart.reporting.report_data import ReportInput
from headstart.reporting.sections.mistakes import judge_answers
from headstart.uncertainty.temperature import apply_temperature

COLOURS = 7  # for classes, grades or ranges; the eighth is for all others
OTHERS = COLOURS
MISTAKE, SUSPECT = 1, 2
SIZE = 4095  # steps of a place


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A class, label, grade or range of numbers that can be picked out."""

    name: str
    colour: int  # 0..OTHERS
    count: int  # pictures on the map that have it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapPoints:
    """The pictures of a map, M of them."""

    rows: np.ndarray  # (M,) int64
    places: np.ndarray  # (M, 2) float32
    groups: tuple[Group, ...]
    members: list[list[int]]  # M lists of positions in `groups`
    labels: list[str]  # M, as text
    answers: list[str]  # M, held out; empty where there is none
    chances: list[float]  # M probabilities of the answers; -1 where there is none
    marks: np.ndarray  # (M,) int64, MISTAKE and SUSPECT added
    sides: list[int]  # M positions in `side_names`
    side_names: tuple[str, ...]
    names: list[str]  # M paths below the data set, printable

    def list_colours(self) -> list[int]:
        """M colours, of the first group that a picture has."""
        return [self.groups[groups[0]].colour if groups else OTHERS for groups in self.members]

    def as_json(self) -> dict[str, Any]:
        """What the page's script reads; repeated texts once."""
        labels, answers = _index_texts(self.labels), _index_texts(self.answers)
        across, down = np.rint(self.places * [SIZE, -SIZE] + [0, SIZE]).astype(int).T.tolist()
        return {
            "size": SIZE,
            "x": across,
            "y": down,
            "colours": self.list_colours(),
            "groups": [group.name for group in self.groups],
            "members": self.members,
            "labelTexts": labels[0],
            "labels": labels[1],
            "answerTexts": answers[0],
            "answers": answers[1],
            "chances": [round(chance, 2) for chance in self.chances],
            "marks": self.marks.tolist(),
            "sides": self.sides,
            "sideNames": self.side_names,
            "names": self.names,
        }


def make_map_points(report: ReportInput, picture_map: PictureMap) -> MapPoints:
    """Of each picture on the map what a report may tell."""
    data, rows = report.dataset, np.asarray(picture_map.rows)
    groups, members = _make_groups(data, rows)
    answers, marks = _find_answers(report), np.zeros(len(data.uris), np.int64)
    marks[[row for row, (_, _, is_mistake) in answers.items() if is_mistake]] = MISTAKE
    if report.evaluation:
        marks[np.asarray(report.evaluation.suspects, np.int64)] += SUSPECT
    side_names, sides = _find_sides(report.splits, len(data.uris))
    texts = [answers.get(row, ("", -1.0, False)) for row in rows.tolist()]
    return MapPoints(
        rows=rows,
        places=np.asarray(picture_map.places),
        groups=groups,
        members=members,
        labels=[_format_target(data, data.targets[row]) for row in rows],
        answers=[text for text, _, _ in texts],
        chances=[chance for _, chance, _ in texts],
        marks=marks[rows],
        sides=sides[rows].tolist(),
        side_names=side_names,
        names=[format_printable(data.uris[row]) for row in rows],
    )


def _index_texts(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return list(places), [places[text] for text in texts]


def _format_target(data: Dataset, target: Any) -> str:
    """A target or an answer of the same form as text."""
    if data.learning_task.has_labels:
        return format_labels(tuple(map(format_printable, compress(data.class_names, target))))
    return format_printable(data.class_names[int(target)]) if data.class_names else f"{float(target):.5g}"


def _make_groups(data: Dataset, rows: np.ndarray) -> tuple[tuple[Group, ...], list[list[int]]]:
    """What pictures can be coloured by, and of each of some rows (M,) which of it it has."""
    targets, task = np.asarray(data.targets)[rows], data.learning_task
    if task.is_number:
        ends = np.unique(np.quantile(targets, np.arange(1, COLOURS) / COLOURS))
        bins = np.unique(np.searchsorted(ends, targets, side="right"), return_inverse=True)[1].reshape(-1)
        parts = [targets[bins == place] for place in range(bins.max() + 1)]
        names = [f"{part.min():.4g} to {part.max():.4g}" for part in parts]
        members = bins[:, None] == np.arange(len(parts))
    else:
        names = [format_printable(name) for name in data.class_names]
        members = targets if task.has_labels else targets[:, None] == np.arange(len(names))
    counts = members.sum(axis=0)
    if task.ordered or task.is_number:
        colours = np.arange(len(names)) * COLOURS // max(len(names), COLOURS)
    else:
        colours = np.full(len(names), OTHERS)
        largest = np.sort(np.argsort(-counts, kind="stable")[:COLOURS])
        colours[largest] = np.arange(len(largest))
    columns = zip(names, colours.tolist(), counts.tolist(), strict=True)
    groups = tuple(Group(name=name, colour=colour, count=count) for name, colour, count in columns)
    return groups, [np.flatnonzero(row).tolist() for row in members]


def _find_answers(report: ReportInput) -> dict[int, tuple[str, float, bool]]:
    """Row -> held-out answer, its probability or -1, and whether it is a wrong class or set of labels."""
    evaluation, data = report.evaluation, report.dataset
    if evaluation is None:
        return {}
    held_out = _join_held_out(report, evaluation)
    rows, p, targets = held_out.rows.tolist(), held_out.probabilities, np.asarray(data.targets)
    if data.learning_task.has_classes:
        judged = judge_answers(report, held_out)
        chances, wrong, answers = judged.chance.tolist(), judged.answer != judged.truth, judged.answer
    else:
        answers = p >= PRESENT if data.learning_task.has_labels else p[:, 0]
        chances = [-1.0] * len(rows)
        wrong = (answers != targets[rows]).any(axis=1) if data.learning_task.has_labels else np.zeros(len(rows), bool)
    texts = [_format_target(data, answer) for answer in answers]
    return dict(zip(rows, zip(texts, chances, wrong.tolist(), strict=True), strict=True))


def _join_held_out(report: ReportInput, evaluation: Evaluation) -> Evaluation:
    """The judged pictures, and with them those of the cross-validation."""
    if report.adapted is None or not len(report.adapted.cv_rows):
        return evaluation
    rows, p = np.asarray(report.adapted.cv_rows), np.asarray(report.adapted.cv_probabilities)
    apart, task = ~np.isin(rows, evaluation.rows), report.dataset.learning_task
    p = apply_temperature(p[apart], report.adapted.temperature, task)
    return replace(
        evaluation,
        rows=np.concatenate([evaluation.rows, rows[apart]]),
        probabilities=np.concatenate([evaluation.probabilities, p]),
    )


def _find_sides(splits: Splits | None, count: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the splits that have pictures, and of each of all pictures (N,) which it is in."""
    sides, names = np.zeros(count, np.int64), list[str]()
    for name in ("train", "val", "test") if splits else ():
        rows = np.asarray(getattr(splits, name))
        if len(rows):
            sides[rows] = len(names)
            names.append(formatting.SPLITS[name])
    return tuple(names), sides
