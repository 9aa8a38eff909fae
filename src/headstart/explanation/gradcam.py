"""Heat maps by gradients through a `keras.Model`: Grad-CAM (Selvaraju 2017).

A network that holds other models is laid flat first, for a gradient cannot be asked for at a layer inside a layer. The
map is the deepest one whose places have a gradient: behind a class token the last tokens have none. Needs TensorFlow.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from headstart.core.errors import DataError
from headstart.core.types import CLASSIFICATION, Task
from headstart.explanation.feature_maps import square_side
from headstart.networks.formats import keras_archive

_LEAST_SIDE = 2
_LOOKED_AT = 64  # of the deepest maps
_TINY = 1e-37  # of a probability, before its logarithm is taken


class GradientMap(NamedTuple):
    """A map by gradients: (s, s) evidence, the class's score, the layer whose map it is."""

    evidence: np.ndarray
    score: float
    layer: str


class GradientModel:
    """A network whose maps can be asked for gradients.

    Args:
        model: `keras.Model`, pictures (B, H, W, 3) float32 RGB 0..255 -> probabilities (B, C) or numbers (B, 1). One
            that holds other models is used up.
        task: What it answers.

    Raises:
        DataError: Nothing in it is a map.
    """

    def __init__(self, model: Any, task: Task = CLASSIFICATION) -> None:
        import keras

        self._task = task

        side = int(model.inputs[0].shape[1])
        nested = any(isinstance(operation, keras.Model) for operation in model.operations)
        flat = keras_archive.flatten_model(model, side) if nested else model
        self._layers, tensors = _list_maps(flat)
        if not tensors:
            raise DataError("the network has no map that gradients could be taken at", hint="--method occlusion")
        self._model = keras.Model(flat.inputs, [*tensors, flat.outputs[0]])

    def compute_map(self, picture: np.ndarray, position: int) -> GradientMap:
        """The heat map of one picture (H, W, 3) 0..255, for the class's logit against the mean of the others'.

        Of labels it is for the label's log-odds, of numbers for the number.

        Raises:
            DataError: No map has a gradient.
        """
        import tensorflow as tf

        pictures = tf.convert_to_tensor(np.asarray(picture, np.float32)[None])
        with tf.GradientTape() as tape:
            tape.watch(pictures)
            *maps, chances = self._model(pictures, training=False)
            score = chances[0, position] if self._task.is_number else self._find_margin(chances[0], position)
        gradients = tape.gradient(score, maps)
        value = float(score)
        for layer, values, slopes in zip(reversed(self._layers), reversed(maps), reversed(gradients), strict=True):
            evidence = None if slopes is None else _place_evidence(np.asarray(values[0]), np.asarray(slopes[0]))
            if evidence is not None:
                return GradientMap(evidence, value, layer)
        raise DataError("no map of the network has a gradient", hint="--method occlusion")

    def _find_margin(self, p: Any, position: int) -> Any:
        """Log-probability of a class minus the mean of the others'; a label is a choice of two."""
        import tensorflow as tf

        if self._task.has_labels:
            p, position = tf.stack([p[position], 1.0 - p[position]]), 0
        logs = tf.math.log(tf.maximum(p, _TINY))
        return logs[position] - (tf.reduce_sum(logs) - logs[position]) / max(int(logs.shape[0]) - 1, 1)


def _list_maps(model: Any) -> tuple[list[str], list[Any]]:
    """The deepest square maps and rows of tokens, with the layers that give them, shallow to deep."""
    maps = []
    for operation in model.operations:
        if type(operation).__name__ == "InputLayer":
            continue
        output = operation.output
        single = not isinstance(output, list | tuple)
        if single and output.dtype.startswith("float") and _map_side(tuple(output.shape[1:])):
            maps.append((operation.name, output))
    maps = maps[-_LOOKED_AT:]
    return [name for name, _ in maps], [tensor for _, tensor in maps]


def _map_side(shape: tuple[int | None, ...]) -> int:
    """Places in a row of a map (h, w, c) or of tokens (t, c) or (1, t, c); 0 where it is none."""
    if None in shape or len(shape) not in (2, 3):
        return 0
    places = [int(side) for side in shape[:-1] if side is not None]
    if len(places) == 2 and 1 not in places:
        return places[0] if places[0] == places[1] and places[0] >= _LEAST_SIDE else 0
    return square_side(math.prod(places))[0]


def _place_evidence(values: np.ndarray, slopes: np.ndarray) -> np.ndarray | None:
    """(s, s) evidence of a map and its gradient; None where no place has one."""
    side, width = _map_side(values.shape), values.shape[-1]
    values, slopes = (each.reshape(-1, width)[-side * side :].astype(np.float64) for each in (values, slopes))
    if not np.any(slopes):
        return None
    evidence: np.ndarray = (values * slopes.mean(axis=0, keepdims=True)).sum(axis=1).reshape(side, side) * (side * side)
    return evidence
