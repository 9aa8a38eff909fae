"""Cross-validation of heads on cached vectors: held-out probabilities, and the search of a setting.

A fold is a number beside each picture, in each repeat; -1 keeps a picture out of that repeat altogether. Folds run in
threads, each with one BLAS thread, and never share a sum: results are the same bit for bit on any number of cores.
Legend: M pictures, D columns, C classes, K folds, R repeats, G settings of a grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core import blas_threads
from headstart.core.settings import count_threads
from headstart.core.types import Head
from headstart.heads import prediction
from headstart.statistics.losses import per_picture_loss

_WORTH_BYTES = 6_000_000  # below, threads wait for the interpreter: as long on the wall and a third more of the CPU
_BYTES_AT_ONCE = 1_500_000_000  # of copies that folds make while they run side by side
_COPIES = 4
_BYTES_IN_STEP = 600_000_000  # of all folds together, while they go through the grid in step
PATIENCE = 1  # settings without gain after which a search ends


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TunedSetting:
    """A head's best setting.

    Attributes:
        params: The setting.
        held_out: (R, M, C) float32 held-out probabilities with it.
        losses: (M,) float64 loss of each picture by the metric, averaged over the repeats that judged it; NaN where
            none did.
        searched: Mean loss on the first repeat of each setting of the grid that was tried.
    """

    params: Mapping[str, Any]
    held_out: np.ndarray
    losses: np.ndarray
    searched: tuple[float, ...]


def held_out(
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    *,
    n_classes: int,
    grid: Sequence[Mapping[str, Any]],
    class_weight: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Probabilities of every picture by heads that had not seen it.

    Args:
        head: The plugin.
        x: (M, D) float32 features.
        y: (M,) int64 classes.
        folds: (R, M) fold of each picture in each repeat; -1: neither learnt from nor judged in that repeat.
        n_classes: C.
        grid: G settings.
        class_weight: (C,) float64 or None.
        seed: For what is drawn.

    Returns:
        (G, R, M, C) float32; NaN where a fold is -1.

    Raises:
        ValueError: A repeat has fewer than two folds.
    """
    folds = np.atleast_2d(folds)
    out = np.full((len(grid), len(folds), len(y), n_classes), np.nan, np.float32)

    def one(task: tuple[int, int]) -> None:
        repeat, fold = task
        judged = np.flatnonzero(folds[repeat] == fold)
        learnt = np.flatnonzero((folds[repeat] != fold) & (folds[repeat] >= 0))
        out[:, repeat, judged] = apart(
            head, x, y, learnt, judged, grid=grid, n_classes=n_classes, class_weight=class_weight, seed=seed
        )

    with blas_threads.single_blas_thread():
        side_by_side(one, _tasks(folds), x.nbytes)
    return out


def apart(
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    learnt: np.ndarray,
    judged: np.ndarray,
    *,
    grid: Sequence[Mapping[str, Any]],
    n_classes: int,
    class_weight: np.ndarray | None,
    seed: int,
) -> np.ndarray:
    """Learn from some pictures and judge others.

    Args:
        head: The plugin.
        x: (M, D) float32 features.
        y: (M,) int64 classes.
        learnt: Positions to learn from.
        judged: (B,) positions to judge.
        grid: G settings.
        n_classes: C.
        class_weight: (C,) or None.
        seed: For what is drawn.

    Returns:
        (G, B, C) float32.
    """
    made = head.path(x[learnt], y[learnt], n_classes=n_classes, params=grid, class_weight=class_weight, seed=seed)
    return prediction.many(list(made), x[judged])


def _tasks(folds: np.ndarray) -> list[tuple[int, int]]:
    found = []
    for repeat, line in enumerate(folds):
        numbers = [int(k) for k in np.unique(line) if k >= 0]
        if len(numbers) < 2:
            raise ValueError(f"repeat {repeat} has {len(numbers)} folds; cross-validation needs two")
        found += [(repeat, k) for k in numbers]
    return found


def side_by_side(one: Callable[[Any], None], tasks: Sequence[Any], bytes_each: int) -> None:
    """Do all tasks, as many at once as cores and memory allow; the first error is raised.

    Args:
        one: Does a task; writes where no other task writes.
        tasks: What it is given.
        bytes_each: What one task copies.
    """
    side = min(count_threads(), len(tasks), _BYTES_AT_ONCE // max(_COPIES * bytes_each, 1))
    if side < 2 or bytes_each < _WORTH_BYTES:
        for task in tasks:
            one(task)
        return
    with ThreadPoolExecutor(side) as pool:
        for _ in pool.map(one, tasks):
            pass


def losses(metric: str, y: np.ndarray, held: np.ndarray) -> np.ndarray:
    """(M,) loss of each picture, averaged over the repeats that judged it; NaN where none did.

    Args:
        metric: See `headstart.statistics.losses.per_picture_loss`.
        y: (M,) int64.
        held: (R, M, C) from `held_out`.
    """
    judged = ~np.isnan(held[:, :, 0])
    total, count = np.zeros(len(y)), judged.sum(axis=0)
    for p_MC, seen in zip(held, judged, strict=True):
        total[seen] += per_picture_loss(metric, y[seen], p_MC[seen])
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def tuned(
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    *,
    n_classes: int,
    metric: str = "log_loss",
    class_weight: np.ndarray | None = None,
    seed: int = 0,
    grid: Sequence[Mapping[str, Any]] | None = None,
) -> TunedSetting:
    """Search the grid on the first repeat; the other repeats are of the winner alone.

    The search goes from the strongest to the weakest regularisation, in step on all folds, and ends when `PATIENCE`
    settings in a row were no better than the best before them: the weak ones are the slowest to fit.

    Args:
        head: The plugin.
        x: (M, D) float32 features.
        y: (M,) int64 classes.
        folds: (R, M), see `held_out`.
        n_classes: C.
        metric: What is searched by.
        class_weight: (C,) float64 or None.
        seed: For what is drawn.
        grid: Settings to search instead of the head's own.
    """
    folds = np.atleast_2d(folds)
    grid = list(head.grid(len(y), x.shape[1], n_classes) if grid is None else grid)
    shared: dict[str, Any] = {"n_classes": n_classes, "class_weight": class_weight, "seed": seed}
    first, searched = _search(head, x, y, folds[0], grid, metric, shared)
    best = int(np.argmin(searched))
    held = first[best][None]
    found = TunedSetting(params=grid[best], held_out=held, losses=losses(metric, y, held), searched=searched)
    return repeated(found, head, x, y, folds[1:], metric=metric, **shared) if len(folds) > 1 else found


def _search(
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    grid: Sequence[Mapping[str, Any]],
    metric: str,
    shared: dict[str, Any],
) -> tuple[list[np.ndarray], tuple[float, ...]]:
    """Held-out probabilities (M, C) and mean loss of each setting, as long as they get better."""
    numbers = [fold for _, fold in _tasks(folds[None])]
    if 2 * len(numbers) * x.nbytes > _BYTES_IN_STEP:  # fold by fold instead, so that few are held at a time
        whole = held_out(head, x, y, folds[None], grid=grid, **shared)
        return [p_1MC[0] for p_1MC in whole], tuple(float(np.nanmean(losses(metric, y, p))) for p in whole)
    judged = [np.flatnonzero(folds == fold) for fold in numbers]
    learnt = [np.flatnonzero((folds != fold) & (folds >= 0)) for fold in numbers]
    with blas_threads.single_blas_thread():
        paths = [iter(head.path(x[rows], y[rows], params=grid, **shared)) for rows in learnt]
        held: list[np.ndarray] = []
        searched: list[float] = []
        while len(held) < len(grid) and len(held) - 1 - int(np.argmin(searched or [0.0])) < PATIENCE:
            held.append(np.full((len(y), shared["n_classes"]), np.nan, np.float32))

            def one(at: int) -> None:
                held[-1][judged[at]] = prediction.many([next(paths[at])], x[judged[at]])[0]

            side_by_side(one, range(len(numbers)), x.nbytes)
            searched.append(float(np.nanmean(losses(metric, y, held[-1][None]))))
    return held, tuple(searched)


def repeated(
    first: TunedSetting,
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    *,
    n_classes: int,
    metric: str = "log_loss",
    class_weight: np.ndarray | None = None,
    seed: int = 0,
) -> TunedSetting:
    """The same setting on more repeats.

    Args:
        first: Of `tuned`, on other repeats.
        head: As there.
        x: As there.
        y: As there.
        folds: (R, M) further repeats.
        n_classes: C.
        metric: As there.
        class_weight: As there.
        seed: As there.
    """
    shared: dict[str, Any] = {"n_classes": n_classes, "class_weight": class_weight, "seed": seed}
    added = held_out(head, x, y, folds, grid=[first.params], **shared)[0]
    held = np.concatenate([first.held_out, added])
    return TunedSetting(params=first.params, held_out=held, losses=losses(metric, y, held), searched=first.searched)


def balanced(y: np.ndarray, n_classes: int) -> np.ndarray:
    """(C,) class weights that give each present class the same sum, 1 on average over pictures."""
    counts = np.bincount(y, minlength=n_classes)
    return np.where(counts > 0, len(y) / (max(int((counts > 0).sum()), 1) * np.maximum(counts, 1)), 1.0)


def subset(y: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most `count` positions, drawn by class in their shares, at least one of each class.

    Args:
        y: (M,) int64.
        count: Upper limit; a class more than this is an error.
        seed: Of the draw.

    Returns:
        (B,) int64, ascending.
    """
    if len(y) <= count:
        return np.arange(len(y))
    rng, found = np.random.default_rng([seed, 50_000]), []
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) > count:
        raise ValueError(f"{count} pictures cannot hold {len(classes)} classes")
    exact = counts * (count / len(y))
    takes = np.maximum(exact.astype(np.int64), 1)
    for at in np.argsort(-(exact - takes), kind="stable")[: max(count - int(takes.sum()), 0)]:
        takes[at] += 1
    while takes.sum() > count:
        takes[np.argmax(takes)] -= 1
    for c, take in zip(classes, takes, strict=True):
        found.append(rng.choice(np.flatnonzero(y == c), take, replace=False))
    return np.sort(np.concatenate(found)).astype(np.int64)
