"""A piece of a trunk made anew: layers and weights of its own, names that are the same in every process."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Change = Callable[[Any], tuple[Any, dict[str, Any]]]  # operation -> class of its copy, settings that differ


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClonedTrunk:
    """Functional `keras.Model`, everything frozen, and the original operations with their copies, in graph order."""

    model: Any
    pairs: tuple[tuple[Any, Any], ...]


def clone_between(
    source: Any, targets: Sequence[Any], new_input: Any, names: Mapping[int, str], change: Change
) -> ClonedTrunk:
    """Copy what lies between two tensors of a functional model; `names` are of the copies, by id of the operation."""
    import keras

    pairs: list[tuple[Any, Any]] = []

    def clone(operation: Any) -> Any:
        kind, settings = change(operation)
        config = {**operation.get_config(), **settings}
        if "trainable" in config:  # a layer made frozen passes no later freezing on to the layers inside it
            config["trainable"] = True
        copy = kind.from_config(config)
        copy.name = names.get(id(operation), copy.name)
        pairs.append((operation, copy))
        return copy

    piece = keras.Model(source, list(targets))
    model = keras.models.clone_model(piece, input_tensors=new_input, clone_function=clone, recursive=True)
    for _, copy in pairs:
        if hasattr(copy, "weights"):
            copy.trainable = False
            _number_unnamed_weights(copy)
    return ClonedTrunk(model=model, pairs=tuple(pairs))


def _number_unnamed_weights(layer: Any) -> None:
    """Weights without a name of their own (ConvNeXt's layer scale) are numbered by Keras over the whole process."""
    for place, v in enumerate(layer.weights):
        if re.fullmatch(r"variable(_\d+)?", v.name):
            v._name = f"weight{place}"
            v._path = "/".join([*v.path.split("/")[:-1], v._name])


def copy_weights(pairs: Sequence[tuple[Any, Any]]) -> None:
    """Give each copy the weights of its original."""
    for operation, copy in pairs:
        originals, own_weights = getattr(operation, "weights", ()), getattr(copy, "weights", ())
        for original, own_weight in zip(originals, own_weights, strict=True):
            own_weight.assign(original)
