"""What KerasHub's layers with weights of their own are in Keras' layers: patches with positions, scales, attention.

A weight that is added to every picture alike is the bias of an `EinsumDense` whose kernel is one. Every rule gets a
`LayerView`, the trace and the arguments of the call. Rules read attributes of KerasHub by name, of which
`WindowAttention._get_rel_pos_bias` is private; `trunk` compares the whole with KerasHub before anything is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headstart.backbones.keras_hub.flattening import LayerTrace
from headstart.networks.nested_layers import list_nested_layers

_TOLERANCE = 1e-4


def add_constant(x: Any, trace: LayerTrace, constant: np.ndarray, name: str, *, keep: bool = True) -> Any:
    """`x + constant`, (B, …, D) + (…, D) float32, for every picture; without `keep` the constant alone."""
    import keras

    letters = "bcdefg"[: constant.ndim]
    layer = keras.layers.EinsumDense(
        f"a{letters},{letters[-1]}->a{letters}", constant.shape, bias_axes=letters, name=trace.name(name)
    )
    total = layer(x)
    layer.set_weights([np.full(constant.shape[-1], float(keep), np.float32), constant.astype(np.float32)])
    return total


def embed_patches(view: Any, trace: LayerTrace, pictures: Any, **ignored: Any) -> Any:
    """Patches as tokens (B, T, D): a convolution, room for the other tokens in front, and all that is added.

    The layer itself tells what is added, from a black picture; `ValueError` where noise shows that this is not all.
    """
    import keras

    layer = view.layer
    conv = next(inner for inner in list_nested_layers(layer) if isinstance(inner, keras.layers.Conv2D))
    patches = trace.copy(conv, pictures)
    trace.grid = (patches.shape[1], patches.shape[2])
    n_patches, width = trace.grid[0] * trace.grid[1], patches.shape[3]
    shape = tuple(pictures.shape[1:])
    noise = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    tokens_of_black, tokens_of_noise = (to_numpy(layer(x)) for x in (np.zeros((1, *shape), np.float32), noise))
    front = tokens_of_black.shape[1] - n_patches
    constant = tokens_of_black[0]
    if conv.use_bias:
        constant = constant - np.pad(np.tile(to_numpy(conv.bias), (n_patches, 1)), ((front, 0), (0, 0)))
    patches_of_noise = np.pad(to_numpy(conv(noise)).reshape(n_patches, width), ((front, 0), (0, 0)))
    tolerance = _TOLERANCE * np.abs(tokens_of_noise).max()
    if not np.allclose(patches_of_noise + constant, tokens_of_noise[0], atol=tolerance):
        raise ValueError(f"`{type(layer).__name__}` does more than to add to patches")
    x = keras.layers.Reshape((n_patches, width), name=trace.name("row"))(patches)
    if front:
        x = keras.layers.ZeroPadding1D((front, 0), name=trace.name("front"))(x)
    return add_constant(x, trace, constant, "positions")


def scale_channels(view: Any, trace: LayerTrace, x: Any, **ignored: Any) -> Any:
    """DINO's factor a channel on what a branch gives."""
    import keras

    letters = "abcd"[: len(x.shape)]
    equation = f"{letters},{letters[-1]}->{letters}"
    layer = keras.layers.EinsumDense(equation, tuple(x.shape[1:]), name=trace.name("factor"))
    scaled = layer(x)
    layer.set_weights([to_numpy(view.lambda1)])
    return scaled


def scale_and_shift(view: Any, trace: LayerTrace, x: Any, **ignored: Any) -> Any:
    """HGNet's one factor and one shift of a whole map, a factor and a shift a channel here."""
    import keras

    layer = keras.layers.EinsumDense("abcd,d->abcd", tuple(x.shape[1:]), bias_axes="d", name=trace.name("affine"))
    scaled = layer(x)
    width = x.shape[-1]
    layer.set_weights([np.full(width, to_numpy(view.scale)), np.full(width, to_numpy(view.bias))])
    return scaled


def pool_by_attention(view: Any, trace: LayerTrace, x: Any, **ignored: Any) -> Any:
    """SigLIP's head: a learned query to all tokens, and a small network behind it; (B, D)."""
    import keras

    any_token = keras.layers.Cropping1D((0, x.shape[1] - 1), name=trace.name("any"))(x)
    query = add_constant(any_token, trace, to_numpy(view.probe)[0], "probe", keep=False)
    pooled = view.attention(query, x, x)
    return (pooled + view.mlp(view.layer_norm(pooled)))[:, 0]


def attend_in_windows(view: Any, trace: LayerTrace, x: Any, mask: Any = None, **ignored: Any) -> Any:
    """Swin's attention within windows, (windows, N, C), with its bias by relative position."""
    import keras

    ops = keras.ops
    windows, n, width = x.shape
    heads = view.num_heads
    qkv = ops.transpose(ops.reshape(view.qkv(x), (windows, n, 3, heads, -1)), (2, 0, 3, 1, 4))
    q, k, v = ops.unstack(qkv, axis=0)
    weights = ops.matmul(q * view.scale, ops.transpose(k, (0, 1, 3, 2)))
    weights = add_constant(weights, trace, to_numpy(view.layer._get_rel_pos_bias()), "relative_position")
    if mask is not None:
        n_masks = mask.shape[0]
        by_picture = ops.reshape(weights, (windows // n_masks, n_masks, heads, n, n))
        weights = ops.reshape(by_picture + ops.expand_dims(mask, 1)[None], (windows, heads, n, n))
    attended = ops.transpose(ops.matmul(ops.softmax(weights, -1), v), (0, 2, 1, 3))
    return view.proj(ops.reshape(attended, (windows, n, width)))


_EMBEDDINGS = (
    *("ViTPatchingAndEmbedding", "DeiTEmbeddings", "DINOV2Embedding", "DINOV3Embedding", "CLIPVisionEmbedding"),
    *("MetaCLIP2VisionEmbedding", "SigLIPVisionEmbedding"),
)
REPLACED: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_EMBEDDINGS, embed_patches),
    "DINOV2LayerScale": scale_channels,
    "DINOV3LayerScale": scale_channels,
    "HGNetV2LearnableAffineBlock": scale_and_shift,
    "SigLIPMultiHeadAttentionPooling": pool_by_attention,
    "WindowAttention": attend_in_windows,
}


def to_numpy(value: Any) -> np.ndarray:
    """A variable, tensor or array as float32."""
    import keras

    value = value.value if isinstance(value, keras.Variable) else value
    return np.asarray(keras.ops.convert_to_numpy(value), np.float32)
