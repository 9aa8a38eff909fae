"""Labels as people write them: missing ones, several in a cell, and texts that differ by spaces or case alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from headstart.core.storage.files import format_printable
from headstart.data.reading.records import Record

MISSING = frozenset({"", "nan", "null", "<na>", "n/a", "#n/a", "nat"})  # in any case
NONE = ("",)  # said of a picture that has none of the labels: an empty list, or a lone separator
SEPARATOR = "|"  # between several labels in a cell, as the NIH chest X-rays have them
MOST_CLASSES = 20  # distinct numbers that are still taken as names of classes
_SHOWN = 5


def format_value(value: Any) -> str:
    """A cell as text, empty where it is missing; whole numbers without a fraction, as a column with gaps has them."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return "" if text.strip().lower() in MISSING else text


def split_labels(value: Any) -> tuple[str, ...]:
    """The labels of a cell, each once, none where it is missing: a list, or texts with `|` between them.

    An empty list, or a lone `|`, is `NONE`.
    """
    if isinstance(value, list | tuple):
        return tuple(dict.fromkeys(text for item in value if (text := format_value(item)))) if value else NONE
    text = format_value(value)
    if SEPARATOR in text:
        return tuple(dict.fromkeys(part for part in text.split(SEPARATOR) if part.strip())) or NONE
    return (text,) if text else ()


def parse_number(value: Any) -> float | None:
    """A finite number, as it is or as text; None for all else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def infer_task(labels: Iterable[tuple[str, ...]]) -> tuple[str, str]:
    """What is learnt from the labels of pictures: the name of a task, and why in a sentence."""
    counts = Counter(labels)
    if several := sum(count for labels_of, count in counts.items() if len(labels_of) > 1 or labels_of == NONE):
        return "multilabel", f"{several:,} pictures have several labels, or none of them"
    numbers = [parse_number(labels_of[0]) for labels_of in counts if labels_of]
    values = {number for number in numbers if number is not None}
    if len(values) == 0 or None in numbers:
        return "classification", f"{len(counts):,} different texts are its labels"
    if any(not value.is_integer() for value in values):
        return "regression", "all labels are numbers, some with a fraction"
    if len(values) > MOST_CLASSES:
        return "regression", f"all labels are numbers, {len(values):,} different ones"
    return "classification", f"all labels are numbers, but only {len(values)} different ones: taken as names of classes"


def clean_labels(records: Sequence[Record], *, merge: bool) -> tuple[list[Record], list[str]]:
    """The records, and notes on labels that differ by spaces, case or number format alone; with `merge` they are one.

    The commonest spelling stays, of several the shortest, without spaces around it.
    """
    counts = Counter(label for record in records for label in record.labels)
    spellings = dict[str, list[str]]()
    for label in sorted(counts, key=lambda text: (-counts[text], len(text), text)):
        spellings.setdefault(_normalize_label(label), []).append(label)
    variants = {
        labels[0].strip(): labels for labels in spellings.values() if len(labels) > 1 or labels[0] != labels[0].strip()
    }
    if not variants:
        return list(records), []
    shown = [
        " = ".join(f"`{format_printable(label)}` ({counts[label]:,})" for label in labels[:_SHOWN])
        for labels in variants.values()
    ]
    more = f" and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
    spelling_list = "; ".join(shown[:_SHOWN]) + more
    if not merge:
        return list(records), [
            f"labels with stray spaces, or that differ by case or number format alone: {spelling_list}; "
            "--merge-labels takes them as one"
        ]
    name_of = {label: name for name, labels in variants.items() for label in labels}
    merged = [record._replace(labels=tuple(name_of.get(label, label) for label in record.labels)) for record in records]
    return merged, [f"labels merged: {spelling_list}"]


def _normalize_label(label: str) -> str:
    text = " ".join(label.split()).casefold()
    number = parse_number(text)
    return text if number is None else repr(number)
