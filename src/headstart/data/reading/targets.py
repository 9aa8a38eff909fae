"""From labels as texts to targets: positions of classes, labels that are there, or numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from headstart.core.errors import DataError, NoOpError, format_nearest
from headstart.core.storage.files import format_printable
from headstart.core.types import CLASSIFICATION, MULTILABEL, ORDINAL, REGRESSION, UNLABELLED
from headstart.data.reading.label_texts import parse_number
from headstart.data.reading.records import Labelling, sort_by_bytes

LEAST = 10  # pictures with a number, or with labels
_SHOWN = 5
_LEAST_GRADES = 3

Targets = tuple[np.ndarray, tuple[str, ...]]


def make_targets(labelling: Labelling) -> Targets:
    """The targets of all records, and the names of the classes or labels, none of numbers.

    Raises:
        DataError: A label is no number, or fewer than `LEAST` have a number, or labels.
        NoOpError: All numbers, or all pictures' labels, are the same.
    """
    return _MAKERS[labelling.task](labelling)


def _mark_labels(labelling: Labelling) -> Targets:
    names = tuple(sort_by_bytes({label for record in labelling.records for label in record.labels} - {""}))
    positions = {name: position for position, name in enumerate(names)}
    targets = np.zeros((len(labelling.records), len(names)), bool)
    for row, record in enumerate(labelling.records):
        targets[row, [positions[label] for label in record.labels if label]] = True
    if not names or (targets == targets[0]).all():
        shown = format_printable("|".join(names)) or "no label"
        sentence = f"all {len(targets):,} pictures have the same labels, {shown}: there is nothing to learn"
        raise NoOpError(sentence, hint="--target names another column")
    if len(targets) < LEAST:
        sentence = f"{len(targets)} pictures have labels, and at least {LEAST} are needed"
        raise DataError(sentence, hint="add pictures with their labels")
    return targets, names


def _find_classes(labelling: Labelling) -> Targets:
    classes = [record.labels[0] for record in labelling.records]
    names = tuple(sort_by_bytes({*classes, *labelling.class_names}))
    if labelling.task == ORDINAL.name:
        names = _order_grades(names, labelling.order)
    positions = {name: position for position, name in enumerate(names)}
    return np.array([positions[name] for name in classes], dtype=np.int64), names


def _order_grades(names: tuple[str, ...], order: tuple[str, ...]) -> tuple[str, ...]:
    """The grades from the lowest to the highest: as they are told, in which some may have no picture, or as numbers."""
    if missing := [name for name in names if name not in order] if order else []:
        listed = ", ".join(f"`{format_printable(name)}`" for name in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
        raise DataError(
            f"the order leaves out {listed}{more}",
            where="--order",
            hint=f"{format_nearest(missing[0], order)} name every grade: {', '.join(names)}".strip(),
        )
    numbers = {name: parse_number(name) for name in names}
    if not order and None in numbers.values():
        raise DataError(
            f"the order of the grades is not known: `{format_printable(names[0])}`, … are no numbers",
            where="--order",
            hint=f"--order {','.join(names)}, from the lowest to the highest",
        )
    return order or tuple(sorted(names, key=lambda name: numbers[name] or 0.0))


def _parse_numbers(labelling: Labelling) -> Targets:
    texts = [record.labels[0] for record in labelling.records]
    numbers = [parse_number(text) for text in texts]
    if wrong := list(dict.fromkeys(text for text, number in zip(texts, numbers, strict=True) if number is None)):
        examples = ", ".join(f"`{format_printable(text)}`" for text in wrong[:_SHOWN])
        more = f" and {len(wrong) - _SHOWN:,} more" if len(wrong) > _SHOWN else ""
        sentence = f"{numbers.count(None):,} of {len(texts):,} labels are no numbers: {examples}{more}"
        problems = [
            (record.uri, "no_number", f"its label is `{format_printable(text)}`")
            for record, text, number in zip(labelling.records, texts, numbers, strict=True)
            if number is None
        ]
        hint = "--task classification takes them as classes"
        raise DataError(sentence, where="--task regression", hint=hint, problems=problems)
    if len(set(numbers)) < 2:
        sentence = f"all {len(texts):,} pictures have the number {texts[0]}: there is nothing to learn"
        raise NoOpError(sentence, hint="--target names another column")
    if len(numbers) < LEAST:
        sentence = f"{len(numbers)} pictures have a number, and at least {LEAST} are needed"
        raise DataError(sentence, hint="add pictures with their numbers")
    return np.array(numbers, np.float64), ()


_MAKERS: dict[str, Callable[[Labelling], Targets]] = {
    CLASSIFICATION.name: _find_classes,
    MULTILABEL.name: _mark_labels,
    ORDINAL.name: _find_classes,
    REGRESSION.name: _parse_numbers,
    UNLABELLED.name: lambda labelling: (np.zeros(len(labelling.records), np.int64), ()),
}


def describe_targets(targets: np.ndarray, task: str, names: tuple[str, ...]) -> Sequence[str]:
    """What should be told: of numbers that there are only two, of grades their order, of classes that they may be such.

    `names` are those of the outputs.
    """
    if task == ORDINAL.name:
        return [f"grades from the lowest to the highest: {', '.join(map(format_printable, names))}"]
    if task == CLASSIFICATION.name:
        numbers = sorted(number for name in names if (number := parse_number(name)) is not None)
        is_run = len(numbers) == len(names) >= _LEAST_GRADES and bool((np.diff(numbers) == 1).all())
        return [
            "the classes are consecutive numbers: where they are grades, --task ordinal learns their order"
        ] * is_run
    if task != REGRESSION.name or len(values := np.unique(targets)) > 2:
        return []
    low, high = values.tolist()
    return [f"`{names[0]}` has two values alone, {low:g} and {high:g}: --task classification would tell them apart"]
