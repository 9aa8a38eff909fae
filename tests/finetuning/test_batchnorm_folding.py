"""A frozen batch norm inside the convolution before it: the same numbers and gradients."""

import numpy as np
import pytest

from headstart.core.recipe import Recipe
from headstart.finetuning.network import trainable_network
from headstart.finetuning.network.layer_swaps import frozen_norm
from small_nets import SIDE, classes, conv, features, fitted, frozen, inputs_of, pictures, raw, residual, small_trunk

X = pictures()
Y = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]


def made(trunk, **changes):
    model, spec = trunk
    asked = Recipe(**{"backbone": spec.name, "depths": ("last",), "part": "all", **changes})
    start = fitted(raw(features(model, spec, X), asked.depths))
    net = trainable_network.build_network(model, spec, asked, start=start, objective=classes(3))
    return net, inputs_of(net, model, spec, X)


def folded(net):
    return [one for one in net.model.layers if isinstance(one, frozen_norm()) and one.folded]


def unfold(net):
    """Let every norm of a network compute by itself."""
    for layer in net.model.layers:
        if hasattr(layer, "held"):
            layer.held = lambda: None
        if isinstance(layer, frozen_norm()):
            layer.folded = False


def slopes(net, given):
    """Loss and the gradient of every trainable variable by path."""
    import tensorflow as tf

    variables = net.model.trainable_variables
    with tf.GradientTape() as tape:
        logits = net.model(given, training=True)
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(Y, logits))
    gradients = tape.gradient(loss, [v.value for v in variables])
    return float(loss), {v.path: np.asarray(g) for v, g in zip(variables, gradients, strict=True)}


def odd_trunk():
    """Biases, a norm without scale, one without shift, two outputs a channel, a norm behind an activation."""
    import keras

    layers = keras.layers
    shape = keras.Input((SIDE, SIDE, 3), name="pictures")
    low = conv(shape, 6, strides=2)
    x = layers.Conv2D(8, 3)(low)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = layers.BatchNormalization(center=False)(x)
    x = layers.BatchNormalization()(layers.Conv2D(6, 1, activation="relu")(x))
    return frozen(shape, [low, residual(x)], ("low", "last"))


@pytest.mark.parametrize("make", [small_trunk, odd_trunk])
@pytest.mark.parametrize("strategy", ["finetune", "lora"])
def test_loss_and_gradients_are_those_of_the_norm_by_itself(make, strategy):
    net, given = made(make(), strategy=strategy)
    rng = np.random.default_rng(0)
    for update in net.updates:
        update.b.assign(0.1 * rng.standard_normal(update.b.shape))
    assert len(folded(net)) == (11 if make is small_trunk else 6)
    loss, gradients = slopes(net, given)
    unfold(net)
    expected, wanted = slopes(net, given)
    assert loss == pytest.approx(expected, abs=1e-5)
    assert gradients.keys() == wanted.keys()
    for path, gradient in wanted.items():
        np.testing.assert_allclose(
            gradients[path], gradient, atol=1e-4 * max(1.0, np.abs(gradient).max()), err_msg=path
        )


def test_norms_and_learnt_statistics_are_left_alone():
    trunk = small_trunk()
    for changes in ({"strategy": "norms"}, {"batch_norm": "train"}, {"strategy": "scratch"}):
        assert not folded(made(trunk, **changes)[0])


def test_what_is_read_elsewhere_too_is_left_alone():
    import keras

    shape = keras.Input((SIDE, SIDE, 3), name="pictures")
    low = conv(shape, 6, strides=2)
    x = keras.layers.Conv2D(6, 1)(low)
    last = keras.layers.Add()([keras.layers.BatchNormalization()(x), x])
    assert len(folded(made(frozen(shape, [low, last], ("low", "last")))[0])) == 1


def test_a_norm_of_another_block_is_left_alone():
    import keras

    shape = keras.Input((SIDE, SIDE, 3), name="pictures")
    low = keras.layers.Conv2D(6, 3)(shape)
    last = conv(keras.layers.BatchNormalization()(low), 6)
    assert len(folded(made(frozen(shape, [low, last], ("low", "last")), part="last")[0])) == 1
