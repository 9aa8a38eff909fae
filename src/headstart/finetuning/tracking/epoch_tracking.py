"""Trainings reported to TensorBoard or MLflow as they go, each epoch once, however often a run was resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from headstart.core.recipe import Recipe
from headstart.core.run.context import Context
from headstart.core.storage.files import read_json, write_json
from headstart.core.types import EpochRow
from headstart.finetuning.tracking.mlflow_tracker import MlflowTracker
from headstart.finetuning.tracking.tensorboard import EventFiles

OnEpoch = Callable[[EpochRow], bool]


class Tracker(Protocol):
    """Follows trainings; each has a name such as `trial 3, fold 0`."""

    def params(self, log_name: str, recipe: Recipe) -> None:
        """Log the recipe of a training, before its first epoch."""

    def log(self, log_name: str, row: EpochRow) -> None:
        """Log the scores of an epoch."""

    def close(self) -> None:
        """End all trainings; nothing may be logged after it."""


def open_tracker(kind: str, folder: Path, run_name: str, class_names: tuple[str, ...]) -> Tracker:
    """Begin to follow the trainings of a run, in `tensorboard` or `mlflow`; files go into a folder of that name."""
    if kind == "tensorboard":
        return EventFiles(folder / "tensorboard", class_names)
    return MlflowTracker(folder / "mlflow", run_name, class_names)


class EpochTracker:
    """Reports each epoch of each training once; `file` remembers the last one."""

    def __init__(self, tracker: Tracker, file: Path) -> None:
        self._tracker, self._file = tracker, file
        self._last_epochs: dict[str, int] = read_json(file) if file.is_file() else {}

    def report_epochs(self, name: str, recipe: Recipe, rows: Sequence[EpochRow]) -> None:
        """Report the epochs of a training that are new to the tracker."""
        if name not in self._last_epochs:
            self._tracker.params(name, recipe)
            self._remember_epoch(name, 0)
        for row in rows:
            if row.epoch > self._last_epochs[name]:
                self._tracker.log(name, row)
                self._remember_epoch(name, row.epoch)

    def _remember_epoch(self, name: str, epoch: int) -> None:
        self._last_epochs[name] = epoch
        write_json(self._file, self._last_epochs)


@contextmanager
def open_epoch_tracker(ctx: Context, class_names: tuple[str, ...], folder: Path) -> Iterator[EpochTracker | None]:
    """The tracker that the job asks for, closed when the block ends, whatever ends it; None when it asks for none.

    `folder` remembers what was reported for as long as trainings may be resumed.

    Raises:
        SetupError: MLflow is not installed, or its server does not answer.
    """
    if ctx.job.track == "none":
        yield None
        return
    follow = open_tracker(ctx.job.track, ctx.run.path, ctx.run.path.resolve().name, class_names)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield EpochTracker(follow, folder / "told.json")
    finally:
        follow.close()


def follow_epochs(
    follow: EpochTracker | None, name: str, recipe: Recipe, on_epoch: OnEpoch | None = None
) -> OnEpoch | None:
    """The callback of a training that reports each epoch to the tracker before `on_epoch` decides."""
    if follow is None:
        return on_epoch

    def report_epoch(row: EpochRow) -> bool:
        follow.report_epochs(name, recipe, [row])
        return on_epoch is not None and on_epoch(row)

    return report_epoch
