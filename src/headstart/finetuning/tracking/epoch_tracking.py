"""Trainings told to the tracker as they go, each epoch once, however often a run was killed and resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from headstart.core.recipe import Recipe
from headstart.core.run.context import Context
from headstart.core.storage.files import read_json, write_json
from headstart.core.types import EpochRow
from headstart.finetuning.tracking.trackers import Tracker, open_tracker

OnEpoch = Callable[[EpochRow], bool]


class EpochTracker:
    """What the tracker was told.

    Args:
        tracker: Open.
        file: Remembers the last epoch of each training.
    """

    def __init__(self, tracker: Tracker, file: Path) -> None:
        self._tracker, self._file = tracker, file
        self._told: dict[str, int] = read_json(file) if file.is_file() else {}

    def done(self, name: str, recipe: Recipe, rows: Sequence[EpochRow]) -> None:
        """Tell of a training what was not told yet."""
        if name not in self._told:
            self._tracker.params(name, recipe)
            self._keep(name, 0)
        for row in rows:
            if row.epoch > self._told[name]:
                self._tracker.log(name, row)
                self._keep(name, row.epoch)

    def _keep(self, name: str, epoch: int) -> None:
        self._told[name] = epoch
        write_json(self._file, self._told)


@contextmanager
def opened(ctx: Context, class_names: tuple[str, ...], folder: Path) -> Iterator[EpochTracker | None]:
    """The tracker that the job asks for, closed when the block ends, whatever ends it; None when it asks for none.

    Args:
        ctx: The run.
        class_names: C names.
        folder: Remembers what was told for as long as trainings may be resumed.

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


def live(follow: EpochTracker | None, name: str, recipe: Recipe, on_epoch: OnEpoch | None = None) -> OnEpoch | None:
    """What a training calls at the end of each epoch, so that the tracker hears of it before `on_epoch` decides."""
    if follow is None:
        return on_epoch

    def told(row: EpochRow) -> bool:
        follow.done(name, recipe, [row])
        return on_epoch is not None and on_epoch(row)

    return told
