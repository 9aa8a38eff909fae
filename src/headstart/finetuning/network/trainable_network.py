"""The network that a recipe trains: the upper part of a trunk with a head on it, cut where nothing below trains.

Inputs are `map` (the trunk's map at the cut) or `pictures`, and `pooled` (pooled features of the depths at or below the
cut); the output is logits. Weights are known by paths that are the same in every process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core import recipe as recipes
from headstart.core.errors import NoOpError
from headstart.core.recipe import Recipe
from headstart.core.types import BackboneSpec
from headstart.finetuning.network import batchnorm_folding, clone, layer_swaps, lora, trainable_head
from headstart.finetuning.network.lora import Update
from headstart.finetuning.network.trainable_head import Head, HeadStart
from headstart.finetuning.objectives import Objective
from headstart.networks import blocks
from headstart.networks.blocks import TrunkBlocks
from headstart.networks.random_init import fill_random

__all__ = ["Block", "HeadStart", "Network", "build_lower_trunk", "build_network", "require_moved"]
_DRAW = 9  # of LoRA's A, among the uses of the recipe's seed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """A block that trains: named by the depth that ends it, or `head`; `distance` is 0 for the head, 1 for the next."""

    name: str
    variables: list[Any]
    distance: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """What a recipe trains."""

    model: Any  # functional `keras.Model`, not compiled: inputs by name -> logits (B, C) float32
    recipe: Recipe  # with `backbone`, `depths` and `part` decided
    objective: Objective
    cut: str  # depth whose map comes in; empty when pictures come in, or features alone
    low: tuple[str, ...]  # depths whose pooled features come in, in the order in which `pooled` holds them
    blocks: tuple[Block, ...]  # those that train, shallow to deep, the head last
    head: Head
    updates: tuple[Update, ...]
    statistics: tuple[Any, ...]  # of batch norm: training changes these variables without a gradient

    @property
    def trainable_params(self) -> int:
        """How many numbers train."""
        return sum(int(np.prod(v.shape)) for block in self.blocks for v in block.variables)

    @property
    def seeds(self) -> list[Any]:
        """States of the random layers, in an order that is the same in every process (their paths are not)."""
        return [v for v in self.model.variables if v.name == "seed_generator_state"]

    def rate_factors(self) -> dict[str, float]:
        """Path of each trainable variable -> factor on the rate: 1 for the head, less with the distance from it."""
        return {v.path: rate_factor(self.recipe, block.distance) for block in self.blocks for v in block.variables}

    def get(self, *, frozen: bool = False) -> dict[str, np.ndarray]:
        """Copies of the weights that training may change, by path; with `frozen` of all others too."""
        moving = [v for block in self.blocks for v in block.variables] + list(self.statistics)
        variables = self.model.weights if frozen else moving
        return {v.path: np.asarray(v).copy() for v in variables}

    def set(self, weights: Mapping[str, np.ndarray]) -> None:
        """Put weights back, by path; a KeyError where the network has no such weight."""
        variables = {v.path: v for v in self.model.weights}
        for path, value in weights.items():
            variables[path].assign(value)

    def interpolate_weights(
        self, start: Mapping[str, np.ndarray], tuned: Mapping[str, np.ndarray], alpha: float
    ) -> dict[str, np.ndarray]:
        """Weights on the straight line from `start` (alpha 0) to `tuned` (1) (WiSE-FT, Wortsman et al., CVPR 2022).

        The line is that of the kernels which compute: of a low-rank update A B, whose B starts at zero, only B is
        scaled and A is the tuned one.

        Raises:
            ValueError: A low-rank update is not zero at the start; the line then leaves the low rank.
        """
        if alpha in (0, 1):
            return dict(tuned if alpha else start)
        drawn = {update.a.path for update in self.updates}
        if any(np.any(start[update.b.path]) for update in self.updates):
            raise ValueError("a line between low-rank updates must start where they are zero")
        line = {}
        for path, value in start.items():
            first, last = value.astype(np.float64), tuned[path].astype(np.float64)
            line[path] = tuned[path].copy() if path in drawn else (first + alpha * (last - first)).astype(value.dtype)
        return line


def rate_factor(recipe: Recipe, distance: int) -> float:
    """Factor on the rate of a block: 1 for the head (distance 0)."""
    return float(recipe.trunk.trunk_rate * recipe.trunk.decay**distance) if distance else 1.0


def build_network(
    trunk_model: Any, spec: BackboneSpec, recipe: Recipe, *, start: HeadStart | None, objective: Objective
) -> Network:
    """The network of a recipe, ready to train; the trunk is left as it is and may serve the next one.

    Args:
        trunk_model: Functional `keras.Model`, pictures (B, H, W, 3) float32 RGB 0..255 -> one (B, D) a depth.
        start: The fitted head on raw features of `recipe.depths` in their order; the first logits are this head's to
            1e-4 unless the recipe starts at random. None starts at random, without standardisation.

    Raises:
        NoOpError: Nothing of the trunk would train, or LoRA finds no layer.
        UsageError: A depth is unknown, or stochastic depth finds no residual sum.
    """
    import keras

    anatomy = blocks.split_into_blocks(trunk_model, spec, recipe.depths)
    train = blocks.choose_blocks(anatomy.blocks, recipe)
    cut = blocks.find_cut(anatomy, train)
    below = anatomy.depths[: anatomy.depths.index(cut) + 1] if cut else ()
    low = tuple(depth for depth in recipe.depths if not train or depth in below)
    high = tuple(depth for depth in recipe.depths if depth not in low)
    inputs: dict[str, Any] = {}
    features: list[Any] = []
    pairs: tuple[tuple[Any, Any], ...] = ()
    folds = {}
    if not layer_swaps.learns_statistics(recipe):
        folds = batchnorm_folding.find_folds(trunk_model, anatomy, recipe, train)
    change = layer_swaps.plan_layer_swaps(trunk_model, spec, anatomy, recipe, train, folds)
    if high:
        body = _clone_upper_trunk(trunk_model, anatomy, recipe, cut, high, change)
        batchnorm_folding.link_folds(body.pairs, folds)
        inputs[body.model.inputs[0].name] = body.model.inputs[0]
        features, pairs = list(body.model.outputs), body.pairs
    if low:
        width = sum(depth.dim for depth in spec.depths if depth.name in low)
        inputs["pooled"] = keras.Input((width,), name="pooled")
        features = [inputs["pooled"], *features]
    x = keras.layers.Concatenate(dtype="float32", name="features")(features) if len(features) > 1 else features[0]
    order = None if start is None else start.reorder_features(feature_positions(spec, recipe.depths, low + high))
    updates = _free_layers(anatomy, recipe, train, pairs)
    head = trainable_head.build_head(x, recipe, order, objective.outputs)
    network = Network(
        model=keras.Model(inputs, head.logits, name="network"),
        recipe=recipe,
        objective=objective,
        cut=cut,
        low=low,
        blocks=_list_trainable_blocks(anatomy, train, pairs, head),
        head=head,
        updates=tuple(updates),
        statistics=layer_swaps.list_learnt_statistics(pairs),
    )
    _require_trainable(network, spec, train)
    return network


def build_lower_trunk(trunk_model: Any, spec: BackboneSpec, cut: str, low: Sequence[str] = ()) -> Any:
    """The part of a trunk up to a cut, sharing its layers.

    `keras.Model`, pictures -> map (B, h, w, c), or with `low` -> [map, pooled (B, D) of each of these depths].
    """
    import keras

    anatomy = blocks.split_into_blocks(trunk_model, spec, [cut, *low])
    outputs = [anatomy.maps[cut], *(anatomy.pooled[depth] for depth in low)]
    return keras.Model(trunk_model.inputs[0], outputs if low else outputs[0], name="lower")


def feature_positions(spec: BackboneSpec, order: Sequence[str], target_order: Sequence[str]) -> np.ndarray:
    """Positions that bring features of depths in one order into another one: `x[:, feature_positions(...)]`."""
    dims = {depth.name: depth.dim for depth in spec.depths}
    starts = dict(zip(order, np.cumsum([0, *(dims[name] for name in order)]), strict=False))
    return np.concatenate([starts[name] + np.arange(dims[name]) for name in target_order])


def _clone_upper_trunk(
    trunk_model: Any, anatomy: TrunkBlocks, recipe: Recipe, cut: str, high: Sequence[str], change: clone.Change
) -> clone.ClonedTrunk:
    import keras

    source = anatomy.maps[cut] if cut else trunk_model.inputs[0]
    new_input = keras.Input(source.shape[1:], name="map" if cut else "pictures")
    targets = [anatomy.pooled[depth] for depth in high]
    body = clone.clone_between(source, targets, new_input, anatomy.names, change)
    if recipe.strategy == "scratch":
        fill_random(body.model, recipe.seed)
        clone.copy_weights([pair for pair in body.pairs if isinstance(pair[0], keras.layers.Normalization)])
    else:
        clone.copy_weights(body.pairs)
    return body


def _free_layers(
    anatomy: TrunkBlocks, recipe: Recipe, train: Sequence[str], pairs: Sequence[tuple[Any, Any]]
) -> list[Update]:
    home = anatomy.map_operations_to_blocks()
    layers = [copy for operation, copy in pairs if home[id(operation)] in train and hasattr(copy, "weights")]
    for layer in layers:
        layer.trainable = True
        for v in layer.trainable_variables:
            is_norm = len(v.shape) < 2 or v.name == "bias"
            v.trainable = recipe.strategy != "lora" and (recipe.strategy != "norms" or is_norm)
    if recipe.strategy != "lora":
        return []
    updates = lora.attach_updates(layers, recipe.lora.lora_rank, np.random.default_rng([recipe.seed, _DRAW]))
    if not updates:
        kinds = sorted({type(operation).__name__ for operation, _ in pairs if home[id(operation)] in train})
        raise NoOpError(
            f"LoRA finds no kernel in the blocks {', '.join(train)}: they have {', '.join(kinds)}",
            where="--recipe",
            hint="write strategy=norms or strategy=finetune, or more blocks",
        )
    return updates


def _list_trainable_blocks(
    anatomy: TrunkBlocks, train: Sequence[str], pairs: Sequence[tuple[Any, Any]], head: Head
) -> tuple[Block, ...]:
    home, order = anatomy.map_operations_to_blocks(), anatomy.blocks
    freed = []
    for name in train:
        layers = [layer for operation, layer in pairs if home[id(operation)] == name and hasattr(layer, "weights")]
        variables = [v for layer in layers for v in layer.trainable_variables]
        if variables:
            freed.append(Block(name=name, variables=variables, distance=len(order) - order.index(name)))
    return (*freed, Block(name=trainable_head.NAME, variables=head.variables, distance=0))


def _require_trainable(network: Network, spec: BackboneSpec, train: Sequence[str]) -> None:
    paths = [v.path for v in network.model.weights]
    if len(set(paths)) < len(paths):
        raise RuntimeError(f"two weights of `{spec.name}` have one path")
    freed = [block for block in network.blocks[:-1] if rate_factor(network.recipe, block.distance) > 0]
    if train and not freed:
        raise NoOpError(
            f"recipe `{recipes.format_recipe(network.recipe)}` trains nothing in {', '.join(train)} of `{spec.name}`",
            where="--recipe",
            hint="write other blocks, or a trunk_rate and a decay above 0",
        )


def require_moved(
    network: Network, first: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], factors: Mapping[str, float]
) -> None:
    """Assert that after a step each block that trains has moved and nothing else has.

    `first` and `after` are `network.get(frozen=True)` around the step; a block whose `factors` are 0 must stand still.

    Raises:
        NoOpError: A block stands still, or a frozen weight moved; both are named.
    """
    statistics = {v.path for v in network.statistics}
    moved = {path for path, value in after.items() if not np.array_equal(value, first[path])} - statistics
    free = {v.path for block in network.blocks for v in block.variables if factors[v.path] > 0}
    still = [
        block.name
        for block in network.blocks
        if (paths := {v.path for v in block.variables} & free) and not paths & moved
    ]
    place = f"recipe {recipes.format_recipe(network.recipe)}"
    if still:
        hint = "raise the rate, trunk_rate or decay"
        raise NoOpError(f"after one step nothing has moved in {', '.join(still)}", where=place, hint=hint)
    if moved - free:
        names = ", ".join(f"`{path}`" for path in sorted(moved - free)[:3])
        raise NoOpError(f"after one step {len(moved - free)} frozen weights have moved: {names}", where=place)
