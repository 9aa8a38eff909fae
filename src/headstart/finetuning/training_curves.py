"""Trainings as arrays: a score by epoch (0: the start, NaN if not measured), E epochs, F folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.types import TrainingLog


def score_curve(log: TrainingLog, side: str, score: str = "loss") -> np.ndarray:
    """(E + 1,) float64 of a field of `EpochScores`, or of its `loss` or `skill`; `side` is `train` or `val`."""
    sides = [log.start if side == "val" else None, *(row.val if side == "val" else row.train for row in log.epochs)]
    values = [np.nan if scores is None else getattr(scores, score) for scores in sides]
    return np.array(values, np.float64)


def score_curves(logs: Sequence[TrainingLog], side: str, score: str) -> np.ndarray:
    """(F, E + 1) float64 as `score_curve` of each training, NaN after its last epoch."""
    rows = [score_curve(log, side, score) for log in logs]
    padded = np.full((len(rows), max(map(len, rows), default=1)), np.nan)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded
