"""Trainings as arrays: one score by epoch, of training or held-out pictures. Legend: E epochs, F folds.

Position 0 is the start, before the first step. It is NaN where nothing was measured then, which is always so for
training scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.types import EpochScores, TrainingLog


def curve(log: TrainingLog, side: str, score: str = "log_loss", *, of_class: int | None = None) -> np.ndarray:
    """(E + 1,) float64 a score by epoch.

    Args:
        log: One training.
        side: `train` or `val`.
        score: A field of `EpochScores`.
        of_class: Position of a class, where the score is one of each class.
    """
    first = log.start if side == "val" else None
    told: list[EpochScores | None] = [first, *(getattr(row, side) for row in log.epochs)]
    found = [np.nan if scores is None else getattr(scores, score) for scores in told]
    if of_class is not None:
        found = [each[of_class] if isinstance(each, tuple) else each for each in found]
    return np.array(found, np.float64)


def curves(logs: Sequence[TrainingLog], side: str, score: str, *, of_class: int | None = None) -> np.ndarray:
    """(F, E + 1) float64 as `curve` of each training, NaN after its last epoch."""
    each = [curve(log, side, score, of_class=of_class) for log in logs]
    out = np.full((len(each), max(map(len, each), default=1)), np.nan)
    for row, values in zip(out, each, strict=True):
        row[: len(values)] = values
    return out
