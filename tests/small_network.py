"""A small network to train, with pictures a person could sort: what the training loop needs, made in a moment."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from headstart.core.recipe import Recipe
from headstart.kit import objective

SIDE, CLASSES = 8, 3


def network(recipe: Recipe, *, norm: bool = False):
    """Two trunk blocks and a head on (8, 8, 3) pictures 0..255; with `norm` a batch norm that learns."""
    import keras

    def start(number):
        return keras.initializers.GlorotUniform(seed=100 * recipe.seed + number)

    conv, dense = keras.layers.Conv2D, keras.layers.Dense
    pictures = x = keras.Input((SIDE, SIDE, 3), name="pictures")
    x = keras.layers.Rescaling(1 / 128, -1.0)(x)
    first = conv(8, 3, activation="relu", kernel_initializer=start(1), name="first")
    second = conv(8, 3, strides=2, activation="relu", kernel_initializer=start(2), name="second")
    between = keras.layers.BatchNormalization(name="norm")
    head = dense(CLASSES, kernel_initializer=start(3), name="logits")
    x = first(x)
    x = second(between(x) if norm else x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(recipe.dropout, seed=5)(x) if recipe.dropout else x
    model = keras.Model({"pictures": pictures}, head(x), name="small")
    parts = {"early": [first, between] if norm else [first], "late": [second], "head": [head]}
    blocks = tuple(
        SimpleNamespace(name=name, variables=[v for layer in layers for v in layer.trainable_variables])
        for name, layers in parts.items()
    )
    return _Network(model, blocks, recipe)


class _Network:
    def __init__(self, model, blocks, recipe):
        self.model, self.blocks, self.recipe = model, blocks, recipe
        self.trainable_params = sum(int(np.prod(v.shape)) for v in model.trainable_variables)

    def factors(self):
        found = {}
        for distance, block in enumerate(reversed(self.blocks)):
            factor = self.recipe.trunk_rate * self.recipe.decay ** (distance - 1) if distance else 1.0
            found |= {v.path: factor for v in block.variables}
        return found

    @property
    def seeds(self):
        return [v for v in self.model.variables if v.name == "seed_generator_state"]

    def get(self, *, frozen=False):
        return {v.path: np.array(v) for v in self.model.weights}

    def set(self, weights):
        known = {v.path: v for v in self.model.weights}
        for path, value in weights.items():
            known[path].assign(value)


def pictures(count: int, seed: int = 0):
    """(count, 8, 8, 3) float32 and (count,) classes: one of three colours, hard to see in the noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % CLASSES
    x = rng.normal(128, 60, (count, SIDE, SIDE, 3)) + 30 * np.eye(3)[y][:, None, None, :]
    return np.clip(x, 0, 255).astype(np.float32), y.astype(np.int64)


class Feed:
    """Batches of `recipe.batch` pictures in the epoch's order; what does not fill a batch waits for another epoch."""

    def __init__(self, x, y, recipe: Recipe, spoil=None):
        self.x, self.y, self.recipe, self.spoil = x, y, recipe, spoil
        self.n, self.batch = len(y), min(recipe.batch, len(y))
        self.steps = self.n // self.batch

    def epoch(self, number):
        order = objective.order(self.y, self.recipe, number)[: self.steps * self.batch]
        for at in order.reshape(self.steps, self.batch):
            if self.spoil:
                self.spoil(number)
            yield {"pictures": self.x[at]}, np.eye(CLASSES, dtype=np.float32)[self.y[at]], self.y[at]


class Held:
    """Pictures to watch, in batches of 7."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def batches(self):
        for at in range(0, len(self.y), 7):
            yield {"pictures": self.x[at : at + 7]}
