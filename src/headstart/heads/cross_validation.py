"""Cross-validation of heads on cached vectors: held-out probabilities, and the search of a setting.

A fold is a number beside each picture, in each repeat; -1 keeps a picture out of that repeat altogether. Folds run in
threads, each with one BLAS thread, and never share a sum: results are the same bit for bit on any number of cores.
Legend: M pictures, D columns, C classes, K folds, R repeats, G settings of a grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
PATIENCE = 1  # settings without gain after which a search ends


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TunedSetting:
    """A head's best setting.

    Attributes:
        held_out: (R, M, C) float32 held-out probabilities with it.
        losses: (M,) float64 of each picture, averaged over the repeats that judged it; NaN where none did.
        grid_losses: Mean loss on the first repeat of each setting of the grid that was tried.
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
    shared: dict[str, Any] = {"n_classes": n_classes, "class_weight": class_weight, "seed": seed}
    shared |= {"sample_weight": sample_weight}
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
    shared: dict[str, Any] = {"n_classes": n_classes, "class_weight": class_weight, "seed": seed}
    fitted = fit_rows(head, x, y, train_rows, params=grid, sample_weight=sample_weight, **shared)
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

    From the strongest to the weakest regularisation, in step on all folds, until `PATIENCE` settings in a row are no
    better than the best before: the weak ones are the slowest to fit. Shapes as of `predict_held_out`.
    """
    folds = np.atleast_2d(folds)
    grid = list(head.grid(len(y), x.shape[1], n_classes) if grid is None else grid)
    shared: dict[str, Any] = {"n_classes": n_classes, "class_weight": class_weight, "seed": seed}
    shared |= {"sample_weight": sample_weight}
    held_out, grid_losses = _search_grid(head, x, y, folds[0], grid, metric, shared)
    best = int(np.argmin(grid_losses))
    tuned = _make_tuned(grid[best], held_out[best][None], metric, y, grid_losses)
    return judge_more_repeats(tuned, head, x, y, folds[1:], metric=metric, **shared) if len(folds) > 1 else tuned


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
) -> tuple[list[np.ndarray], tuple[float, ...]]:
    """Held-out probabilities (M, C) and mean loss of each setting, as long as they get better."""

    def mean_loss(p_MC: np.ndarray) -> float:
        return float(np.nanmean(average_losses(metric, y, p_MC[None])))

    numbers = [fold for _, fold in _list_folds(folds[None])]
    if 2 * len(numbers) * x.nbytes > _BYTES_IN_STEP:  # fold by fold instead, so that few are held at a time
        held_out = [p_1MC[0] for p_1MC in predict_held_out(head, x, y, folds[None], grid=grid, **shared)]
        return held_out, tuple(map(mean_loss, held_out))
    held_out, grid_losses = [], list[float]()
    with blas_threads.single_blas_thread():
        for p_MC in _predict_in_step(head, x, y, folds, numbers, grid, shared):
            held_out.append(p_MC)
            grid_losses.append(mean_loss(p_MC))
            if len(held_out) - 1 - int(np.argmin(grid_losses)) >= PATIENCE:
                break
    return held_out, tuple(grid_losses)


def _predict_in_step(
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    numbers: Sequence[int],
    grid: Sequence[Mapping[str, Any]],
    shared: dict[str, Any],
) -> Iterator[np.ndarray]:
    """(M, C) held-out probabilities of one setting after the other, all folds in step."""
    test_rows = [np.flatnonzero(folds == fold) for fold in numbers]
    train_rows = [np.flatnonzero((folds != fold) & (folds >= 0)) for fold in numbers]
    paths = [iter(fit_rows(head, x, y, rows, params=grid, **shared)) for rows in train_rows]
    answers: list[np.ndarray] = [np.empty(0)] * len(numbers)

    def judge_fold(fold: int) -> None:
        fitted = [next(paths[fold])]
        if fitted[0].kind == "neighbours":  # one search answers for every setting
            fitted += paths[fold]
        answers[fold] = prediction.predict_many(fitted, x[test_rows[fold]])

    count = 0
    while count < len(grid):
        run_in_threads(judge_fold, range(len(numbers)), x.nbytes)
        for position in range(len(answers[0])):
            p_MC = np.full((len(y), shared["n_classes"]), np.nan, np.float32)
            for rows, answer in zip(test_rows, answers, strict=True):
                p_MC[rows] = answer[position]
            yield p_MC
        count += len(answers[0])


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
