"""Weights repeat bit for bit where a tensor has many readers, whichever gradient is there first."""

import hashlib

import numpy as np
import pytest

from headstart.core.recipe import Recipe
from headstart.finetuning.network import trainable_network
from headstart.finetuning.network.determinism import repeat_bit_for_bit
from headstart.finetuning.training.train_step import TrainStep
from small_nets import SIDE, classes, conv, frozen

X = np.random.default_rng(0).integers(0, 256, (64, 3 * SIDE, 3 * SIDE, 3)).astype(np.float32)
Y = np.eye(3, dtype=np.float32)[np.arange(len(X)) % 3]


def branching():
    """A trunk as Inception-ResNet has them: five readers of each map, the shortest of which passes on what it gets."""
    import keras

    pictures = keras.Input(X.shape[1:], name="pictures")
    x = low = conv(keras.layers.Rescaling(1 / 128, -1.0)(pictures), 16, strides=2)
    for _ in range(5):
        parts = [conv(x, 16, 1), conv(conv(x, 16, 1), 16), conv(x, 16, 5)]
        joined = keras.layers.Conv2D(16, 1)(keras.layers.Concatenate()(parts))
        x = keras.layers.Add()([x, joined, keras.layers.DepthwiseConv2D(3, padding="same")(x)])
    return frozen(pictures, [low, x], ("low", "last"))


@pytest.fixture
def stepper():
    """A function that makes a stepper on a fresh network, with the settings of a training."""

    def make():
        recipe = Recipe(depths=("last",), part="all", batch=len(X), rate=5e-3, start="random")
        return TrainStep(
            trainable_network.build_network(*branching(), recipe, start=None, objective=classes(3)), recipe, None
        )

    with repeat_bit_for_bit():
        yield make


def test_no_sum_of_gradients_leaves_the_order_to_the_threads(stepper):
    import tensorflow as tf

    own = stepper()
    assert tf.config.optimizer.get_experimental_options()["arithmetic_optimization"] is False

    @tf.function
    def gradients(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(own.model({"pictures": x}))
        return tape.gradient(loss, own.model.trainable_variables)

    def gathers():
        graph = gradients.get_concrete_function(tf.TensorSpec(X.shape)).graph
        return [op.name for op in graph.get_operations() if op.type == "AddN" and len(op.inputs) > 2]

    assert gathers() == []


@pytest.mark.medium
def test_steps_repeat_bit_for_bit(stepper):
    found = set()
    for _ in range(3):
        own = stepper()
        for _ in range(3):
            own.take_step({"pictures": X}, Y, 5e-3)
        weights = sorted(own.network.get().items())
        found.add(hashlib.sha256(b"".join(one.tobytes() for _, one in weights)).hexdigest())
    assert len(found) == 1
