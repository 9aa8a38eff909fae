"""A small network to train, with pictures that a person could sort: what the training loop needs, made in a moment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.recipe import Recipe
from headstart.core.types import BackboneSpec, FeatureLevel, InputSpec
from headstart.finetuning.inputs import batch_mixing
from headstart.finetuning.network import trainable_network as networks
from headstart.finetuning.network.trainable_network import Network
from headstart.finetuning.objectives import Objective
from small_nets import classes

SIDE, CLASSES = 8, 3
SPEC = BackboneSpec(
    name="small:trunk",
    family="small",
    revision="1",
    input=InputSpec(size_px=SIDE),
    depths=(FeatureLevel(name="early", dim=8), FeatureLevel(name="last", dim=8)),
    params=1,
    flops=1,
    licence="Apache-2.0",
    licence_note="",
    pretrained_on="nothing",
    download_bytes=1,
    prior=0.5,
    prior_source="a guess",
)


def recipe(**given: Any) -> Recipe:
    """All blocks of the trunk train, eight epochs of seven steps; any rate, also one that breaks the training."""
    rate = given.pop("rate", 2e-2)
    made = Recipe(**{"depths": ("last",), "part": "all", "batch": 16, "epochs": 8, **given})
    object.__setattr__(made, "rate", rate)  # past the limits of a recipe
    return made


def network(recipe: Recipe) -> Network:
    """The network of `build` that tells three classes apart."""
    return build(recipe, classes(CLASSES))[0]


def build(recipe: Recipe, objective: Objective) -> tuple[Network, Any]:
    """Two convolutions with a batch norm between them, and a random head, on (8, 8, 3) pictures; and the trunk."""
    import keras

    def conv(number: int, **given: Any) -> Any:
        start = keras.initializers.GlorotUniform(seed=number)
        return keras.layers.Conv2D(8, 3, activation="relu", kernel_initializer=start, name=f"conv{number}", **given)

    pictures = x = keras.Input((SIDE, SIDE, 3), name="pictures")
    x = early = conv(1)(keras.layers.Rescaling(1 / 128, -1.0)(x))
    x = conv(2, strides=2)(keras.layers.BatchNormalization()(x))
    trunk = keras.Model(pictures, [keras.layers.GlobalAveragePooling2D()(one) for one in (early, x)])
    trunk.trainable = False
    return networks.build_network(trunk, SPEC, recipe, start=None, objective=objective), trunk


def pictures(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(count, 8, 8, 3) float32 and (count,) classes: one of three colours, hard to see in the noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % CLASSES
    x = rng.normal(128, 60, (count, SIDE, SIDE, 3)) + 30 * np.eye(3)[y][:, None, None, :]
    return np.clip(x, 0, 255).astype(np.float32), y.astype(np.int64)


class Feed:
    """Full batches in the epoch's order.

    Args:
        x: (n, 8, 8, 3).
        y: (n,).
        recipe: Its batch and seed.
        each: Called before each batch is given, with the epoch.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, recipe: Recipe, each: Any = None) -> None:
        self.x, self.y, self.recipe, self.each = x, y, recipe, each
        self.n, self.batch = len(y), min(recipe.batch, len(y))
        self.steps = self.n // self.batch

    def epoch(self, number: int) -> Any:
        order = batch_mixing.draw_order(self.y, self.recipe, number)[: self.steps * self.batch]
        for at in order.reshape(self.steps, self.batch):
            if self.each:
                self.each(number)
            yield {"pictures": self.x[at]}, np.eye(CLASSES, dtype=np.float32)[self.y[at]], self.y[at]


class Held:
    """Pictures to watch, in batches of 7."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y

    def batches(self) -> Any:
        for at in range(0, len(self.y), 7):
            yield {"pictures": self.x[at : at + 7]}


def main(folder: str, out: str) -> None:
    """Train into a folder, slowly, with all that a step can change, and write what came of it."""
    import time

    from headstart.core.console import Console
    from headstart.finetuning.training import trainer

    how = recipe(dropout=0.2, ema=0.9, batch_norm="train", l2_sp=0.1, gradual=True, mixup=0.0)
    x, y = pictures(120)
    made = trainer.train_network(
        network(how),
        how,
        Feed(x, y, how, each=lambda _: time.sleep(0.02)),
        held=Held(*pictures(60, seed=1)),
        class_weight=np.array([1.0, 2.0, 0.5]),
        folder=Path(folder),
        keep_epochs=True,
        console=Console(quiet=True),
        name="slow",
    )
    kept = {f"{epoch} {path}": one for epoch in range(9) for path, one in made.weights(epoch).items()}
    np.savez(out, logits=made.logits, rows=np.array(repr(made.rows)), best=made.best, **kept)


if __name__ == "__main__":
    main(*sys.argv[1:])
