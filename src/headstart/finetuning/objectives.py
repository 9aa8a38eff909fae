"""What each task makes of a network: the loss, what its outputs say, how they are scored. One small object a task.

A network has C outputs ("logits") in a unit in which 1 is much: log-odds, or standard deviations of the targets.
Targets come as rows of numbers that a loss reads, so that mixing two pictures, or cutting a batch in
parts, is a weighted sum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from headstart.core.recipe import Recipe
from headstart.core.types import PRESENT, ClassScores, EpochScores, LabelScores, NumberScores, Task
from headstart.heads import softmax_regression
from headstart.heads.prediction import sigmoid, softmax
from headstart.statistics.intervals import Interval, mean_interval, wilson_interval
from headstart.statistics.losses import (
    binary_log_losses,
    log_losses,
    measure_share_loss,
    per_picture_loss,
    squared_errors,
)
from headstart.statistics.metrics import confusion_matrix

FARTHEST = 30.0  # in logits: a probability of 1e-13
_LEAST_WEIGHT = 1e-12
COLDEST, WARMEST = 0.05, 20.0
_STIFF = 2.0


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """What training a network for a task is; `outputs` is C."""

    outputs: int
    metric: ClassVar[str]  # the loss of a picture that the task itself is about
    start: ClassVar[str]  # the head on frozen features that networks start from
    head: ClassVar[str]  # the head that is handed over, and its kind
    kind: ClassVar[str]
    link: ClassVar[str]  # the activation that makes answers of logits, as Keras names it
    has_temperature: ClassVar[bool] = True
    rate_factor: ClassVar[float] = 1.0  # on the rates that a start from a fitted head is given by default
    tolerance: ClassVar[float] = 0.03  # see `find_tolerance`
    skill_names: ClassVar[tuple[str, str]]  # of `measure_skill`: what is measured, and what guesses

    @abstractmethod
    def encode_targets(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """(B, T) float32 of targets (B, …) that count as much as `weights` (B,)."""

    @abstractmethod
    def decode_targets(self, encoded: np.ndarray) -> np.ndarray:
        """Targets (B, …) of (B, T) mixed ones: the larger share's class, or the mean of numbers."""

    @abstractmethod
    def compute_losses(self, recipe: Recipe, class_weight: np.ndarray | None, targets: Any, logits: Any) -> Any:
        """(B,) tensor of the losses of logits (B, C) against targets (B, T)."""

    @abstractmethod
    def answer(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """(…, C) float64 answers: probabilities after a temperature, or numbers in the target's own unit."""

    @abstractmethod
    def score(self, y: np.ndarray, answers: np.ndarray) -> EpochScores:
        """Scores of (M, C) answers against targets (M, …)."""

    @abstractmethod
    def measure_skill(self, y: np.ndarray, answers: np.ndarray) -> tuple[Interval, float]:
        """How well (M, C) answers do, at most 1, and how well guessing does."""

    @abstractmethod
    def guess_skill(self, y: np.ndarray) -> float:
        """The `skill` of scores that guessing has."""

    def make_loss(self, recipe: Recipe, class_weight: np.ndarray | None = None) -> Any:
        """The loss as Keras takes it; `class_weight` is (C,) or None."""
        import keras

        def call(_: Any, targets: Any, logits: Any) -> Any:
            return self.compute_losses(recipe, class_weight, targets, logits)

        return type("Objective", (keras.losses.Loss,), {"call": call})(name="objective")

    def find_tolerance(self, y: np.ndarray) -> float:
        """What a change of pictures that keeps their targets (M, …) may add to the mean loss."""
        return self.tolerance

    def list_losses(self, y: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """(M,) float64 by the task's own metric."""
        return per_picture_loss(self.metric, y, answers)

    def find_unit(self, temperature: float = 1.0) -> tuple[float, float]:
        """Factor and summand that bring logits to what the link takes, and to the unit of a fitted head."""
        return 1 / temperature, 0.0

    def fit_temperature(self, logits: np.ndarray, y: np.ndarray) -> float:
        """What held-out logits (M, C) are divided by."""
        return fit_temperature(logits, y)

    def bound_bias(self, bias: np.ndarray) -> np.ndarray:
        """(C,) first biases in logits."""
        return bias


@dataclass(frozen=True, kw_only=True)
class _ClassObjective(Objective):
    """One class a picture: cross-entropy against soft labels, or the focal loss (Lin 2017).

    A class weight counts a picture as often as its label has of the class. Label smoothing (Szegedy 2016) comes after
    it. The focal loss weighs each class's term by (1 - p)^gamma.
    """

    metric = "log_loss"
    start = "logistic"
    head, kind, link = "softmax", "linear", "softmax"
    skill_names = "accuracy", "the most frequent class"

    def encode_targets(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        encoded: np.ndarray = np.eye(self.outputs, dtype=np.float32)[y]
        return encoded if weights is None else encoded * weights[:, None]

    def decode_targets(self, encoded: np.ndarray) -> np.ndarray:
        return np.asarray(encoded.argmax(axis=1))

    def compute_losses(self, recipe: Recipe, class_weight: np.ndarray | None, targets: Any, logits: Any) -> Any:
        from keras import ops

        logs = ops.log_softmax(logits, axis=-1)
        if class_weight is not None:
            targets = targets * np.asarray(class_weight, np.float32)
        if recipe.label_smoothing:
            spread = ops.sum(targets, axis=-1, keepdims=True) / targets.shape[-1]
            targets = targets * (1 - recipe.label_smoothing) + spread * recipe.label_smoothing
        if recipe.focal:
            wrong = ops.maximum(-ops.expm1(logs), 1e-7)  # a root has no slope at 0
            targets = targets * ops.power(wrong, recipe.focal)
        return -ops.sum(targets * logs, axis=-1)

    def answer(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        return softmax(logits.astype(np.float64) / temperature)

    def score(self, y: np.ndarray, answers: np.ndarray) -> ClassScores:
        """A class without a picture has NaN scores and stays out of the macro averages; one that is there and was never
        answered has precision 0.
        """
        cells_CC = confusion_matrix(y, answers.argmax(axis=1), self.outputs)
        right, truth = np.diag(cells_CC).astype(np.float64), cells_CC.sum(axis=1)
        present = truth > 0
        recall = np.where(present, right / np.maximum(truth, 1), np.nan)
        precision = np.where(present, right / np.maximum(cells_CC.sum(axis=0), 1), np.nan)
        return ClassScores(
            log_loss=float(log_losses(y, answers).mean()),
            accuracy=float(right.sum() / truth.sum()),
            balanced_accuracy=float(recall[present].mean()),
            precision=float(precision[present].mean()),
            recall=float(recall[present].mean()),
            class_precision=tuple(precision.tolist()),
            class_recall=tuple(recall.tolist()),
        )

    def measure_skill(self, y: np.ndarray, answers: np.ndarray) -> tuple[Interval, float]:
        correct = answers.argmax(axis=1) == y
        return wilson_interval(float(correct.sum()), len(y))._replace(value=float(correct.mean())), self.guess_skill(y)

    def guess_skill(self, y: np.ndarray) -> float:
        return float(np.bincount(y).max() / len(y))

    def bound_bias(self, bias: np.ndarray) -> np.ndarray:
        """A class that was not there to be learnt is impossible, but not so far out that a smoothed label explodes."""
        from headstart.heads.design_matrix import ABSENT

        learnt = bias > ABSENT / 2
        return np.where(learnt, bias, bias[learnt].min() - FARTHEST)


@dataclass(frozen=True, kw_only=True)
class _NumberObjective(Objective):
    """A number a picture: the squared error in parts of the variance of all training targets.

    A network's output is in standard deviations from their mean. Targets are encoded as the weighted number and the
    weight.
    """

    mean: float
    deviation: float
    metric = "r2"
    rate_factor = 0.1  # on 80 pictures, held-out R2 0.35 before, in 30 epochs: rate 2e-3 ends at -35, 2e-4 at 0.89
    start = "ridge_regression"
    head, kind, link = "linear", "linear_identity", "linear"
    has_temperature = False
    tolerance = 0.005  # a loss in parts of the variance is small
    skill_names = "R2", "the mean"

    def encode_targets(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        z = (np.asarray(y, np.float64) - self.mean) / self.deviation
        weights = np.ones(len(z)) if weights is None else weights
        return np.stack([weights * z, weights], axis=1).astype(np.float32)

    def decode_targets(self, encoded: np.ndarray) -> np.ndarray:
        z, weights = encoded.astype(np.float64).T
        return np.asarray(self.mean + self.deviation * z / np.maximum(weights, _LEAST_WEIGHT))

    def compute_losses(self, recipe: Recipe, class_weight: np.ndarray | None, targets: Any, logits: Any) -> Any:
        from keras import ops

        z, weights = targets[:, 0], targets[:, 1]
        return weights * ops.square(logits[:, 0] - z / ops.maximum(weights, _LEAST_WEIGHT))

    def answer(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        return np.asarray(self.mean + self.deviation * logits.astype(np.float64))

    def score(self, y: np.ndarray, answers: np.ndarray) -> NumberScores:
        errors = np.asarray(answers[:, 0], np.float64) - y
        spread = float(np.var(y))
        return NumberScores(
            squared_error=float(np.mean((errors / self.deviation) ** 2)),
            r2=1 - float(np.mean(errors**2)) / spread if spread > 0 else float("nan"),
            mae=float(np.abs(errors).mean()),
        )

    def measure_skill(self, y: np.ndarray, answers: np.ndarray) -> tuple[Interval, float]:
        return mean_interval(1 - squared_errors(y, answers)), 0.0

    def guess_skill(self, y: np.ndarray) -> float:
        return 0.0

    def find_unit(self, temperature: float = 1.0) -> tuple[float, float]:
        return self.deviation, self.mean

    def fit_temperature(self, logits: np.ndarray, y: np.ndarray) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class _LabelObjective(Objective):
    """Any number of labels a picture: binary cross-entropy of each, averaged over labels.

    Label smoothing draws each label's truth towards a half. The focal loss (Lin 2017) weighs each term by the
    probability of the other answer. Targets are encoded as the weighted labels and the weight.
    """

    metric = "binary_log_loss"
    start = "binary_logistic"
    head, kind, link = "sigmoid", "linear_sigmoid", "sigmoid"
    skill_names = "explained part of the binary log loss", "always the labels' shares"

    def find_tolerance(self, y: np.ndarray) -> float:
        """As large a part of the loss of the labels' shares as it is of that of two equal classes."""
        return self.tolerance * measure_share_loss(y) / float(np.log(2))

    def encode_targets(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        weights = np.ones(len(y)) if weights is None else weights
        return np.concatenate([y * weights[:, None], weights[:, None]], axis=1).astype(np.float32)

    def decode_targets(self, encoded: np.ndarray) -> np.ndarray:
        return np.asarray(2 * encoded[:, :-1] >= encoded[:, -1:])

    def compute_losses(self, recipe: Recipe, class_weight: np.ndarray | None, targets: Any, logits: Any) -> Any:
        from keras import ops

        present, weights = targets[:, :-1], targets[:, -1:]
        present = present * (1 - recipe.label_smoothing) + weights * recipe.label_smoothing / 2
        absent = weights - present
        log_p, log_q = ops.log_sigmoid(logits), ops.log_sigmoid(-logits)
        if recipe.focal:
            present, absent = present * ops.exp(recipe.focal * log_q), absent * ops.exp(recipe.focal * log_p)
        return -ops.mean(present * log_p + absent * log_q, axis=-1)

    def answer(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        return sigmoid(logits.astype(np.float64) / temperature)

    def score(self, y: np.ndarray, answers: np.ndarray) -> LabelScores:
        """A label that no picture has has NaN scores of its own."""
        answered, present = answers >= PRESENT, y.any(axis=0)
        hits, labels, calls = (part.sum(axis=0) for part in (y & answered, y, answered))
        return LabelScores(
            binary_log_loss=float(binary_log_losses(y, answers).mean()),
            micro_f1=float(2 * hits.sum() / max(labels.sum() + calls.sum(), 1)),
            exact_match=float((y == answered).all(axis=1).mean()),
            class_precision=tuple(np.where(present, hits / np.maximum(calls, 1), np.nan).tolist()),
            class_recall=tuple(np.where(present, hits / np.maximum(labels, 1), np.nan).tolist()),
        )

    def measure_skill(self, y: np.ndarray, answers: np.ndarray) -> tuple[Interval, float]:
        guess = binary_log_losses(y, np.tile(y.mean(axis=0), (len(y), 1))).mean()
        return mean_interval(1 - binary_log_losses(y, answers) / guess), 0.0

    def guess_skill(self, y: np.ndarray) -> float:
        return self.score(y, np.tile(y.mean(axis=0), (len(y), 1))).micro_f1

    def fit_temperature(self, logits: np.ndarray, y: np.ndarray) -> float:
        pairs = np.stack([np.zeros(logits.size), logits.reshape(-1)], axis=1)  # softmax of (0, z) is sigmoid of z
        return fit_temperature(pairs, y.reshape(-1).astype(np.int64))


def make_objective(task: Task, targets: np.ndarray, outputs: int) -> Objective:
    """The objective of a task; `targets` (M, …) are those of all training pictures."""
    if task.has_classes:
        return _ClassObjective(outputs=outputs)
    if task.has_labels:
        return _LabelObjective(outputs=outputs)
    values = np.asarray(targets, np.float64)
    return _NumberObjective(outputs=outputs, mean=float(values.mean()), deviation=float(values.std()) or 1.0)


def fit_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """What held-out (M, C) logits are divided by for the lowest log loss (Guo 2017), between 0.05 and 20.

    The total log loss is lowered together with `_STIFF` times the squared logarithm of the temperature, so that some
    fifty pictures without an error, which would ask for endless certainty, leave it near 1; a thousand decide alone.
    """
    from scipy.optimize import minimize_scalar

    scores = logits.astype(np.float64)

    def cost(log_heat: float) -> float:
        p = softmax_regression.softmax_rows(scores / np.exp(log_heat))
        return float(log_losses(y, p).sum() + _STIFF * log_heat**2)

    bounds = (np.log(COLDEST), np.log(WARMEST))
    return float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))
