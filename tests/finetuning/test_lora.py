"""Low-rank updates: where they attach, what they compute, how they merge."""

import numpy as np
import pytest

from headstart.finetuning.network import lora


def dense():
    import keras

    return keras.layers.Dense(5, activation="relu"), (4, 7)


def einsum():
    import keras

    return keras.layers.EinsumDense("bte,ehd->bthd", (None, 2, 3), bias_axes="hd"), (4, 6, 8)


def convolution():
    import keras

    return keras.layers.Conv2D(6, 3, padding="same"), (2, 5, 5, 4)


def grouped():
    import keras

    return keras.layers.Conv2D(6, 3, groups=2, use_bias=False), (2, 5, 5, 4)


def depthwise():
    import keras

    return keras.layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2), (2, 5, 5, 8)


def separable():
    import keras

    return keras.layers.SeparableConv2D(6, 5, padding="same", activation="relu"), (2, 5, 5, 4)


def attention():
    import keras

    layer = keras.layers.MultiHeadAttention(2, 3)
    return layer, (2, 5, 8)


def pair(make):
    """A layer, its twin that can take updates with the same weights, and an input."""
    layer, shape = make()
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    twin = lora.low_rank_class(type(layer)).from_config(layer.get_config())
    given = (x, x) if make is attention else (x,)
    layer(*given), twin(*given)
    twin.set_weights(layer.get_weights())
    return layer, twin, given


@pytest.mark.parametrize("make", [dense, einsum, convolution, grouped, depthwise, separable, attention])
def test_an_update_starts_at_nothing_and_merges_exactly(make):
    layer, twin, given = pair(make)
    for v in twin.trainable_variables:
        v.trainable = False
    rng = np.random.default_rng(1)
    updates = lora.attach_updates([twin], 3, rng)
    np.testing.assert_array_equal(twin(*given), layer(*given))
    assert {id(v) for v in twin.trainable_variables} == {id(v) for one in updates for v in (one.a, one.b)}
    before = [np.asarray(one.kernel).copy() for one in updates]
    for one in updates:
        assert np.ptp(one.a) > 0 and not np.any(one.b)
        one.b.assign(0.3 * rng.standard_normal(one.b.shape))
    tuned = np.asarray(twin(*given))
    assert np.abs(tuned - np.asarray(layer(*given))).max() > 1e-2
    kernels = {v.path.split("/", 1)[-1]: v for v in layer.weights}
    for one, was in zip(updates, before, strict=True):
        np.testing.assert_array_equal(one.kernel, was)
        kernels[one.kernel.path.split("/", 1)[-1]].assign(one.merge_kernel())
    np.testing.assert_allclose(layer(*given), tuned, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "count", "shapes"),
    [
        (convolution, 1, [((3, 3, 4, 2), (2, 6))]),
        (depthwise, 1, [((9, 2), (2, 16))]),
        (separable, 2, [((25, 2), (2, 4)), ((4, 2), (2, 6))]),
        (attention, 4, None),
    ],
)
def test_every_kernel_gets_one_of_the_asked_rank(make, count, shapes):
    _, twin, _ = pair(make)
    updates = lora.attach_updates([twin], 2, np.random.default_rng(0))
    assert len(updates) == count
    if shapes:
        assert [(tuple(one.a.shape), tuple(one.b.shape)) for one in updates] == shapes
    for one in updates:
        one.b.assign(np.ones(one.b.shape))
        one.a.assign(np.random.default_rng(3).standard_normal(one.a.shape))
    for one in updates:
        change = one.merge_kernel() - np.asarray(one.kernel)
        assert 1 <= np.linalg.matrix_rank(change.reshape(-1, one.b.shape[-1]), tol=1e-4) <= 2


def test_a_depthwise_rank_is_no_more_than_the_taps():
    _, twin, _ = pair(depthwise)
    (update,) = lora.attach_updates([twin], 64, np.random.default_rng(0))
    assert tuple(update.a.shape) == (9, 9)


def test_a_weight_inside_an_attention_is_called_like_its_kernel():
    _, twin, _ = pair(attention)
    updates = lora.attach_updates([twin], 2, np.random.default_rng(0))
    paths = [v.path for one in updates for v in (one.a, one.b)]
    assert len(set(paths)) == 8
    assert all(one.a.path.rpartition("/")[0] == one.kernel.path.rpartition("/")[0] for one in updates)


def test_the_draw_is_the_given_one_alone():
    drawn = []
    for seed in (0, 0, 1):
        _, twin, _ = pair(depthwise)
        (update,) = lora.attach_updates([twin], 4, np.random.default_rng(seed))
        drawn.append(np.asarray(update.a))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_layers_without_a_kernel_get_none():
    import keras

    norm = keras.layers.BatchNormalization()
    norm(np.ones((2, 3), np.float32))
    assert lora.attach_updates([norm, keras.layers.ReLU()], 2, np.random.default_rng(0)) == []
    assert lora.low_rank_class(keras.layers.BatchNormalization) is keras.layers.BatchNormalization
    assert lora.low_rank_class(keras.layers.Conv2D) is keras.layers.Conv2D
