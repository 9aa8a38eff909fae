"""What every trunk's graph has around its layers: scaling in front, pooling of (B, H, W, C) to means (B, C) behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headstart.core.types import InputSpec

POOLING = "mean"


def scale_pictures(pictures: Any, spec: InputSpec) -> Any:
    """Pictures 0..255 RGB as the first layer wants them: `(channels(x) * scale - mean) / std`."""
    import keras

    if spec.channels == "bgr":
        pictures = keras.ops.flip(pictures, axis=-1)
    scale = [spec.scale / std for std in spec.std]
    offset = [-mean / std for mean, std in zip(spec.mean, spec.std, strict=True)]
    if scale == [1.0] * 3 and offset == [0.0] * 3:
        return pictures
    return keras.layers.Rescaling(scale, offset, name="scaling")(pictures)


def pool_maps(maps: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """One (B, C) output a feature map."""
    import keras

    return [
        keras.layers.GlobalAveragePooling2D(name=f"pool_{name}")(feature_map)
        for feature_map, name in zip(maps, names, strict=True)
    ]


def make_frozen_trunk(pictures: Any, maps: Sequence[Any], depths: Sequence[str] | None, name: str) -> Any:
    """The trunk: from pictures to one pooled vector a depth (with None to the maps themselves), nothing trainable."""
    import keras

    model = keras.Model(pictures, pool_maps(maps, depths) if depths else list(maps), name=name)
    model.trainable = False
    return model
