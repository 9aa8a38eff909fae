"""What a picture costs a network, in operations and bytes counted from its layers: the same on every machine.

Two a multiply-add of every convolution and dense layer; norms, activations and pooling are left out, as is usual (He et
al. 2016).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from headstart.networks.blocks import list_tensors

PASS_FLOPS_PER_S = 1e11  # of a frozen trunk by OpenVINO on two cores; for estimates that are told, not for choices


def count_flops(model: Any) -> int:
    """Operations for one picture through a built `keras.Model`, nested models included."""
    return sum(_count_layer_flops(layer) for layer in model.layers)


def _count_layer_flops(layer: Any) -> int:
    import keras

    if isinstance(layer, keras.Model):
        return count_flops(layer)
    if isinstance(layer, keras.layers.MultiHeadAttention):
        return _count_attention_flops(layer)
    kernels = [getattr(layer, name, None) for name in ("kernel", "depthwise_kernel", "pointwise_kernel")]
    weights = sum(math.prod(kernel.shape) for kernel in kernels if kernel is not None)
    if not weights:
        return 0
    if isinstance(layer, keras.layers.EinsumDense):
        inputs, kernel = layer.equation.partition("->")[0].split(",")
        places = [side for side, axis in zip(layer.input.shape, inputs, strict=True) if axis not in kernel]
    else:
        places = list(layer.output.shape[:-1])
    return int(2 * weights * math.prod(side or 1 for side in places[1:]))


def _count_attention_flops(layer: Any) -> int:
    inputs = list_tensors(layer.input)
    query_tokens, value_tokens = inputs[0].shape[1], inputs[-1].shape[1]
    query, key, value, out = (
        math.prod(dense.kernel.shape)
        for dense in (layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense)
    )
    widths = layer.num_heads * (layer.key_dim + (layer.value_dim or layer.key_dim))
    return int(2 * (query_tokens * (query + out) + value_tokens * (key + value) + query_tokens * value_tokens * widths))


def iterate_output_bytes(model: Any) -> Iterator[int]:
    """Bytes of what each layer gives for one picture."""
    import keras

    inside = model.layers if isinstance(model, keras.Sequential) else model.operations
    for operation in inside:
        if isinstance(operation, keras.Model):
            yield from iterate_output_bytes(operation)
            continue
        for output in keras.tree.flatten(operation.output):
            width = 2 if output.dtype in ("bfloat16", "float16") else 4
            yield width * math.prod(int(side or 1) for side in output.shape[1:])
