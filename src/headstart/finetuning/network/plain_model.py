"""A trained network as plain Keras layers: from pictures to answers, and as a trunk with a linear head."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.types import BackboneSpec
from headstart.finetuning.network import clone, trainable_head
from headstart.finetuning.network.trainable_network import Network, feature_positions
from headstart.networks import blocks
from headstart.networks.formats.keras_writer import FEATURES


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlainModel:
    """A network that is done training; D counts the hidden units of a head `mlp` too."""

    model: Any  # `keras.Model`, pictures (B, H, W, 3) float32 RGB 0..255 -> answers (B, C)
    trunk: Any  # `model` up to its layer `features` (B, D): depths in the recipe's order, then hidden units
    weights: np.ndarray  # (D, C) float32, so that link(trunk(x) @ weights + bias) == model(x)
    bias: np.ndarray  # (C,) float32


def make_plain_model(network: Network, trunk_model: Any, spec: BackboneSpec, *, temperature: float = 1.0) -> PlainModel:
    """Plain models of a network with the weights that it has now."""
    import keras

    depths = network.recipe.depths
    anatomy = blocks.split_into_blocks(trunk_model, spec, depths)
    pictures = keras.Input(trunk_model.inputs[0].shape[1:], name="pictures")
    targets = [anatomy.pooled[depth] for depth in depths]
    body = clone.clone_between(trunk_model.inputs[0], targets, pictures, anatomy.names, lambda layer: (type(layer), {}))
    clone.copy_weights(body.pairs)
    _put_tuned(body, network)
    head = trainable_head.fold_head(network.head, *network.objective.find_unit(temperature))
    rows = feature_positions(spec, network.low + tuple(depth for depth in depths if depth not in network.low), depths)
    rows = np.concatenate([rows, np.arange(len(rows), len(head.weights))])
    weights = head.weights[rows]
    joined = _concatenate(list(body.model.outputs), "depths")
    if head.hidden:
        joined = _append_hidden_units(joined, head.hidden, rows[: len(head.hidden[0])])
    link = network.objective.link
    return attach_head(pictures, joined, weights, head.bias, link, spec.name)


def attach_head(pictures: Any, joined: Any, weights: np.ndarray, bias: np.ndarray, link: str, name: str) -> PlainModel:
    """Features (B, D) of `pictures`, both symbolic, and a head (D, C), (C,) on them; Keras names the `link`."""
    import keras

    features = keras.layers.Identity(name=FEATURES)(joined)
    dense = keras.layers.Dense(weights.shape[1], name="logits")
    answer_layer = keras.layers.Activation(link, name="number" if link == "linear" else "probabilities")
    answer = answer_layer(dense(features))
    dense.set_weights([weights, bias])
    name = re.sub(r"\W+", "_", name)
    trunk = keras.Model(pictures, features, name=f"{name}_trunk")
    model = keras.Model(pictures, answer, name=name)
    return PlainModel(model=model, trunk=trunk, weights=weights, bias=bias)


def make_adapted_model(
    trunk_model: Any,
    anatomy: blocks.TrunkBlocks,
    depths: Sequence[str],
    statistics: Mapping[int, tuple[np.ndarray, np.ndarray]],
    head: Mapping[str, np.ndarray],
    name: str,
) -> PlainModel:
    """A trunk read at `depths` with other moving means and variances, by the id of each batch norm, and a linear head.

    `head` has `weights` (D, C) and `bias` (C,).
    """
    import keras

    pictures = keras.Input(trunk_model.inputs[0].shape[1:], name="pictures")
    earlier = {id(operation): "earlier_features" for operation in trunk_model.operations if operation.name == FEATURES}
    names, targets = {**anatomy.names, **earlier}, [anatomy.pooled[depth] for depth in depths]
    body = clone.clone_between(trunk_model.inputs[0], targets, pictures, names, lambda layer: (type(layer), {}))
    clone.copy_weights(body.pairs)
    for operation, copy in body.pairs:
        if id(operation) in statistics:
            mean, variance = statistics[id(operation)]
            copy.moving_mean.assign(mean.astype(np.float32))
            copy.moving_variance.assign(variance.astype(np.float32))
    joined = _concatenate(list(body.model.outputs), "depths")
    return attach_head(pictures, joined, head["weights"], head["bias"], "softmax", name)


def _put_tuned(body: clone.ClonedTrunk, network: Network) -> None:
    merged = {update.kernel.path: update.merge_kernel() for update in network.updates}
    variables = {v.path: v for _, copy in body.pairs for v in getattr(copy, "weights", ())}
    drawn = [v for update in network.updates for v in (update.a, update.b)]
    elsewhere = {v.path for v in (*network.head.variables, *drawn)}
    for path, value in {**network.get(), **merged}.items():
        if path not in elsewhere:
            variables[path].assign(value)


def _concatenate(parts: list[Any], name: str) -> Any:
    import keras

    return keras.layers.Concatenate(name=name)(parts) if len(parts) > 1 else parts[0]


def _append_hidden_units(features: Any, hidden: tuple[np.ndarray, ...], rows: np.ndarray) -> Any:
    import keras

    kernel, bias, gamma, beta = hidden
    dense = keras.layers.Dense(len(bias), name="hidden")
    norm = keras.layers.LayerNormalization(name="hidden_norm")
    units = keras.layers.ReLU(name="hidden_relu")(norm(dense(features)))
    dense.set_weights([kernel[rows], bias])
    norm.set_weights([gamma, beta])
    return _concatenate([features, units], "depths_and_hidden")
