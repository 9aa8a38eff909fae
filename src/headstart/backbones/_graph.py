"""What every trunk's graph has around its layers: scaling in front, pooling behind, and random weights for its twin.

Pooling one feature map (B, H, W, C) gives (B, C) means over the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from headstart.core.types import InputSpec

POOLING = "mean"


def scaled(pictures: Any, spec: InputSpec) -> Any:
    """Pictures 0..255 RGB as the first layer wants them: `(channels(x) * scale - mean) / std`."""
    import keras

    if spec.channels == "bgr":
        pictures = keras.ops.flip(pictures, axis=-1)
    scale = [spec.scale / std for std in spec.std]
    offset = [-mean / std for mean, std in zip(spec.mean, spec.std, strict=True)]
    if scale == [1.0] * 3 and offset == [0.0] * 3:
        return pictures
    return keras.layers.Rescaling(scale, offset, name="scaling")(pictures)


def pooled(maps: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """One (B, C) output a feature map."""
    import keras

    return [
        keras.layers.GlobalAveragePooling2D(name=f"pool_{name}")(one) for one, name in zip(maps, names, strict=True)
    ]


def frozen(pictures: Any, maps: Sequence[Any], depths: Sequence[str] | None, name: str) -> Any:
    """The trunk: from pictures to one pooled vector a depth (with None to the maps themselves), nothing trainable."""
    import keras

    model = keras.Model(pictures, pooled(maps, depths) if depths else list(maps), name=name)
    model.trainable = False
    return model


def fill_random(model: Any, seed: int) -> None:
    """Draw every kernel anew, by fan-in; biases and normalisation stay as they are made.

    Variance 2 / fan-in (He et al. 2015), or 1 / fan-in (LeCun et al. 1998) where branches are summed: He's doubles the
    signal in every residual block, and forty blocks on, rounding errors decide. NumPy draws, in the order of the
    model's weights: the same numbers under every Keras backend, and no global generator is touched.
    """
    rng = np.random.default_rng(seed)
    gain = 1.0 if any(type(operation).__name__ == "Add" for operation in model.operations) else 2.0
    for weight in model.weights:
        if len(weight.shape) < 2:
            continue
        depthwise = len(weight.shape) == 4 and weight.shape[-1] == 1  # (H, W, channels, multiplier)
        fan_in = math.prod(weight.shape[:-2] if depthwise else weight.shape[:-1])
        values = rng.standard_normal(weight.shape, dtype=np.float32) * np.float32(math.sqrt(gain / fan_in))
        weight.assign(values)
