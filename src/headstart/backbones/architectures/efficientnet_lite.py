"""EfficientNet-Lite (Tan & Le 2019; the Lite variant of 2020): B0's blocks without squeeze-and-excitation, with ReLU6.

A list of convolutions, known without a framework, gives the parameters, the operations and the Keras graph; tensors are
named as in PyTorch. Padding is TensorFlow's "same"; batch norm's epsilon is 1e-3. Stages count from 0 to 6.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# kernel, stride, expansion, channels, repeats
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM, _HEAD = 32, 1280
_EPSILON = 1e-3


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution without bias and the batch norm behind it; `relu6` where an activation follows."""

    conv: str
    norm: str
    kernel: int
    stride: int
    inputs: int
    outputs: int
    depthwise: bool
    relu6: bool

    @property
    def kernel_numbers(self) -> int:
        """Weights of the convolution."""
        return self.kernel**2 * self.outputs * (1 if self.depthwise else self.inputs)


@dataclass(frozen=True, slots=True)
class Block:
    """An inverted residual block: expand, depthwise, project."""

    convs: tuple[Conv, ...]
    skip: bool


@dataclass(frozen=True, slots=True)
class EfficientNetLite:
    """The trunk: stem, seven stages of blocks, head convolution."""

    stem: Conv
    stages: tuple[tuple[Block, ...], ...]
    head: Conv

    def list_convs(self) -> Iterator[Conv]:
        """All convolutions in the order of the graph."""
        yield self.stem
        for stage in self.stages:
            for block in stage:
                yield from block.convs
        yield self.head

    def level_widths(self) -> dict[str, int]:
        """Channels at each depth: `stage0` … `stage6`, `last`."""
        widths = {f"stage{i}": stage[-1].convs[-1].outputs for i, stage in enumerate(self.stages)}
        return {**widths, "last": self.head.outputs}

    def count_params(self) -> int:
        """Weights, the four vectors of each batch norm included."""
        return sum(conv.kernel_numbers + 4 * conv.outputs for conv in self.list_convs())

    def count_flops(self, size_px: int) -> int:
        """Operations of the convolutions on one square picture, two for a multiply-add."""
        total, side = 0, size_px
        for conv in self.list_convs():
            side = math.ceil(side / conv.stride)
            total += 2 * side**2 * conv.kernel_numbers
        return total


def make_network(width: float, depth: float) -> EfficientNetLite:
    """The network for a width and a depth factor; stem, head, first and last stage keep their size."""
    stages, channels, number = [], _STEM, 0
    for place, (kernel, stride, expand, outputs, repeats) in enumerate(_STAGES):
        count = repeats if place in (0, len(_STAGES) - 1) else math.ceil(repeats * depth)
        blocks = []
        for turn in range(count):
            step = stride if turn == 0 else 1
            blocks.append(_make_block(number, kernel, step, expand, channels, _round_channels(outputs * width)))
            channels, number = _round_channels(outputs * width), number + 1
        stages.append(tuple(blocks))
    stem = Conv("_conv_stem", "_bn0", 3, 2, 3, _STEM, False, True)
    return EfficientNetLite(stem, tuple(stages), Conv("_conv_head", "_bn1", 1, 1, channels, _HEAD, False, True))


def _round_channels(channels: float) -> int:
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _make_block(number: int, kernel: int, stride: int, expand: int, inputs: int, outputs: int) -> Block:
    at, inner = f"_blocks.{number}.", inputs * expand
    convs = [
        Conv(f"{at}_expand_conv", f"{at}_bn0", 1, 1, inputs, inner, False, True),
        Conv(f"{at}_depthwise_conv", f"{at}_bn1", kernel, stride, inner, inner, True, True),
        Conv(f"{at}_project_conv", f"{at}_bn2", 1, 1, inner, outputs, False, False),
    ]
    return Block(tuple(convs if expand > 1 else convs[1:]), stride == 1 and inputs == outputs)


def build_maps(pictures: Any, network: EfficientNetLite, depths: tuple[str, ...]) -> list[Any]:
    """The Keras graph on scaled pictures: one feature map (B, H, W, C) for each of `depths`."""
    import keras

    outputs = {}
    x = _apply_conv(pictures, network.stem)
    for place, stage in enumerate(network.stages):
        for block in stage:
            y = x
            for conv in block.convs:
                y = _apply_conv(y, conv)
            x = keras.layers.Add(name=_layer_name(block.convs[-1].conv) + "_add")([x, y]) if block.skip else y
        outputs[f"stage{place}"] = x
    outputs["last"] = _apply_conv(x, network.head)
    return [outputs[name] for name in depths]


def _layer_name(name: str) -> str:
    return name.strip("_").replace("._", "_").replace(".", "_")


def _apply_conv(x: Any, conv: Conv) -> Any:
    import keras

    name = _layer_name(conv.conv)
    kind = {"strides": conv.stride, "padding": "same", "use_bias": False, "name": name}
    if conv.depthwise:
        x = keras.layers.DepthwiseConv2D(conv.kernel, **kind)(x)
    else:
        x = keras.layers.Conv2D(conv.outputs, conv.kernel, **kind)(x)
    x = keras.layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_norm")(x)
    return keras.layers.ReLU(max_value=6.0, name=f"{name}_relu6")(x) if conv.relu6 else x


def assign_weights(model: Any, network: EfficientNetLite, tensors: Mapping[str, np.ndarray]) -> None:
    """Put the PyTorch tensors into the layers that the model has; (O, I, H, W) kernels become (H, W, I, O)."""
    present = {layer.name for layer in model.layers}
    for conv in network.list_convs():
        name = _layer_name(conv.conv)
        if name not in present:
            continue
        order = (2, 3, 0, 1) if conv.depthwise else (2, 3, 1, 0)
        model.get_layer(name).set_weights([tensors[f"{conv.conv}.weight"].transpose(order)])
        norm = [tensors[f"{conv.norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        model.get_layer(f"{name}_norm").set_weights(norm)


def read_classifier(tensors: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The dense layer behind `last`: weights (1280, 1000) and bias (1000,), both float32."""
    return np.ascontiguousarray(tensors["_fc.weight"].T, np.float32), np.asarray(tensors["_fc.bias"], np.float32)
