"""From probabilities to one answer: the likeliest class, a threshold for one class, or the lowest expected cost.

Of grades the median is answered: a rank off costs 1.

Evaluation and the saved model answer through `choose_classes` alone, so what was measured is what is served.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from headstart.core.errors import DataError, UsageError, format_nearest
from headstart.core.job import Job
from headstart.core.model_manifest import Decision
from headstart.core.types import Task
from headstart.statistics.ordinal_metrics import measure_distances

_FEW = 20  # classes that a hint lists beside the nearest


def choose_classes(
    p: np.ndarray, *, positive: int | None = None, threshold: float | None = None, costs: np.ndarray | None = None
) -> np.ndarray:
    """(M,) int64: one class for each picture of `p` (M, C).

    `positive` is answered wherever its probability reaches `threshold`, elsewhere the most probable of the others. With
    `costs` (C, C), [t, a] for answering `a` when `t` is true, the lowest expected cost wins.
    """
    if costs is not None:
        return np.asarray(np.argmin(np.asarray(p, np.float64) @ costs, axis=1))
    if positive is None or threshold is None:
        return np.asarray(np.argmax(p, axis=1))
    others = np.array(p, np.float64)
    others[:, positive] = -1.0
    return np.where(p[:, positive] >= threshold, positive, np.argmax(others, axis=1))


def make_decision(job: Job, class_names: tuple[str, ...], threshold: float | None, task: Task) -> Decision:
    """A job's rule, with the threshold that was tuned for its `--positive`, if any; of grades else the ranks off."""
    costs = read_costs(job.costs, class_names).tolist() if job.costs else None
    if costs is None and threshold is None and task.ordered:
        costs = measure_distances(len(class_names)).tolist()
    return Decision(
        positive=job.positive if threshold is not None else "",
        threshold=threshold,
        costs=None if costs is None else tuple(map(tuple, costs)),
    )


def apply_decision(decision: Decision, class_names: tuple[str, ...], p: np.ndarray) -> np.ndarray:
    """(M,) int64 answers of a saved model for (M, C) probabilities."""
    positive = class_names.index(decision.positive) if decision.positive else None
    costs = None if decision.costs is None else np.asarray(decision.costs)
    return choose_classes(p, positive=positive, threshold=decision.threshold, costs=costs)


def format_reasons(decision: Decision, answer: str, likeliest: str) -> tuple[str, ...]:
    """Why a saved model answers another class than the likeliest, a sentence; empty where it does not."""
    if answer == likeliest:
        return ()
    if decision.costs is not None:
        is_median = np.array_equal(decision.costs, measure_distances(len(decision.costs)))
        return (f"`{answer}` has the {'fewest ranks off on average' if is_median else 'lowest expected cost'}",)
    return (f"the threshold of `{decision.positive}` is {decision.threshold:.3g}",)


def best_threshold(truth: np.ndarray, score: np.ndarray) -> float:
    """The threshold of the highest F1 on held-out predictions: truth (M,) bool, score (M,) of the class.

    F1 is chosen over Youden's index because a class of interest is mostly the rare one, where that accepts many
    false alarms. Midway between two neighbouring scores; of equal F1 the highest. `DataError` without such a picture.
    """
    if not truth.any():
        raise DataError("a threshold needs held-out pictures of the positive class; there are none")
    levels, level = np.unique(-np.asarray(score, np.float64), return_inverse=True)
    hits = np.cumsum(np.bincount(level, weights=truth, minlength=len(levels)))
    answered = np.cumsum(np.bincount(level, minlength=len(levels)))
    best = int(np.argmax(2 * hits / (answered + truth.sum())))
    lower_end = -levels[best]
    next_score = -levels[best + 1] if best + 1 < len(levels) else 0.0
    return float((lower_end + next_score) / 2)


def require_rule(job: Job, class_names: tuple[str, ...]) -> None:
    """Check `--positive` and `--costs` against the classes, before anything is spent: `UsageError` and `DataError`."""
    if job.positive and job.costs:
        raise UsageError(
            "`--positive` and `--costs` both say how to answer", where="--costs", hint="give one of the two"
        )
    if job.positive:
        find_positive_class(job.positive, class_names)
    if job.costs:
        read_costs(job.costs, class_names)


def find_positive_class(name: str, class_names: tuple[str, ...]) -> int:
    """Position of the class named by `--positive`; a `UsageError` with the nearest names where there is none."""
    if name not in class_names:
        near, all_names = format_nearest(name, class_names), f"classes: {', '.join(class_names)}"
        hint = f"{near} {all_names}".strip() if len(class_names) <= _FEW else near or all_names
        raise UsageError(f"no class is named `{name}`", where="--positive", hint=hint)
    return class_names.index(name)


def read_costs(path: str | Path, class_names: tuple[str, ...]) -> np.ndarray:
    """(C, C) float64 from CSV: first row and column are class names, a cell costs its column when its row is true.

    A `DataError` names every problem of the file at once.
    """
    rows = _read_csv_rows(Path(path), class_names)
    cells = {
        (row[0].strip(), column.strip()): cell
        for row in rows[1:]
        for column, cell in zip(rows[0][1:], row[1:], strict=False)
    }
    problems = _list_wrong_names([r[0].strip() for r in rows[1:]], "row", class_names)
    problems += _list_wrong_names([c.strip() for c in rows[0][1:]], "column", class_names)
    costs = np.zeros((len(class_names), len(class_names)))
    for t, truth in enumerate(class_names):
        for a, answer in enumerate(class_names):
            cell = cells.get((truth, answer), "").strip()
            costs[t, a] = _parse_number(cell)
            if not 0 <= costs[t, a] < math.inf:
                problems.append(f"row `{truth}`, column `{answer}`: " + (_format_fault(cell) if cell else "missing"))
    problems = problems or _list_costly_truths(costs, class_names)
    if problems:
        raise DataError(f"the costs do not fit: {'; '.join(problems)}", where=str(path), hint=_format_hint(class_names))
    return costs


def _read_csv_rows(path: Path, class_names: tuple[str, ...]) -> list[list[str]]:
    """The header and at least one more row; empty ones are left out."""
    hint = _format_hint(class_names)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as err:
        raise DataError(f"there is no file of costs `{path}`", where="--costs", hint=hint) from err
    except (OSError, UnicodeDecodeError) as err:
        why = err.strerror if isinstance(err, OSError) else "it is no UTF-8 text"
        raise DataError(f"the costs `{path}` cannot be read: {why}", where="--costs", hint=hint) from err
    rows = [row for row in csv.reader(lines) if any(map(str.strip, row))]
    if len(rows) < 2:
        raise DataError(f"the costs `{path}` have no rows", where="--costs", hint=hint)
    return rows


def _format_fault(cell: str) -> str:
    number = _parse_number(cell)
    if math.isnan(number):
        return f"`{cell}` is not a number"
    return f"`{cell}` is below zero" if number < 0 else f"`{cell}` is not finite"


def _list_costly_truths(costs: np.ndarray, class_names: tuple[str, ...]) -> list[str]:
    """Rows in which the right answer costs more than a wrong one: mostly gains written for costs."""
    lowest = costs.argmin(axis=1)
    return [
        f"row `{name}`, column `{name}`: the right answer costs {costs[t, t]:g}, "
        f"more than the {costs[t, lowest[t]]:g} of the wrong answer `{class_names[lowest[t]]}`"
        for t, name in enumerate(class_names)
        if costs[t, t] > costs[t, lowest[t]]
    ]


def _parse_number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _list_wrong_names(names: list[str], kind: str, class_names: tuple[str, ...]) -> list[str]:
    unknown = [
        f"{kind} `{name}` is no class; {format_nearest(name, class_names)}".rstrip("; ")
        for name in names
        if name not in class_names
    ]
    return unknown + [f"{kind} `{name}` comes twice" for name in sorted({n for n in names if names.count(n) > 1})]


def _format_hint(class_names: tuple[str, ...]) -> str:
    return f"write a header `truth,{','.join(class_names)}`, then one row of numbers for each class"
