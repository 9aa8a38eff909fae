"""Novelty and `unknown` as Keras layers: what `headstart.uncertainty.selective_prediction` does, in float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from headstart.core.model_manifest import UncertaintyEntry


def uncertainty_outputs(x: Any, p: Any, entry: UncertaintyEntry, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """From features (B, D) and probabilities (B, C): `unknown` (B, 1), and where it is measured `novelty` (B, 1)."""
    import keras
    from keras import ops

    floors = np.maximum(1.0 - np.asarray(arrays["floors"], np.float64), np.finfo(np.float32).min)  # or no limit
    shifted = keras.layers.Rescaling(1.0, (-floors).tolist(), name="above_floors")(p)
    above = ops.cast(ops.greater_equal(shifted, 0.0), "float32")
    hopeless = ops.subtract(1.0, ops.max(above, axis=1, keepdims=True))
    if not entry.novelty:
        return {"unknown": hopeless}
    far = _neighbour_distance(x, entry.neighbour, arrays)
    known = np.asarray(arrays["known"], np.float64)
    beyond = _apply_dense(far, np.ones((1, len(known))), -known, "known")  # (B, K)
    novelty = ops.mean(ops.cast(ops.greater(beyond, 0.0), "float32"), axis=1, keepdims=True)
    strange = ops.cast(ops.greater(far, float(np.float32(entry.limit))), "float32")
    return {"novelty": novelty, "unknown": ops.maximum(hopeless, strange)}


def _apply_dense(x: Any, weights: np.ndarray, bias: np.ndarray | None, name: str) -> Any:
    import keras

    layer = keras.layers.Dense(weights.shape[1], use_bias=bias is not None, name=name)
    output = layer(x)
    layer.set_weights([weights] if bias is None else [weights, bias])
    return output


def _neighbour_distance(x: Any, k: int, arrays: Mapping[str, np.ndarray]) -> Any:
    """(B, 1) distance to the k-th nearest reference."""
    import keras
    from keras import ops

    points, centre, scale = (np.asarray(arrays[name], np.float64) for name in ("references", "centre", "scale"))
    z = keras.layers.Rescaling((1 / scale).tolist(), (-centre / scale).tolist(), name="known_scale")(x)
    if "projection" in arrays:
        inside = _apply_dense(z, arrays["projection"], None, "known_directions")
        outside = ops.subtract(_squared_length(z), _squared_length(inside))
        z = keras.layers.Concatenate(name="known_place")([inside, ops.sqrt(ops.maximum(outside, 0.0))])
    if "whitening" in arrays:
        z = _apply_dense(z, arrays["whitening"], None, "known_spread")
    near = _apply_dense(z, 2 * points.T, -np.einsum("rp,rp->r", points, points), "references")
    best = ops.top_k(near, k)[0] if k > 1 else ops.max(near, axis=1, keepdims=True)
    return ops.sqrt(ops.maximum(ops.subtract(_squared_length(z), ops.min(best, axis=1, keepdims=True)), 0.0))


def _squared_length(x: Any) -> Any:
    from keras import ops

    return ops.sum(ops.square(x), axis=1, keepdims=True)
