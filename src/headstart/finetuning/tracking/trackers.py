"""Where training curves go besides the run folder: TensorBoard event files, or MLflow.

Every training is followed under its own name, with its recipe and, at the end of each epoch, all its scores; those of
training and of held-out pictures lie side by side, so that both tools draw them into one chart. A resumed run goes on
in the same place.
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
    """Begin to follow the trainings of a run.

    Args:
        kind: `tensorboard` or `mlflow`.
        folder: The run's folder; files go into `tensorboard/` or `mlflow/` in it.
        run_name: What the run is called in MLflow.
        class_names: C names, for the scores of single classes.

    Raises:
        SetupError: MLflow is not installed, or its server does not answer.
    """
    if kind == "tensorboard":
        return EventFiles(folder / "tensorboard", class_names)
    return MlflowTracker(folder / "mlflow", run_name, class_names)
