"""A frozen batch norm as part of the convolution before it, while both train.

With s = gamma / sqrt(variance + epsilon), norm(conv(x, W) + b) = conv(x, s W) + beta + (b - mean) s: the same numbers
and gradients, without a pass over the map and without keeping the convolution's output for gamma's gradient. Measured
on EfficientNet-Lite2, all blocks, 16 pictures a step: 1.0 instead of 2.5 GB and a fifth less time. The variables stay
with their own layers. Not for the strategy `norms`, which would then need gradients of kernels that it does not train.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.core.recipe import Recipe
from headstart.networks.blocks import TrunkBlocks, map_producers

_KERNEL = "frozen_kernel"  # where a depthwise convolution keeps its variable once `kernel` is computed


def find_folds(trunk_model: Any, anatomy: TrunkBlocks, recipe: Recipe, train: Sequence[str]) -> dict[int, int]:
    """Id of each convolution that takes in a batch norm -> id of that norm.

    The convolution is linear, feeds nothing else, and both are in one block that trains.
    """
    import keras

    if recipe.strategy not in ("finetune", "lora"):
        return {}
    producers, home = map_producers(trunk_model), anatomy.map_operations_to_blocks()
    read = Counter(id(x) for operation in trunk_model.operations for x in keras.tree.flatten(operation.input))
    pairs = {}
    for norm in (operation for block in train for operation in anatomy.segments[block]):
        if type(norm) is keras.layers.BatchNormalization and norm.axis in (-1, len(norm.input.shape) - 1):
            conv = producers[id(norm.input)]
            linear = getattr(conv, "activation", None) is keras.activations.linear
            ours = type(conv) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
            if ours and linear and read[id(norm.input)] == 1 and home.get(id(conv)) == home[id(norm)]:
                pairs[id(conv)] = id(norm)
    return pairs


@functools.cache
def folding_class(kind: Any) -> Any:
    """Class of a convolution that computes what `held` gives, a batch norm or None, together with its own part."""
    import keras

    plain = getattr(kind, "kernel", None)  # a property, or nothing where `build` sets an attribute

    def call(self: Any, inputs: Any) -> Any:
        outputs = kind.call(self, inputs)
        if self.held() is None:
            return outputs
        scale, norm = _norm_scale(self.held()), self.held()
        bias = self.bias if self.use_bias else 0.0
        shift = (bias - norm.moving_mean) * scale - bias + (norm.beta if norm.center else 0.0)
        return outputs + keras.ops.cast(shift, outputs.dtype)

    def get(self: Any) -> Any:
        kernel = plain.fget(self) if plain else getattr(self, _KERNEL)
        if self.held() is None:
            return kernel
        depthwise = isinstance(self, keras.layers.DepthwiseConv2D)
        scale = keras.ops.reshape(_norm_scale(self.held()), kernel.shape[2:] if depthwise else (-1,))
        return kernel * keras.ops.cast(scale, self.compute_dtype)

    def put(self: Any, kernel: Any) -> None:
        plain.fset(self, kernel) if plain else setattr(self, _KERNEL, kernel)

    members = {"call": call, "kernel": property(get, put), "held": staticmethod(lambda: None)}
    return type(f"Folded{kind.__name__}", (kind,), members)


def _norm_scale(norm: Any) -> Any:
    import keras

    inverse = keras.ops.rsqrt(norm.moving_variance + norm.epsilon)
    return norm.gamma * inverse if norm.scale else inverse


def link_folds(pairs: Sequence[tuple[Any, Any]], folds: Mapping[int, int]) -> None:
    """Let copies of convolutions take in the copies of their norms, which from then on pass on what they get."""
    copies = {id(operation): copy for operation, copy in pairs}
    for conv, norm in folds.items():
        if conv in copies and norm in copies:
            copies[norm].folded = True
            copies[conv].held = lambda layer=copies[norm]: layer  # a call, for Keras would adopt a layer
