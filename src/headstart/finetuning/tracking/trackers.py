"""Where training curves go besides the run folder: TensorBoard event files, or MLflow.

Training and held-out scores lie side by side, so that both tools draw them into one chart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from headstart.core.recipe import Recipe
from headstart.core.types import EpochRow
from headstart.finetuning.tracking.mlflow_tracker import MlflowTracker
from headstart.finetuning.tracking.tensorboard import EventFiles


class Tracker(Protocol):
    """Follows trainings; each has a name such as `trial 3, fold 0`."""

    def params(self, log_name: str, recipe: Recipe) -> None:
        """Log the recipe of a training, before its first epoch."""

    def log(self, log_name: str, row: EpochRow) -> None:
        """Log the scores of an epoch."""

    def close(self) -> None:
        """End all trainings; nothing may be logged after it."""


def open_tracker(kind: str, folder: Path, run_name: str, class_names: tuple[str, ...]) -> Tracker:
    """Begin to follow the trainings of a run, `tensorboard` or `mlflow`; files go into a folder of that name.

    Raises:
        SetupError: MLflow is not installed, or its server does not answer.
    """
    if kind == "tensorboard":
        return EventFiles(folder / "tensorboard", class_names)
    return MlflowTracker(folder / "mlflow", run_name, class_names)
