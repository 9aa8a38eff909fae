"""How a network of the zoo is trained: headstart's own network, step and schedule on pictures that lie in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from headstart.core import registry
from headstart.core.recipe import Recipe
from headstart.core.types import FittedHead
from headstart.finetuning.inputs import batch_mixing
from headstart.finetuning.network.trainable_network import HeadStart, Network
from headstart.finetuning.training import epoch_metrics, schedules
from headstart.finetuning.training.train_step import TrainStep
from headstart.heads import cross_validation

FOLDS = 4


class Pictures:
    """Full batches of some pictures in the epoch's order, for training.

    Args:
        x: (n, H, W, 3) uint8.
        y: (n,) int64.
        classes: C.
        recipe: Its batch and seed.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, classes: int, recipe: Recipe) -> None:
        self.x, self.y, self.recipe, self.n = x.astype(np.float32), y, recipe, len(y)
        self.soft = np.eye(classes, dtype=np.float32)[y]
        self.steps = max(1, self.n // recipe.batch)

    def epoch(self, number: int) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]]:
        """See `headstart.finetuning.training.prefetch.Feed`."""
        order = batch_mixing.draw_order(self.y, self.recipe, number)
        for at in np.array_split(order, self.steps) if self.n < self.recipe.batch else self._full(order):
            yield {"pictures": self.x[at]}, self.soft[at], self.y[at]

    def _full(self, order: np.ndarray) -> np.ndarray:
        return order[: self.steps * self.recipe.batch].reshape(self.steps, self.recipe.batch)


@dataclass(frozen=True)
class Shown:
    """Pictures to ask about, in batches of 256."""

    x: np.ndarray
    y: np.ndarray

    def batches(self) -> Iterator[dict[str, np.ndarray]]:
        """See `headstart.finetuning.training.prefetch.HeldOut`."""
        for at in range(0, len(self.y), 256):
            yield {"pictures": self.x[at : at + 256].astype(np.float32)}


class Compiled:
    """A training that is compiled once for all networks of one style and number of classes: most of its time, else.

    Its steps, their rates and their order are those of `headstart.finetuning.training.trainer`, bit for bit.

    Args:
        made: A network of this style.
        recipe: How, but for the seed.
    """

    def __init__(self, made: Network, recipe: Recipe) -> None:
        self.network, self.stepper = made, TrainStep(made, recipe, None)
        self.state = self.stepper.copy_state()

    def trained(self, weights: Mapping[str, np.ndarray], recipe: Recipe, feed: Pictures, held: Shown) -> np.ndarray:
        """(M, C) float32 logits of the network that `weights` become, all of a network's by path."""
        self.network.set(weights)
        self.stepper.restore_state(self.state)
        batches = (batch for epoch in range(1, recipe.epochs + 1) for batch in feed.epoch(epoch))
        rates = schedules.schedule_rates(recipe, recipe.epochs * feed.steps)
        for (inputs, soft, _), rate in zip(batches, rates, strict=True):
            self.stepper.take_step(inputs, soft, float(rate))
        return epoch_metrics.predict_logits(self.network, held)


def even_folds(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) fold of each picture by chance, each class in all of them alike."""
    order, found = rng.permutation(len(y)), np.empty(len(y), np.int64)
    found[order[np.argsort(y[order], kind="stable")]] = np.arange(len(y)) % FOLDS
    return found


def logistic(x: np.ndarray, y: np.ndarray, classes: int, seed: int) -> FittedHead:
    """The logistic head on some features, its strength by cross-validation inside them."""
    head = registry.load_plugin("heads", "logistic")
    folds = even_folds(y, np.random.default_rng([seed, 13]))
    best = cross_validation.tune_head(head, x, y, folds, n_classes=classes, seed=seed)
    made = head.path(x, y, n_classes=classes, params=[best.params], class_weight=None, seed=seed)
    return next(iter(made))


def start_of(fitted: FittedHead) -> HeadStart:
    """The head to start from, without a standardisation of its own: that would be a constant of the compiled step."""
    weights, bias = fitted.arrays["weights"], fitted.arrays["bias"]
    return HeadStart(weights=weights, bias=bias, centre=np.zeros(len(weights)), scale=np.ones(len(weights)))
