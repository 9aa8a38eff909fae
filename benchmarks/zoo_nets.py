"""Three small networks in the manner of VGG, ResNet and Inception: 32 x 32 px in, three depths.

VGG (Simonyan and Zisserman 2015): pairs of 3 x 3 convolutions and max pooling, no normalisation. ResNet (He 2016): sums
around pairs of 3 x 3 convolutions with batch norm. Inception (Szegedy 2015): 1 x 1, 3 x 3 and pooled branches side by
side, each with batch norm.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.zoo_tasks import SIDE
from headstart.core.types import BackboneSpec, FeatureLevel, InputSpec

DEPTHS = ("stage1", "stage2", "last")
WIDTHS = (8, 24, 48)


def build(style: str) -> Any:
    """A frozen trunk, as headstart's networks want it: pictures (B, 32, 32, 3) 0..255 -> one (B, D) a depth."""
    import keras

    pictures = keras.Input((SIDE, SIDE, 3), name="pictures")
    x = keras.layers.Rescaling(1 / 64, -2.0, name="scaling")(pictures)
    maps = []
    for name, width in zip(DEPTHS, WIDTHS, strict=True):
        x = STYLES[style](x, width, name, strides=1 if name == DEPTHS[0] else 2)
        maps.append(x)
    return with_depths(keras.Model(pictures, maps[-1]))


def with_depths(model: Any) -> Any:
    """A model that has the layers of `build`, with the pooled map of each depth as its outputs, frozen."""
    import keras

    maps = [model.get_layer(name).output for name in DEPTHS]
    pooled = [keras.layers.GlobalAveragePooling2D()(one) for one in maps]
    made = keras.Model(model.inputs[0], pooled)
    made.trainable = False
    return made


def spec(name: str, style: str, learnt: str, prior: float, params: int, flops: int) -> BackboneSpec:
    """What is known of a network of the zoo; `prior` is its accuracy on the task that it learnt."""
    return BackboneSpec(
        name=name,
        family=style,
        revision="1",
        input=InputSpec(size_px=SIDE),
        depths=tuple(FeatureLevel(name=depth, dim=width) for depth, width in zip(DEPTHS, WIDTHS, strict=True)),
        params=params,
        flops=flops,
        licence="Apache-2.0",
        licence_note="",
        pretrained_on=learnt,
        download_bytes=0,
        prior=prior,
        prior_source="accuracy on held-out pictures of its own task",
    )


def fill(trunk: Any, values: dict[str, np.ndarray]) -> None:
    """Give a trunk its weights, by place in the model: `000`, `001`, …"""
    trunk.set_weights([values[key] for key in sorted(values)])


def taken(trunk: Any) -> dict[str, np.ndarray]:
    """The weights of a trunk as `fill` takes them."""
    return {f"{place:03d}": np.asarray(one) for place, one in enumerate(trunk.get_weights())}


# ---------------------------------------------------------------- styles


def _conv(x: Any, width: int, kernel: int, name: str, *, strides: int = 1, norm: bool = True, relu: bool = True) -> Any:
    import keras

    layers = keras.layers
    x = layers.Conv2D(width, kernel, strides=strides, padding="same", use_bias=not norm, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x) if norm else x
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _vgg(x: Any, width: int, name: str, *, strides: int) -> Any:
    import keras

    if strides > 1:
        x = keras.layers.MaxPooling2D(name=f"{name}_pool")(x)
    x = _conv(x, width, 3, f"{name}a", norm=False)
    x = _conv(x, width, 3, f"{name}b", norm=False, relu=False)
    return keras.layers.ReLU(name=name)(x)


def _resnet(x: Any, width: int, name: str, *, strides: int) -> Any:
    import keras

    aside = _conv(x, width, 1, f"{name}s", strides=strides, norm=False, relu=False)
    x = _conv(x, width, 3, f"{name}a", strides=strides)
    x = _conv(x, width, 3, f"{name}b", relu=False)
    return keras.layers.ReLU(name=name)(keras.layers.Add(name=f"{name}_add")([x, aside]))


def _inception(x: Any, width: int, name: str, *, strides: int) -> Any:
    import keras

    if strides > 1:
        x = keras.layers.MaxPooling2D(name=f"{name}_pool")(x)
    part = width // 4
    pooled = keras.layers.AveragePooling2D(3, strides=1, padding="same", name=f"{name}_near")(x)
    branches = [
        _conv(x, part, 1, f"{name}a"),
        _conv(x, 2 * part, 3, f"{name}b"),
        _conv(pooled, part, 1, f"{name}c"),
    ]
    return keras.layers.Concatenate(name=name)(branches)


STYLES = {"vgg": _vgg, "resnet": _resnet, "inception": _inception}
