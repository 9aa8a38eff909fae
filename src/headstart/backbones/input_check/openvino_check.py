"""Whether the first layer of a frozen trunk sees what it was trained on, told from its OpenVINO graph alone.

Where the file that it came from kept its batch norm as such, the graph remembers what came out of the first convolution
in training, and `headstart.backbones.input_check.keras_check` judges by it as of a Keras trunk. Most exporters fold
the batch norm into the convolution; then nothing can be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones.input_check import keras_check
from headstart.backbones.input_check.keras_check import Finding
from headstart.images.normalization import USUAL, flat, natural, scaled
from headstart.networks import openvino_engine
from headstart.networks.formats.openvino_reader import EXACT, TO_NCHW, TO_NHWC

_PASSIVE = ("Add", "MaxPool", "AvgPool", "Pad")  # may lie between a convolution and its batch norm; of sums a bias


def examine(file: Path, pictures: np.ndarray) -> Finding:
    """Look at what reaches a trunk's first convolution.

    Args:
        file: `trunk.xml`, from uint8 pictures (n, H, W, 3), its scaling inside.
        pictures: (n, H, W, 3) uint8, real ones.
    """
    if flat(pictures):
        return keras_check.silent("pictures", "the pictures are of one colour, which tells nothing of the scaling")
    ov = openvino_engine.load()
    model = ov.Core().read_model(file)
    conv, norm = _stem(model)
    if norm is None:
        why = "the file keeps no batch norm behind a first convolution of three channels"
        return keras_check.silent("none", f"{why}: what it was trained on cannot be seen")
    x = natural(pictures.astype(np.float64))
    front = _compiled([conv.input_value(0)], model.get_parameters())
    whole = np.clip(np.rint(x), 0, 255).astype(np.uint8)
    seen = np.concatenate([np.asarray(front(one[None])[0], np.float32).transpose(TO_NHWC) for one in whole])
    given = ov.opset13.parameter([1, 3, *seen.shape[1:3]], ov.Type.f32)
    conv.input(0).replace_source_output(given.output(0))
    part = _compiled([norm.input_value(0)], [given])
    kernel = _constant(conv, 1).transpose(2, 3, 1, 0)

    def far(of: np.ndarray) -> float | None:
        return keras_check.apart(_constant(norm, 3), _constant(norm, 4), kernel, _answers(part, of))

    return keras_check.by_norm(far, seen, {name: scaled(x, how) for name, how in USUAL.items()})


def _stem(model: Any) -> tuple[Any, Any]:
    """The first convolution, where it is of three channels, and the batch norm behind it; else None twice."""
    convs = (one for one in model.get_ordered_ops() if one.get_type_name() in ("Convolution", "GroupConvolution"))
    conv = next(convs, None)
    if conv is None or conv.get_type_name() != "Convolution" or list(conv.input_value(0).partial_shape)[1] != 3:
        return None, None
    if not _is_constant(conv.input_value(1)):
        return None, None
    at = conv
    while True:
        readers = [target.get_node() for target in at.output(0).get_target_inputs()]
        if len(readers) != 1:
            return None, None
        own, at = at.get_friendly_name(), readers[0]
        if not all(_is_constant(one) or one.get_node().get_friendly_name() == own for one in at.input_values()):
            return None, None  # another branch comes in
        if at.get_type_name() == "BatchNormInference":
            return conv, at
        if at.get_type_name() not in _PASSIVE:
            return None, None


def _compiled(outputs: list[Any], parameters: list[Any]) -> Any:
    ov = openvino_engine.load()
    return ov.Core().compile_model(ov.Model(outputs, parameters, "first"), "CPU", EXACT)


def _stored(value: Any) -> Any:
    """What gives a value, behind the conversion that an IR in half precision has before every number."""
    node = value.get_node()
    return node.input_value(0).get_node() if node.get_type_name() == "Convert" else node


def _is_constant(value: Any) -> bool:
    return bool(_stored(value).get_type_name() == "Constant")


def _constant(of: Any, place: int) -> np.ndarray:
    """(…) float64 a constant that an operation reads."""
    return np.asarray(_stored(of.input_value(place)).data, np.float64)


def _answers(part: Any, seen: np.ndarray) -> Iterator[np.ndarray]:
    """(places, C) a picture."""
    for one in seen:
        found = np.asarray(part(np.ascontiguousarray(one[None].transpose(TO_NCHW)))[0], np.float32)
        yield found.transpose(TO_NHWC).reshape(-1, found.shape[1])
