"""The convolutional part of VGG16 (Simonyan & Zisserman 2015), from one list, without a framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
WIDTHS = {"block1": 64, "block2": 128, "block3": 256, "block4": 512, "last": 512}


def list_convs() -> list[tuple[str, int, int, int]]:
    """Name, block (from 0), input and output channels of each convolution."""
    convs, inputs = [], 3
    for place, (outputs, count) in enumerate(_BLOCKS):
        for turn in range(count):
            convs.append((f"block{place + 1}_conv{turn + 1}", place, inputs, outputs))
            inputs = outputs
    return convs


def count_params() -> int:
    """Weights and biases."""
    return sum(9 * inputs * outputs + outputs for _, _, inputs, outputs in list_convs())


def count_flops(size_px: int) -> int:
    """Operations of the convolutions on one square picture, two for a multiply-add."""
    return sum(2 * 9 * inputs * outputs * (size_px // 2**place) ** 2 for _, place, inputs, outputs in list_convs())


def build_maps(pictures: Any, depths: tuple[str, ...]) -> list[Any]:
    """The Keras graph on scaled pictures: the last feature map of each wanted block, before its pooling."""
    import keras

    outputs_by_level, x, block = {}, pictures, 0
    for name, place, _, outputs in list_convs():
        if place != block:
            x, block = keras.layers.MaxPooling2D(name=f"block{place}_pool")(x), place
        x = keras.layers.Conv2D(outputs, 3, padding="same", activation="relu", name=name)(x)
        outputs_by_level["last" if place == len(_BLOCKS) - 1 else f"block{place + 1}"] = x
    return [outputs_by_level[name] for name in depths]


def assign_weights(model: Any, tensors: Mapping[str, np.ndarray]) -> None:
    """Put kernels (3, 3, I, O) and biases into the layers that the model has."""
    present = {layer.name for layer in model.layers}
    for name in [name for name, *_ in list_convs() if name in present]:
        model.get_layer(name).set_weights([tensors[f"{name}.kernel"], tensors[f"{name}.bias"]])


def read_h5(content: bytes) -> dict[str, np.ndarray]:
    """The thirteen layers' tensors from a Keras 3 weights file of one `Sequential` a block."""
    import io

    import h5py

    tensors: dict[str, np.ndarray] = {}
    with h5py.File(io.BytesIO(content)) as file:
        for name, place, *_ in list_convs():
            turn = int(name[-1]) - 1
            layer = file[f"block{place + 1}/layers/conv2d{f'_{turn}' if turn else ''}/vars"]
            tensors |= {f"{name}.kernel": layer["0"][()], f"{name}.bias": layer["1"][()]}
    return tensors
