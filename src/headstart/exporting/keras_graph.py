"""The saved model as one `keras.Model` of built-in layers: pictures -> trunks -> head -> probabilities and uncertainty.

No Lambda and no layer of anybody's own, so that its `.keras` file opens in safe mode in a process that knows Keras
alone. Nearest neighbours are a dense layer (minus squared distances, but for what all share), a top-k, and an
embedding whose rows are votes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.errors import SetupError
from headstart.exporting import keras_uncertainty
from headstart.exporting.export_source import ExportSource, graph_inputs
from headstart.networks.framework_state import silence_frameworks
from headstart.networks.nested_layers import list_nested_layers

if TYPE_CHECKING:
    from headstart.core.model_manifest import TrunkEntry


def build_keras_graph(source: ExportSource) -> Any:
    """`keras.Model`: pictures (B, H, W, 3) float32 RGB 0..255, by name where there are several inputs.

    Its outputs are `probabilities` (B, C) or `number` (B, 1), and where `source.with_uncertainty` `unknown` (B, 1) and
    `novelty` (B, 1).

    Raises:
        SetupError: Weights are missing, or a trunk has layers that are not Keras' own.
    """
    with silence_frameworks():
        import keras

    entries = graph_inputs(source.manifest)
    tensors = {each.name: keras.Input(each.spec.shape, name=each.name, dtype="float32") for each in entries}
    features: dict[tuple[str, str], Any] = {}
    with silence_frameworks():
        for entry in source.manifest.trunks:
            pictures = next(tensors[graph_input.name] for graph_input in entries if entry.name in graph_input.trunks)
            side, views = entry.input.size_px, entry.input.views
            pictures = keras.ops.reshape(pictures, (-1, side, side, 3)) if views > 1 else pictures
            outputs = _cut_trunk(source, entry)(pictures)
            parts = outputs if isinstance(outputs, list | tuple) else [outputs]
            if views > 1:
                parts = [keras.ops.mean(keras.ops.reshape(x, (-1, views, x.shape[-1])), axis=1) for x in parts]
            features |= {(entry.name, depth.name): part for depth, part in zip(entry.depths, parts, strict=True)}
    blocks = [features[feature.backbone, feature.depth] for feature in source.manifest.features]
    joined = keras.layers.Concatenate(name="joined")(blocks) if len(blocks) > 1 else blocks[0]
    arrays, temperature = source.model.arrays, source.manifest.calibration.temperature
    p, doubt = _HEADS[source.manifest.head.kind](joined, arrays, temperature), source.manifest.doubt
    out = {source.output: p}
    if source.with_uncertainty and doubt:
        out |= keras_uncertainty.uncertainty_outputs(joined, p, doubt, source.model.uncertainty_arrays)
    return keras.Model(next(iter(tensors.values())) if len(tensors) == 1 else tensors, out, name="headstart")


def _cut_trunk(source: ExportSource, entry: TrunkEntry) -> Any:
    """The trunk up to what the head reads, a model with one output a depth."""
    import keras

    trunk = source.find_trunk(entry)
    full_trunk = trunk.build(source.store)
    at = [depth.name for depth in trunk.spec.depths]
    outputs = [full_trunk.outputs[at.index(depth.name)] for depth in entry.depths]
    model = keras.Model(full_trunk.inputs[0], outputs, name=re.sub(r"\W+", "_", entry.name))
    model.trainable = False
    layers = list_nested_layers(model, include_self=False)
    strange = next((layer for layer in layers if not type(layer).__module__.startswith("keras.")), None)
    if strange is not None:
        message = f"`{entry.name}` has the layer `{type(strange).__name__}`, which is not one of Keras' own"
        raise SetupError(message, where="--to", hint="--to openvino, which needs none of them")
    return model


# ---------------------------------------------------------------- heads


def _linear_head(x: Any, arrays: Mapping[str, np.ndarray], temperature: float) -> Any:
    import keras

    logits = _apply_dense(x, arrays, temperature, "logits")
    return keras.layers.Softmax(name="probabilities")(logits)


def _labels_head(x: Any, arrays: Mapping[str, np.ndarray], temperature: float) -> Any:
    import keras

    log_odds = _apply_dense(x, arrays, temperature, "log_odds")
    return keras.layers.Activation("sigmoid", name="probabilities")(log_odds)


def _number_head(x: Any, arrays: Mapping[str, np.ndarray], temperature: float) -> Any:
    return _apply_dense(x, arrays, temperature, "number")


def _apply_dense(x: Any, arrays: Mapping[str, np.ndarray], temperature: float, name: str) -> Any:
    import keras

    weights, bias = (np.asarray(arrays[part], np.float64) / temperature for part in ("weights", "bias"))
    dense = keras.layers.Dense(len(bias), name=name)
    sums = dense(x)
    dense.set_weights([weights.astype(np.float32), bias.astype(np.float32)])
    return sums


def _neighbours_head(x: Any, arrays: Mapping[str, np.ndarray], temperature: float) -> Any:
    import keras

    points = np.asarray(arrays["points"], np.float64)
    centre, scale = (np.asarray(arrays[name], np.float64) for name in ("centre", "scale"))
    prior, vote = (np.asarray(arrays[name], np.float64) for name in ("prior", "vote"))
    z = keras.layers.Rescaling((1 / scale).tolist(), (-centre / scale).tolist(), name="standardised")(x)
    near = keras.layers.Dense(len(points), name="nearness")
    nearness = near(z)
    near.set_weights([2 * points.T, -np.einsum("md,md->m", points, points)])
    _, places = keras.ops.top_k(nearness, min(int(arrays["k"]), len(points)))
    table = keras.layers.Embedding(len(points), len(prior), name="votes")
    votes = table(places)
    table.set_weights([np.eye(len(prior))[arrays["labels"]] * vote])
    counted = keras.layers.Rescaling(1.0, prior.tolist(), name="smoothed")(keras.ops.sum(votes, axis=1))
    shares = keras.ops.divide(counted, keras.ops.sum(counted, axis=1, keepdims=True))
    if temperature == 1.0:
        return keras.layers.Identity(name="probabilities")(shares)
    floor = keras.ops.log(keras.ops.maximum(shares, float(np.finfo(np.float32).tiny)))
    return keras.layers.Softmax(name="probabilities")(keras.layers.Rescaling(1 / temperature, name="tempered")(floor))


_HEADS = {
    "linear": _linear_head,
    "linear_sigmoid": _labels_head,
    "linear_identity": _number_head,
    "neighbours": _neighbours_head,
}
