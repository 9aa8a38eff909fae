"""What KerasHub's layers with weights of their own are in Keras' layers: patches with positions, scales, attention.

A weight that is added to every picture alike is the bias of an `EinsumDense` whose kernel is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headstart.backbones.keras_hub.flattening import LayerTrace

_CLOSE = 1e-4


def added(x: Any, trace: LayerTrace, constant: np.ndarray, name: str, *, keep: bool = True) -> Any:
    """`x + constant` for every picture; without `keep` the constant alone.

    Args:
        x: (B, …, D).
        trace: Names the layer.
        constant: (…, D) float32.
        name: Of the layer.
        keep: Whether `x` is part of the sum.
    """
    import keras

    letters = "bcdefg"[: constant.ndim]
    layer = keras.layers.EinsumDense(
        f"a{letters},{letters[-1]}->a{letters}", constant.shape, bias_axes=letters, name=trace.name(name)
    )
    found = trace.call(layer, x)
    layer.set_weights([np.full(constant.shape[-1], float(keep), np.float32), constant.astype(np.float32)])
    return found


def scaled(x: Any, trace: LayerTrace, factor: np.ndarray, name: str) -> Any:
    """`x * factor` over the last axis; (D,) float32."""
    import keras

    letters = "abcd"[: len(x.shape)]
    layer = keras.layers.EinsumDense(f"{letters},{letters[-1]}->{letters}", tuple(x.shape[1:]), name=trace.name(name))
    found = trace.call(layer, x)
    layer.set_weights([factor.astype(np.float32)])
    return found


def tokens(layer: Any, trace: LayerTrace, pictures: Any, **ignored: Any) -> Any:
    """Patches as tokens (B, T, D): a convolution, room for the other tokens in front, and all that is added.

    What is added is told by the layer itself, from a black picture; that the whole is the same is made sure on noise.

    Raises:
        ValueError: It is not.
    """
    import keras

    conv = next(one for one in layer._flatten_layers() if isinstance(one, keras.layers.Conv2D))
    patches = trace.copy(conv, pictures)
    trace.grid = (patches.shape[1], patches.shape[2])
    places, width = trace.grid[0] * trace.grid[1], patches.shape[3]
    side = tuple(pictures.shape[1:])
    noise = np.random.default_rng(0).normal(size=(1, *side)).astype(np.float32)
    black, whole = (_numpy(layer(given)) for given in (np.zeros((1, *side), np.float32), noise))
    front = black.shape[1] - places
    constant = black[0]
    if conv.use_bias:
        constant = constant - np.pad(np.tile(_numpy(conv.bias), (places, 1)), ((front, 0), (0, 0)))
    seen = np.pad(_numpy(conv(noise)).reshape(places, width), ((front, 0), (0, 0)))
    if not np.allclose(seen + constant, whole[0], atol=_CLOSE * np.abs(whole).max()):
        raise ValueError(f"`{type(layer).__name__}` does more than to add to patches")
    x = trace.call(keras.layers.Reshape((places, width), name=trace.name("row")), patches)
    if front:
        x = trace.call(keras.layers.ZeroPadding1D((front, 0), name=trace.name("front")), x)
    return added(x, trace, constant, "positions")


def layer_scale(layer: Any, trace: LayerTrace, x: Any, **ignored: Any) -> Any:
    """DINO's factor on what a branch gives."""
    return scaled(x, trace, _numpy(layer.lambda1), "factor")


def affine(layer: Any, trace: LayerTrace, x: Any, **ignored: Any) -> Any:
    """HGNet's one factor and one shift of a whole map, a factor and a shift a channel here."""
    import keras

    made = keras.layers.EinsumDense("abcd,d->abcd", tuple(x.shape[1:]), bias_axes="d", name=trace.name("affine"))
    found = trace.call(made, x)
    width = x.shape[-1]
    made.set_weights([np.full(width, _numpy(layer.scale)), np.full(width, _numpy(layer.bias))])
    return found


def attention_pooling(layer: Any, trace: LayerTrace, x: Any, **ignored: Any) -> Any:
    """SigLIP's head: a learned question to all tokens, and a small network behind it; (B, D)."""
    import keras

    cut = keras.layers.Cropping1D((0, x.shape[1] - 1), name=trace.name("any"))
    asked = added(trace.call(cut, x), trace, _numpy(layer.probe)[0], "probe", keep=False)
    found = layer.attention(asked, x, x)
    return (found + layer.mlp(layer.layer_norm(found)))[:, 0]


def window_attention(layer: Any, trace: LayerTrace, x: Any, mask: Any = None, **ignored: Any) -> Any:
    """Swin's attention within windows, (windows, N, C), with its bias by relative position."""
    import keras

    ops = keras.ops
    windows, n, width = x.shape
    qkv = ops.transpose(ops.reshape(layer.qkv(x), (windows, n, 3, layer.num_heads, -1)), (2, 0, 3, 1, 4))
    q, k, v = ops.unstack(qkv, axis=0)
    weights = ops.matmul(q * layer.scale, ops.transpose(k, (0, 1, 3, 2)))
    weights = added(weights, trace, _numpy(layer._get_rel_pos_bias()), "relative_position")
    if mask is not None:
        number = mask.shape[0]
        by_picture = ops.reshape(weights, (windows // number, number, layer.num_heads, n, n))
        weights = ops.reshape(by_picture + ops.expand_dims(mask, 1)[None], (windows, layer.num_heads, n, n))
    seen = ops.transpose(ops.matmul(ops.softmax(weights, -1), v), (0, 2, 1, 3))
    return layer.proj(ops.reshape(seen, (windows, n, width)))


REPLACED: dict[str, Callable[..., Any]] = {
    "ViTPatchingAndEmbedding": tokens,
    "DeiTEmbeddings": tokens,
    "DINOV2Embedding": tokens,
    "DINOV3Embedding": tokens,
    "CLIPVisionEmbedding": tokens,
    "MetaCLIP2VisionEmbedding": tokens,
    "SigLIPVisionEmbedding": tokens,
    "DINOV2LayerScale": layer_scale,
    "DINOV3LayerScale": layer_scale,
    "HGNetV2LearnableAffineBlock": affine,
    "SigLIPMultiHeadAttentionPooling": attention_pooling,
    "WindowAttention": window_attention,
}


def _numpy(of: Any) -> np.ndarray:
    import keras

    value = of.value if isinstance(of, keras.Variable) else of
    found: np.ndarray = np.asarray(keras.ops.convert_to_numpy(value), np.float32)
    return found
