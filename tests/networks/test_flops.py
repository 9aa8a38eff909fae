"""Operations of a network, counted layer by layer."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


def test_layers_are_counted_by_hand(keras):
    from headstart.networks.flops import count_flops

    pictures = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(pictures)  # 16 x 16
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(5, padding="same")(x)
    x = keras.layers.SeparableConv2D(4, 3, padding="valid")(x)  # 14 x 14
    x = keras.layers.Conv2D(6, 1, groups=2)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(pictures, keras.layers.Dense(10)(x))
    by_hand = 256 * 27 * 8 + 256 * 25 * 8 + 196 * (9 * 8 + 8 * 4) + 196 * 2 * 6 + 6 * 10
    assert count_flops(model) == 2 * by_hand
    outer = keras.Input((32, 32, 3))
    assert count_flops(keras.Model(outer, keras.layers.Dense(5)(model(outer)))) == 2 * (by_hand + 50)


@pytest.mark.parametrize(
    ("equation", "shape", "output", "multiply_adds"),
    [
        ("abc,cd->abd", (10, 64), (None, 16), 10 * 64 * 16),
        ("abc,cde->abde", (10, 64), (None, 4, 16), 10 * 64 * 64),
        ("abde,dec->abc", (10, 4, 16), (None, 64), 10 * 64 * 64),
    ],
)
def test_projections_of_attention_are_counted_for_each_token(keras, equation, shape, output, multiply_adds):
    from headstart.networks.flops import count_flops

    tokens = keras.Input(shape)
    assert count_flops(keras.Model(tokens, keras.layers.EinsumDense(equation, output)(tokens))) == 2 * multiply_adds


@pytest.mark.parametrize("name", ["random:bundled:efficientnet_lite0", "random:keras_applications:mobilenet"])
@pytest.mark.medium
def test_whole_trunks_have_the_operations_that_their_spec_says(keras, name, shared_store):
    from headstart.backbones import loading
    from headstart.networks.flops import count_flops

    found = loading.find_backbone(name)
    count = count_flops(found.build(shared_store))
    assert count == found.spec.flops and isinstance(count, int | np.integer)
