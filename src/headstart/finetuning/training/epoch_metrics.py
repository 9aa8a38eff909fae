"""Scores of a network after an epoch: of held-out pictures, and, at no cost, of the batches as it learnt from them."""

from __future__ import annotations

import numpy as np

from headstart.core.types import EpochRow, EpochScores
from headstart.finetuning.network.trainable_network import Network
from headstart.finetuning.objectives import Objective
from headstart.finetuning.training.prefetch import HeldOut
from headstart.statistics.losses import per_picture_loss


class EpochPredictions:
    """What a network said of the batches of an epoch, as it learnt from them."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._logits, self._targets = list[np.ndarray](), list[np.ndarray]()
        self._loss = 0.0

    def add_batch(self, loss: float, logits: np.ndarray, targets: np.ndarray) -> None:
        """Count a batch: (b, C) logits as the step saw them, (b, …) targets, if mixed as the feed decodes them."""
        self._logits.append(logits)
        self._targets.append(targets)
        self._loss += loss

    @property
    def loss(self) -> float:
        """What was minimised, averaged over the steps."""
        return self._loss / len(self._logits)

    def scores(self) -> EpochScores:
        """Of all batches so far together."""
        answers = self._objective.answer(np.concatenate(self._logits))
        return self._objective.score(np.concatenate(self._targets), answers)


def format_epoch(row: EpochRow) -> str:
    """Scores of an epoch on the pictures it learnt from and on those held out."""
    text = f"training {_format_scores(row.train)}"
    if row.val is None:
        return text
    return f"{text}; held out {_format_scores(row.val)}, {row.val.names[0]} {row.val.loss:.3f}"


def _format_scores(scores: EpochScores) -> str:
    _, *shown = scores.drawn
    return ", ".join(f"{scores.drawn[field]} {getattr(scores, field):.3f}" for field in shown)


def monitored_losses(monitor: str, y: np.ndarray, logits: np.ndarray, objective: Objective) -> np.ndarray:
    """(E,) the monitored metric of each epoch as a loss, lower is better; `y` is (M, …), `logits` (E, M, C)."""
    return np.array([per_picture_loss(monitor, y, objective.answer(each)).mean() for each in logits])


def predict_logits(network: Network, held: HeldOut) -> np.ndarray:
    """(M, C) float32, in the order of `held.y`; a short batch is filled up, for logits depend on its size."""
    model, size = network.model, 0
    parts = []
    for inputs in held.batches():
        count = len(next(iter(inputs.values())))
        size = size or count
        batch = {name: _pad_batch(array, size) for name, array in inputs.items()}
        parts.append(np.asarray(model.predict_on_batch(batch))[:count])
    logits = np.concatenate(parts).astype(np.float32)
    if len(logits) != len(held.y):
        raise ValueError(f"{len(held.y)} held-out pictures were announced and {len(logits)} came")
    return logits


def _pad_batch(part: np.ndarray, size: int) -> np.ndarray:
    if len(part) == size:
        return part
    padded = np.zeros((size, *part.shape[1:]), part.dtype)
    padded[: len(part)] = part
    return padded
