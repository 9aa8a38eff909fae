"""A trunk as a row of blocks, and the place where it can be cut.

A trunk gives one pooled vector a depth; the map (B, h, w, c) under that pooling is where one block, named by its depth,
ends and the next begins. What has no weights to train is no block. Below the first block that trains nothing changes,
so the map there can be computed once: that is the cut, taken only where nothing else leads past it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.core.errors import UsageError, format_nearest
from headstart.core.recipe import Recipe
from headstart.core.types import BackboneSpec


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrunkBlocks:
    """The part of a trunk that a head reading some depths needs.

    Attributes:
        depths: All depths from the shallowest to the deepest that is read.
        maps: Depth -> symbolic tensor (B, h, w, c) under its pooling.
        pooled: Depth -> symbolic tensor (B, D), the trunk's own output.
        segments: Depth -> operations that it needs and no shallower one does, in the order of the graph.
        names: id of an operation or a layer inside one -> a name that is the same in every process.
    """

    depths: tuple[str, ...]
    maps: dict[str, Any]
    pooled: dict[str, Any]
    segments: dict[str, tuple[Any, ...]]
    names: dict[int, str]

    @property
    def blocks(self) -> tuple[str, ...]:
        """Depths whose segment has weights to train, shallow to deep."""
        return tuple(depth for depth in self.depths if any(map(is_trainable, self.segments[depth])))

    def map_operations_to_blocks(self) -> dict[int, str]:
        """Id of each operation, and of each layer inside one -> the depth whose segment it is in."""
        return {
            id(layer): depth
            for depth in self.depths
            for operation in self.segments[depth]
            for layer in _list_with_inner(operation)
        }


def add_map_outputs(model: Any, spec: BackboneSpec, names: Sequence[str]) -> Any:
    """A trunk that gives maps first, named `map_<depth>`, and then all pooled features."""
    import keras

    maps = split_into_blocks(model, spec, [depth.name for depth in spec.depths]).maps
    return keras.Model(model.inputs, [*(maps[name.removeprefix("map_")] for name in names), *model.outputs])


def split_into_blocks(trunk_model: Any, spec: BackboneSpec, depths: Sequence[str]) -> TrunkBlocks:
    """Take a functional trunk apart as deep as `depths` go; UsageError where one is not its own, or none is named."""
    levels = tuple(depth.name for depth in spec.depths)
    wrong = [name for name in depths if name not in levels]
    if wrong or not depths:
        problem = f"has no depth `{wrong[0]}`" if wrong else "is read at no depth"
        hint = format_nearest(wrong[0], levels) if wrong else ""
        raise UsageError(f"`{spec.name}` {problem}", where="--recipe", hint=hint or f"depths: {', '.join(levels)}")
    read_levels = levels[: 1 + max(levels.index(name) for name in depths)]
    producers = map_producers(trunk_model)
    pooled = dict(zip(levels, trunk_model.outputs, strict=True))
    order = {id(operation): place for place, operation in enumerate(trunk_model.operations)}
    visited: set[int] = set()
    segments = {}
    for depth in read_levels:
        ancestors = sorted(iterate_ancestors(pooled[depth], producers, visited), key=lambda each: order[id(each)])
        segments[depth] = tuple(operation for operation in ancestors if not _is_input(operation))
    return TrunkBlocks(
        depths=read_levels,
        maps={depth: _find_map(pooled[depth], producers) for depth in read_levels},
        pooled={depth: pooled[depth] for depth in read_levels},
        segments=segments,
        names=_stable_names(trunk_model),
    )


def map_producers(trunk_model: Any) -> dict[int, Any]:
    """Id of each symbolic tensor of a functional model -> the operation that gives it."""
    return {id(tensor): operation for operation in trunk_model.operations for tensor in list_tensors(operation.output)}


def iterate_ancestors(tensor: Any, producers: dict[int, Any], visited: set[int]) -> Iterator[Any]:
    """Every operation that a tensor depends on and that is not in `seen`, to which they are added."""
    waiting = [producers[id(tensor)]]
    while waiting:
        operation = waiting.pop()
        if id(operation) in visited:
            continue
        visited.add(id(operation))
        yield operation
        waiting += [] if _is_input(operation) else [producers[id(tensor)] for tensor in list_tensors(operation.input)]


def choose_blocks(blocks: Sequence[str], recipe: Recipe) -> tuple[str, ...]:
    """Which of a trunk's blocks (shallow to deep) a recipe trains; all where it asks for more than there are."""
    if recipe.strategy == "probe":
        return ()
    count = min(recipe.trunk.blocks, len(blocks))
    if recipe.strategy == "scratch" or recipe.trunk.part == "all":
        count = len(blocks)
    return tuple(blocks[len(blocks) - count :])


def find_cut(anatomy: TrunkBlocks, train: Sequence[str]) -> str:
    """The deepest depth under which no block of `train` lies and whose map is all that the rest needs; else empty."""
    if not train:
        return ""
    frozen_levels = anatomy.depths[: anatomy.depths.index(train[0])]
    return next((depth for depth in reversed(frozen_levels) if _is_bottleneck(anatomy, depth)), "")


def _is_bottleneck(anatomy: TrunkBlocks, depth: str) -> bool:
    place = anatomy.depths.index(depth) + 1
    behind = [operation for later in anatomy.depths[place:] for operation in anatomy.segments[later]]
    available = {id(tensor) for operation in behind for tensor in list_tensors(operation.output)}
    available.add(id(anatomy.maps[depth]))
    return all(id(tensor) in available for operation in behind for tensor in list_tensors(operation.input))


def _find_map(pooled: Any, producers: dict[int, Any]) -> Any:
    """The map (B, h, w, c) that a pooled vector comes from; ConvNeXt normalises the vector once more.

    Of a row of tokens only the patches may be pooled: all that follows reads the whole row.
    """
    import keras

    operation = producers[id(pooled)]
    while not isinstance(operation, keras.layers.GlobalAveragePooling2D):
        operation = producers[id(list_tensors(operation.input)[0])]
    producer = producers[id(operation.input)]
    return producer.input if isinstance(producer, keras.layers.Cropping2D) else operation.input


def _stable_names(trunk_model: Any) -> dict[int, str]:
    """Names that do not count the layers a process has made: those that Keras invented go by their place."""
    names = {}
    for place, operation in enumerate(trunk_model.operations):
        for inner, layer in enumerate(_list_with_inner(operation)):
            kind = type(layer).__name__.lower()
            invented = re.fullmatch(rf"{kind}\d*", layer.name.replace("_", "").lower())
            names[id(layer)] = f"{kind}_at{place}" + (f"_{inner}" if inner else "") if invented else layer.name
    return names


def _list_with_inner(operation: Any) -> list[Any]:
    return [operation, *getattr(operation, "layers", ())]


def list_tensors(tensors: Any) -> list[Any]:
    """The inputs or outputs of a Keras operation, which are a list only where there are several."""
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]


def _is_input(operation: Any) -> bool:
    return type(operation).__name__ == "InputLayer"


def is_trainable(operation: Any) -> bool:
    """Whether it has weights that training may change; the constants of input scaling are none."""
    return bool(getattr(operation, "weights", ())) and type(operation).__name__ != "Normalization"
