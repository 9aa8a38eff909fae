"""A JSON or JSON_MIN export of Label Studio: the choices that annotators made are the labels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from headstart.core.errors import DataError
from headstart.core.job import Job, format_flag
from headstart.data.reading.annotation_reader import AnnotationReader
from headstart.data.reading.annotations import Annotations
from headstart.images.file_formats import has_picture_suffix

_LOCAL = "/data/local-files/"  # ?d=path below the folder that Label Studio serves
_NO_ANSWER = frozenset({"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"})  # of JSON_MIN


def read_label_studio(path: Path, job: Job) -> Annotations:
    """A row for each answer that a task got; annotators who agree give one, cancelled annotations none."""
    tasks = json.loads(path.read_bytes())
    paths, labels, numbers = list[str](), list[tuple[str, ...]](), list[int]()
    for number, task in enumerate(tasks, 1):
        data = task.get("data", task)
        answers = dict.fromkeys(_list_answers(task, data, job, path))
        for answer in answers or [()]:
            paths.append(_find_picture(data))
            labels.append(answer)
            numbers.append(number)
    notes = [f"{len(tasks):,} tasks of Label Studio"]
    return Annotations(source=path, paths=paths, labels=labels, numbers=numbers, notes=notes)


def _find_picture(data: Mapping[str, Any]) -> str:
    """The path of a task's picture: what is called `image`, or ends as a picture does."""
    texts = [value for value in data.values() if isinstance(value, str)]
    pictures = (text for text in texts if has_picture_suffix(urlsplit(text).path) or _LOCAL in text)
    text = data["image"] if isinstance(data.get("image"), str) else next(pictures, None)
    if text is None:
        raise ValueError("a task names no picture")
    if _LOCAL in text:
        return parse_qs(urlsplit(text).query)["d"][0]
    return text if "://" in text else unquote(text)


def _list_answers(task: Mapping[str, Any], data: Mapping[str, Any], job: Job, path: Path) -> Iterator[tuple[str, ...]]:
    for annotation in task.get("annotations", []):
        results = [] if annotation.get("was_cancelled") else annotation["result"]
        values = {str(result.get("from_name", "")): result.get("value", {}) for result in results}
        if answer := _choose_question({name: _read_labels(value) for name, value in values.items()}, job, path):
            yield answer
    if "annotations" not in task:
        picture = _find_picture(data)
        values = {name: value for name, value in data.items() if name not in _NO_ANSWER and value != picture}
        if answer := _choose_question({name: _read_labels(value) for name, value in values.items()}, job, path):
            yield answer


def _read_labels(value: Any) -> tuple[str, ...]:
    """The labels in an answer: choices, a number or a rating; none where it is of another kind, such as a box."""
    if isinstance(value, Mapping):
        value = value.get("choices", value.get("number", value.get("rating")))
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _choose_question(answers: Mapping[str, tuple[str, ...]], job: Job, path: Path) -> tuple[str, ...]:
    answered = {name: labels for name, labels in answers.items() if labels}
    if job.target:
        return answered.get(job.target, ())
    if len(answered) > 1:
        questions = ", ".join(f"`{name}`" for name in answered)
        problem = f"`{path.name}` answers several questions a picture: {questions}"
        raise DataError(problem, where=str(path), hint=f"name the one to learn with {format_flag('target')}")
    return next(iter(answered.values()), ())


PLUGIN = AnnotationReader(
    name="label_studio",
    form="an export of Label Studio",
    suffix=".json",
    first="[",
    settings=frozenset({"images", "target", "merge_labels"}),
    read=read_label_studio,
)
