"""Cross-validation of heads on cached vectors: held-out probabilities, and the search of a setting.

A fold is a number beside each picture, in each repeat; -1 keeps a picture out of that repeat altogether. Folds run in
threads, each with one BLAS thread, and never share a sum: results are the same bit for bit on any number of cores.
Legend: M pictures, D columns, C classes, K folds, R repeats, G settings of a grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from headstart.core import blas_threads
from headstart.core.settings import count_threads
from headstart.core.types import FittedHead, Head
from headstart.heads import ensemble, prediction
from headstart.statistics.losses import per_picture_loss

_WORTH_BYTES = 6_000_000  # below, threads wait for the interpreter: as long on the wall and a third more of the CPU
_BYTES_AT_ONCE = 1_500_000_000  # of copies that folds make while they run side by side
_COPIES = 4
_BYTES_IN_STEP = 600_000_000  # of all folds together, while they go through the grid in step
JUDGED = 1e-6  # nats to which a head is solved that is judged and not handed over: its mean loss moves by under 0.0005


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TunedSetting:
    """A head's best setting.

    Attributes:
        held_out: (R, M, C) float32 held-out probabilities with it.
        losses: (M,) float64 of each picture, averaged over the repeats that judged it; NaN where none did.
        grid_losses: Mean loss on the first repeat of each setting of the grid; NaN where it was not tried.
    """

    params: Mapping[str, Any]
    held_out: np.ndarray
    losses: np.ndarray
    grid_losses: tuple[float, ...]


def predict_held_out(
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    *,
    n_classes: int,
    grid: Sequence[Mapping[str, Any]],
    class_weight: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """(G, R, M, C) float32 probabilities of every picture by heads that had not seen it; NaN where a fold is -1.

    `x` (M, D) float32, `y` (M,) int64, `folds` (R, M), `class_weight` (C,) and `sample_weight` (M,) float64. A repeat
    of fewer than two folds is a `ValueError`.
    """
    folds = np.atleast_2d(folds)
    weights = {"class_weight": class_weight, "sample_weight": sample_weight}
    shared: dict[str, Any] = {"n_classes": n_classes, "seed": seed, **weights}
    probabilities = np.full((len(grid), len(folds), len(y), n_classes), np.nan, np.float32)

    def judge_fold(task: tuple[int, int]) -> None:
        repeat, fold = task
        test_rows = np.flatnonzero(folds[repeat] == fold)
        train_rows = np.flatnonzero((folds[repeat] != fold) & (folds[repeat] >= 0))
        probabilities[:, repeat, test_rows] = fit_and_predict(head, x, y, train_rows, test_rows, grid=grid, **shared)

    with blas_threads.single_blas_thread():
        run_in_threads(judge_fold, _list_folds(folds), x.nbytes)
    return probabilities


def fit_and_predict(
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    train_rows: np.ndarray,
    test_rows: np.ndarray,
    *,
    grid: Sequence[Mapping[str, Any]],
    n_classes: int,
    class_weight: np.ndarray | None,
    seed: int,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """(G, B, C) float32 for `test_rows` (B,) by heads that learn from `train_rows`; positions in x (M, D)."""
    settings: dict[str, Any] = {"params": grid, "n_classes": n_classes, "class_weight": class_weight, "seed": seed}
    fitted = fit_rows(head, x, y, train_rows, sample_weight=sample_weight, **settings)
    return prediction.predict_many(list(fitted), x[test_rows])


def fit_rows(
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    rows: np.ndarray | slice,
    *,
    sample_weight: np.ndarray | None,
    **shared: Any,
) -> Iterator[FittedHead]:
    """Heads that learn from `rows` of x (M, D); a head that cannot weigh pictures by `sample_weight` (M,) does not."""
    if sample_weight is not None and "weights" not in head.cannot:
        shared["sample_weight"] = sample_weight[rows]
    return head.path(x[rows], y[rows], **shared)


def count_folds(folds: np.ndarray) -> int:
    """Folds of the first repeat of `folds` (R, M)."""
    return len(np.unique(folds[0][folds[0] >= 0]))


def _list_folds(folds: np.ndarray) -> list[tuple[int, int]]:
    tasks = []
    for repeat, line in enumerate(folds):
        numbers = [int(k) for k in np.unique(line) if k >= 0]
        if len(numbers) < 2:
            raise ValueError(f"repeat {repeat} has {len(numbers)} folds; cross-validation needs two")
        tasks += [(repeat, k) for k in numbers]
    return tasks


def run_in_threads(run_task: Callable[[Any], None], tasks: Sequence[Any], bytes_each: int) -> None:
    """Do all tasks, as many at once as cores and memory (`bytes_each` a task) allow; the first error is raised."""
    workers = min(count_threads(), len(tasks), _BYTES_AT_ONCE // max(_COPIES * bytes_each, 1))
    if workers < 2 or bytes_each < _WORTH_BYTES:
        for task in tasks:
            run_task(task)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run_task, tasks))


def average_losses(metric: str, y: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(M,) loss of each picture, averaged over the repeats of (R, M, C) that judged it; NaN where none did."""
    judged = ~np.isnan(probabilities[:, :, 0])
    total, count = np.zeros(len(y)), judged.sum(axis=0)
    for p_MC, rows in zip(probabilities, judged, strict=True):
        total[rows] += per_picture_loss(metric, y[rows], p_MC[rows])
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def tune_head(
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    *,
    n_classes: int,
    metric: str = "log_loss",
    class_weight: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
    seed: int = 0,
    grid: Sequence[Mapping[str, Any]] | None = None,
) -> TunedSetting:
    """Search the grid (by default the head's) on the first repeat; the other repeats are of the winner alone.

    From the middle towards less loss, in step on all folds, until both neighbours of the best have more: for more
    columns than pictures from the second strongest setting. Heads are solved to `JUDGED`. Shapes as of
    `predict_held_out`.
    """
    folds, head = np.atleast_2d(folds), loosen_head(head)
    grid = list(head.grid(len(y), x.shape[1], n_classes) if grid is None else grid)
    weights = {"class_weight": class_weight, "sample_weight": sample_weight}
    shared: dict[str, Any] = {"n_classes": n_classes, "seed": seed, **weights}
    held_out, grid_losses = _search_grid(head, x, y, folds[0], grid, metric, shared)
    best = int(np.nanargmin(grid_losses))
    tuned = _make_tuned(grid[best], held_out[best][None], metric, y, grid_losses)
    return judge_more_repeats(tuned, head, x, y, folds[1:], metric=metric, **shared) if len(folds) > 1 else tuned


def loosen_head(head: Head) -> Head:
    """The head as it is judged, solved to `JUDGED`."""
    return ensemble.loosen_head(head, JUDGED)


def _make_tuned(
    params: Mapping[str, Any], held_out: np.ndarray, metric: str, y: np.ndarray, grid_losses: tuple[float, ...]
) -> TunedSetting:
    losses = average_losses(metric, y, held_out)
    return TunedSetting(params=params, held_out=held_out, losses=losses, grid_losses=grid_losses)


def _search_grid(
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    grid: Sequence[Mapping[str, Any]],
    metric: str,
    shared: dict[str, Any],
) -> tuple[Mapping[int, np.ndarray], tuple[float, ...]]:
    """Held-out probabilities (M, C) of the settings that were tried; the mean loss of each, NaN where it was not."""
    losses = [np.nan] * len(grid)

    def judge_setting(position: int, p_MC: np.ndarray) -> None:
        losses[position] = float(np.nanmean(average_losses(metric, y, p_MC[None])))

    numbers = [fold for _, fold in _list_folds(folds[None])]
    if 2 * len(numbers) * x.nbytes > _BYTES_IN_STEP:  # fold by fold instead, so that few are held at a time
        of_grid = predict_held_out(head, x, y, folds[None], grid=grid, **shared)
        for number, p_1MC in enumerate(of_grid):
            judge_setting(number, p_1MC[0])
        return {number: p_1MC[0] for number, p_1MC in enumerate(of_grid)}, tuple(losses)
    held_out, search = dict[int, np.ndarray](), _StepwiseSearch(head, x, y, folds, numbers, grid, shared)
    untried = [min(1 if len(y) < x.shape[1] else len(grid) // 2, len(grid) - 1)]
    with blas_threads.single_blas_thread():
        while untried:
            position = untried[0]
            if position not in held_out:
                held_out |= search.predict_setting(position)
            judge_setting(position, held_out[position])
            best = int(np.nanargmin(losses))
            untried = [n for n in (best + 1, best - 1) if 0 <= n < len(grid) and np.isnan(losses[n])]
    return held_out, tuple(losses)


class _StepwiseSearch:
    """One setting after the other, all folds in step; each fold's path goes on where the last setting left it."""

    def __init__(
        self,
        head: Head,
        x: np.ndarray,
        y: np.ndarray,
        folds: np.ndarray,
        numbers: Sequence[int],
        grid: Sequence[Mapping[str, Any]],
        shared: dict[str, Any],
    ) -> None:
        self.x, self.grid = x, grid
        self.shape = (len(y), shared["n_classes"])
        self.asked = list[Mapping[str, Any]]()  # settings so far: paths walk through it while it grows
        self.test_rows = [np.flatnonzero(folds == fold) for fold in numbers]
        train_rows = [np.flatnonzero((folds != fold) & (folds >= 0)) for fold in numbers]
        self.fit = [partial(fit_rows, head, x, y, rows, **shared) for rows in train_rows]
        self.paths = [iter(fit(params=self.asked)) for fit in self.fit]

    def predict_setting(self, position: int) -> dict[int, np.ndarray]:
        """(M, C) held-out probabilities of a setting of the grid; of all where one search for neighbours tells them."""
        self.asked.append(self.grid[position])
        answers: list[dict[int, np.ndarray]] = [{} for _ in self.paths]

        def judge_fold(fold: int) -> None:
            fitted = {position: self._fit_next(fold)}
            if fitted[position].kind == "neighbours":
                fitted = dict(enumerate(self.fit[fold](params=self.grid)))
            predicted = prediction.predict_many(list(fitted.values()), self.x[self.test_rows[fold]])
            answers[fold] = dict(zip(fitted, predicted, strict=True))

        run_in_threads(judge_fold, range(len(self.paths)), self.x.nbytes)
        held_out = {number: np.full(self.shape, np.nan, np.float32) for number in answers[0]}
        for rows, answer in zip(self.test_rows, answers, strict=True):
            for number, p_BC in answer.items():
                held_out[number][rows] = p_BC
        return held_out

    def _fit_next(self, fold: int) -> FittedHead:
        fitted = next(self.paths[fold], None)
        if fitted is None:  # a head that drew all its settings at once
            self.paths[fold] = iter(self.fit[fold](params=self.asked[-1:]))
            fitted = next(self.paths[fold])
        return fitted


def judge_more_repeats(
    first: TunedSetting,
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    *,
    metric: str,
    **shared: Any,
) -> TunedSetting:
    """The setting that `tune_head` found, on further repeats `folds` (R, M); the other arguments as there."""
    added = predict_held_out(head, x, y, folds, grid=[first.params], **shared)[0]
    return _make_tuned(first.params, np.concatenate([first.held_out, added]), metric, y, first.grid_losses)


def balanced_class_weights(y: np.ndarray, n_classes: int) -> np.ndarray:
    """(C,) class weights that give each present class the same sum, 1 on average over pictures."""
    counts = np.bincount(y, minlength=n_classes)
    return np.where(counts > 0, len(y) / (max(int((counts > 0).sum()), 1) * np.maximum(counts, 1)), 1.0)


def resize_params(params: Mapping[str, Any], size: int, full: int) -> Mapping[str, Any]:
    """A setting found with `full` pictures, for `size` pictures.

    Strengths are in parts of D / M, so they grow as pictures get fewer; neighbours are at most half the pictures.
    """
    resize: dict[str, Callable[[Any], Any]] = {
        "strength": lambda value: value * (full / size),
        "k": lambda value: min(value, max(size // 2, 1)),
        ensemble.MEMBERS: lambda members: [m | {"params": resize_params(m["params"], size, full)} for m in members],
    }
    return {name: resize[name](value) if name in resize else value for name, value in params.items()}


def draw_stratified(y: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(B,) int64 ascending, at most `count` positions drawn by class in their shares, at least one of each class."""
    if len(y) <= count:
        return np.arange(len(y))
    rng = np.random.default_rng([seed, 50_000])
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) > count:
        raise ValueError(f"{count} pictures cannot hold {len(classes)} classes")
    exact = counts * (count / len(y))
    takes = np.maximum(exact.astype(np.int64), 1)
    for position in np.argsort(-(exact - takes), kind="stable")[: max(count - int(takes.sum()), 0)]:
        takes[position] += 1
    while takes.sum() > count:
        takes[np.argmax(takes)] -= 1
    drawn = [rng.choice(np.flatnonzero(y == c), take, replace=False) for c, take in zip(classes, takes, strict=True)]
    return np.sort(np.concatenate(drawn)).astype(np.int64)
