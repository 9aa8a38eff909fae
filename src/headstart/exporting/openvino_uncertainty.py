"""Novelty and `unknown` as OpenVINO operations: what `headstart.uncertainty.selective_prediction` does, in float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from headstart.core.model_manifest import UncertaintyEntry


def uncertainty_outputs(x: Any, p: Any, entry: UncertaintyEntry, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What the graph says of its uncertainty; see `headstart.exporting.keras_uncertainty.uncertainty_outputs`."""
    from openvino import opset13 as ops

    floors = np.maximum(1.0 - np.asarray(arrays["floors"], np.float64), np.finfo(np.float32).min)  # or no limit
    above = ops.convert(ops.greater_equal(p, float_constant(floors[None])), "f32")
    hopeless = ops.subtract(float_constant([[1.0]]), ops.reduce_max(above, _axis(), True))
    if not entry.novelty:
        return {"unknown": hopeless}
    far = _neighbour_distance(x, entry.neighbour, arrays)
    beyond = ops.convert(ops.greater(far, float_constant(np.asarray(arrays["known"])[None])), "f32")
    strange = ops.convert(ops.greater(far, float_constant([[entry.limit]])), "f32")
    return {"novelty": ops.reduce_mean(beyond, _axis(), True), "unknown": ops.maximum(hopeless, strange)}


def _neighbour_distance(x: Any, k: int, arrays: Mapping[str, np.ndarray]) -> Any:
    """(B, 1) distance to the k-th nearest reference."""
    from openvino import opset13 as ops

    points = np.asarray(arrays["references"], np.float64)
    z = ops.divide(ops.subtract(x, float_constant(arrays["centre"][None])), float_constant(arrays["scale"][None]))
    if "projection" in arrays:
        inside = ops.matmul(z, float_constant(arrays["projection"]), False, False)
        outside = ops.maximum(ops.subtract(_squared_length(z), _squared_length(inside)), float_constant([[0.0]]))
        z = ops.concat([inside, ops.sqrt(outside)], 1)
    if "whitening" in arrays:
        z = ops.matmul(z, float_constant(arrays["whitening"]), False, False)
    lengths = np.einsum("rp,rp->r", points, points)
    far = ops.subtract(float_constant(lengths[None]), ops.matmul(z, float_constant(2 * points.T), False, False))
    near = ops.topk(far, ops.constant(np.asarray(k, np.int64)), 1, "min", "value").output(0)
    squared = ops.add(_squared_length(z), ops.reduce_max(near, _axis(), True))
    return ops.sqrt(ops.maximum(squared, float_constant([[0.0]])))


def _squared_length(x: Any) -> Any:
    from openvino import opset13 as ops

    return ops.reduce_sum(ops.multiply(x, x), _axis(), True)


def _axis() -> Any:
    from openvino import opset13 as ops

    return ops.constant(np.array([1], np.int64))


def float_constant(values: Any) -> Any:
    """A float32 constant."""
    from openvino import opset13 as ops

    return ops.constant(np.asarray(values, np.float32))
