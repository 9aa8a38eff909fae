"""Low-rank updates of frozen kernels (LoRA, Hu et al., ICLR 2022): W + A B, where A is drawn and B starts at zero.

Keras attaches them itself to dense layers, attention projections and convolutions. Depthwise and separable ones get a
class of ours, in which a kernel is a matrix: taps x channels (depthwise part) or inputs x outputs (pointwise part).
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.networks.nested_layers import list_nested_layers

_FROZEN = "frozen_"
_OURS = {  # kernel -> how many of its axes are the matrix's rows
    "DepthwiseConv1D": {"kernel": 1},
    "DepthwiseConv2D": {"kernel": 2},
    "SeparableConv1D": {"depthwise_kernel": 1, "pointwise_kernel": 2},
    "SeparableConv2D": {"depthwise_kernel": 2, "pointwise_kernel": 3},
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Update:
    """A frozen kernel with its low-rank update `scale` A B: A is drawn, B zero at the start."""

    kernel: Any
    a: Any
    b: Any
    scale: float

    def merge_kernel(self) -> np.ndarray:
        """The kernel with its update added, float32."""
        kernel, a, b = (np.asarray(v).astype(np.float64) for v in (self.kernel, self.a, self.b))
        return (kernel + self.scale * (a @ b).reshape(kernel.shape)).astype(np.float32)


def low_rank_class(kind: type) -> type:
    """The class that can take low-rank updates in place of a layer's; the same one where Keras' own can."""
    axes = _OURS.get(kind.__name__)
    return _make_low_rank_class(kind, tuple(axes.items())) if axes and not hasattr(kind, "enable_lora") else kind


@functools.cache
def _make_low_rank_class(kind: type, axes: tuple[tuple[str, int], ...]) -> type:
    """A subclass whose kernels read as W + A B once `enable_lora` was called."""

    def enable_lora(self: Any, rank: int, a_initializer: str) -> None:
        self._tracker.unlock()
        for name, rows in axes:
            kernel = getattr(self, _FROZEN + name)
            height, width = math.prod(kernel.shape[:rows]), math.prod(kernel.shape[rows:])
            inner = min(rank, height, width)
            shapes = {f"lora_{name}_a": (height, inner), f"lora_{name}_b": (inner, width)}
            for part, shape in shapes.items():
                setattr(self, part, self.add_weight(name=part, shape=shape, dtype="float32", initializer=a_initializer))
        self._tracker.lock()

    members = {name: _kernel_property(name) for name, _ in axes}
    return type(f"LowRank{kind.__name__}", (kind,), {"kernels": axes, "enable_lora": enable_lora, **members})


def _kernel_property(name: str) -> property:
    import keras

    def get(self: Any) -> Any:
        kernel = getattr(self, _FROZEN + name)
        if not hasattr(self, f"lora_{name}_a"):
            return kernel
        update = keras.ops.matmul(getattr(self, f"lora_{name}_a"), getattr(self, f"lora_{name}_b"))
        return keras.ops.cast(kernel + keras.ops.reshape(update, kernel.shape), self.compute_dtype)

    def put(self: Any, kernel: Any) -> None:
        setattr(self, _FROZEN + name, kernel)

    return property(get, put)


def attach_updates(layers: Sequence[Any], rank: int, rng: np.random.Generator) -> list[Update]:
    """Give every kernel of some built layers a low-rank update and draw A, uniform by fan-in (He et al. 2015)."""
    updates = []
    for layer in (inner for update in layers for inner in list_nested_layers(update)):
        if hasattr(layer, "enable_lora"):
            with _enter_name_scopes(layer):
                layer.enable_lora(rank, a_initializer="zeros")  # Keras' own draw is of no seed
            updates += list(_list_updates(layer))
    for update in updates:
        limit = math.sqrt(6 / math.prod(update.a.shape[:-1]))
        update.a.assign(rng.uniform(-limit, limit, update.a.shape).astype(np.float32))
    return updates


@contextlib.contextmanager
def _enter_name_scopes(layer: Any) -> Iterator[None]:
    """The names of the layers that a layer is inside of, so that its new weights are called like its old ones."""
    import keras

    with contextlib.ExitStack() as stack:
        for part in layer.weights[0].path.split("/")[:-2]:
            stack.enter_context(keras.name_scope(part))
        yield


def _list_updates(layer: Any) -> Iterator[Update]:
    if hasattr(layer, "kernels"):
        for name, _ in layer.kernels:
            a, b = getattr(layer, f"lora_{name}_a"), getattr(layer, f"lora_{name}_b")
            yield Update(kernel=getattr(layer, _FROZEN + name), a=a, b=b, scale=1.0)
    else:
        scale = layer.lora_alpha / layer.lora_rank
        yield Update(kernel=layer._kernel, a=layer.lora_kernel_a, b=layer.lora_kernel_b, scale=scale)
