"""Scores of a network after an epoch: of held-out pictures, and, at no cost, of the batches as it learnt from them."""

from __future__ import annotations

import numpy as np

from headstart.core.types import EpochRow, EpochScores
from headstart.finetuning.network.trainable_network import Network
from headstart.finetuning.training.prefetch import HeldOut
from headstart.heads.prediction import softmax
from headstart.statistics.losses import log_losses, per_picture_loss
from headstart.statistics.metrics import confusion_matrix


def score_epoch(y: np.ndarray, probabilities: np.ndarray, n_classes: int) -> EpochScores:
    """Scores of (M, C) probabilities against (M,) int64 classes.

    A class without a picture has NaN scores and stays out of the macro averages; one that is there and was never
    answered has precision 0.
    """
    cells = confusion_matrix(y, probabilities.argmax(axis=1), n_classes)
    return _score_confusion(cells, float(log_losses(y, probabilities).mean()))


def _score_confusion(cells_CC: np.ndarray, log_loss: float) -> EpochScores:
    right, truth = np.diag(cells_CC).astype(np.float64), cells_CC.sum(axis=1)
    present = truth > 0
    recall = np.where(present, right / np.maximum(truth, 1), np.nan)
    precision = np.where(present, right / np.maximum(cells_CC.sum(axis=0), 1), np.nan)
    return EpochScores(
        log_loss=log_loss,
        accuracy=float(right.sum() / truth.sum()),
        balanced_accuracy=float(recall[present].mean()),
        precision=float(precision[present].mean()),
        recall=float(recall[present].mean()),
        class_precision=tuple(precision.tolist()),
        class_recall=tuple(recall.tolist()),
    )


class EpochPredictions:
    """Running scores over the batches of an epoch."""

    def __init__(self, n_classes: int) -> None:
        self._cells = np.zeros((n_classes, n_classes), np.int64)
        self._log_loss = self._loss = 0.0
        self._n = self._steps = 0

    def add_batch(self, loss: float, logits: np.ndarray, hard: np.ndarray) -> None:
        """Count a batch: (b, C) logits as the step saw them, (b,) int64 classes, the larger part's if mixed."""
        p = softmax(logits.astype(np.float64))
        self._cells += confusion_matrix(hard, p.argmax(axis=1), len(self._cells))
        self._log_loss += float(log_losses(hard, p).sum())
        self._loss += loss
        self._n += len(hard)
        self._steps += 1

    @property
    def loss(self) -> float:
        """What was minimised, averaged over the steps."""
        return self._loss / self._steps

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(np.trace(self._cells) / self._n)

    def scores(self) -> EpochScores:
        """All of it."""
        return _score_confusion(self._cells, self._log_loss / self._n)


def format_epoch(row: EpochRow) -> str:
    """Scores of an epoch on the pictures it learnt from and on those held out, precision and recall over classes."""
    text = f"training {_format_scores(row.train)}"
    return text if row.val is None else f"{text}; held out {_format_scores(row.val)}, log loss {row.val.log_loss:.3f}"


def _format_scores(scores: EpochScores) -> str:
    return f"accuracy {scores.accuracy:.3f}, precision {scores.precision:.3f}, recall {scores.recall:.3f}"


def monitored_losses(monitor: str, y: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """(E,) the monitored metric of each epoch as a loss, lower is better; `y` is (M,) int64, `logits` (E, M, C)."""
    probabilities = (softmax(epoch_logits.astype(np.float64)) for epoch_logits in logits)
    return np.array([per_picture_loss(monitor, y, p).mean() for p in probabilities])


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
