"""Which layers of a trunk become other ones while a network trains; classes of Keras are made on first use."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.core.errors import UsageError
from headstart.core.recipe import Recipe
from headstart.core.types import BackboneSpec
from headstart.finetuning.network import batchnorm_folding, lora
from headstart.finetuning.network.clone import Change
from headstart.finetuning.network.trainable_head import derive_seed
from headstart.networks.blocks import TrunkBlocks, iterate_ancestors, map_producers

_DRAW = 8  # of stochastic depth, among the uses of the recipe's seed
_MOMENTUM = 0.9  # of batch norm that learns its statistics: those of the last dozens of steps, not hundreds


def learns_statistics(recipe: Recipe) -> bool:
    """Whether batch norm takes the statistics of the batches; from scratch there are no others."""
    return recipe.trunk.batch_norm == "train" or recipe.strategy == "scratch"


@functools.cache
def frozen_norm() -> Any:
    """Class of a batch norm in inference mode whose gamma and beta train.

    Keras ties the mode to `trainable`: a batch norm that may learn also takes the batch's own statistics, which are
    poor in small batches and differ from the ones that the pre-trained kernels behind it expect.
    """
    import keras

    class FrozenNorm(keras.layers.BatchNormalization):  # type: ignore[misc]
        folded = False  # into the convolution before it (`headstart.finetuning.network.batchnorm_folding`)

        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            return inputs if self.folded else super().call(inputs, training=False, mask=mask)

    return FrozenNorm


@functools.cache
def residual_add() -> Any:
    """Class of a residual sum that leaves the branch out, picture by picture, while it trains.

    Stochastic depth (Huang et al., ECCV 2016): the branch is dropped with probability `rate`, and divided by `1 - rate`
    where it is kept, so that inference stays as it is. Takes a list of two tensors or two tensors.
    """
    import keras

    class ResidualAdd(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, rate: float, branch: int, seed: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.rate, self.branch = rate, branch
            self.seed_generator = keras.random.SeedGenerator(seed)

        def call(self, inputs: Any, second: Any = None, training: bool = False) -> Any:
            parts = list(inputs) if second is None else [inputs, second]
            if training:
                x = parts[self.branch]
                shape = (keras.ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
                drawn = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
                parts[self.branch] = x * keras.ops.cast(drawn >= self.rate, x.dtype) / (1 - self.rate)
            return parts[0] + parts[1]

    return ResidualAdd


def plan_layer_swaps(
    trunk_model: Any,
    spec: BackboneSpec,
    anatomy: TrunkBlocks,
    recipe: Recipe,
    train: Sequence[str],
    folds: Mapping[int, int],
) -> Change:
    """What each operation of the trunk becomes in the network of a recipe.

    The trunk's own dropout is turned off: the recipe says what is dropped.

    Raises:
        UsageError: Stochastic depth is asked for and no block that trains has a residual sum.
    """
    home = anatomy.map_operations_to_blocks()
    sums = _plan_stochastic_depth(trunk_model, spec, anatomy, recipe, train)

    def change(operation: Any) -> tuple[Any, dict[str, Any]]:
        import keras

        kind: Any = type(operation)
        settings: dict[str, Any] = {}
        gives_maps = all(len(x.shape) > 2 for x in keras.tree.flatten(operation.output))
        if isinstance(operation, keras.layers.Layer) and gives_maps:
            settings["dtype"] = recipe.precision
        if isinstance(operation, keras.layers.Dropout):
            settings["rate"] = 0.0
        if home[id(operation)] not in train:
            return kind, settings
        if isinstance(operation, keras.layers.BatchNormalization):
            if learns_statistics(recipe):
                return kind, {**settings, "momentum": _MOMENTUM}
            return frozen_norm(), settings
        if id(operation) in sums:
            return residual_add(), {**settings, **sums[id(operation)]}
        kind = lora.low_rank_class(kind) if recipe.strategy == "lora" else kind
        return batchnorm_folding.folding_class(kind) if id(operation) in folds else kind, settings

    return change


def list_learnt_statistics(pairs: Sequence[tuple[Any, Any]]) -> tuple[Any, ...]:
    """Variables of the batch norms that take the statistics of the batches."""
    import keras

    norms = [copy for _, copy in pairs if isinstance(copy, keras.layers.BatchNormalization) and copy.trainable]
    learning = [norm for norm in norms if not isinstance(norm, frozen_norm())]
    return tuple(v for norm in learning for v in (norm.moving_mean, norm.moving_variance))


def _plan_stochastic_depth(
    trunk_model: Any, spec: BackboneSpec, anatomy: TrunkBlocks, recipe: Recipe, train: Sequence[str]
) -> dict[int, dict[str, Any]]:
    """Id of each residual sum that stochastic depth thins out -> the settings of what takes its place."""
    if not recipe.trunk.stochastic_depth:
        return {}
    home, sums = anatomy.map_operations_to_blocks(), _find_residual_branches(trunk_model, anatomy)
    inside = {key: value for key, value in sums.items() if home[key] in train}
    if not inside:
        have = [name for name in anatomy.depths if name in {home[key] for key in sums}]
        raise UsageError(
            f"stochastic_depth `{recipe.trunk.stochastic_depth:g}` finds no residual sum in the blocks "
            f"{', '.join(train) or 'that train'} of `{spec.name}`",
            where="--recipe",
            hint=f"blocks with residual sums: {', '.join(have) or 'none'}; write stochastic_depth=0",
        )
    rate = recipe.trunk.stochastic_depth
    return {
        key: {"rate": rate * depth, "branch": branch, "seed": derive_seed(recipe, _DRAW, place)}
        for place, (key, (branch, depth)) in enumerate(inside.items())
    }


def _find_residual_branches(trunk_model: Any, anatomy: TrunkBlocks) -> dict[int, tuple[int, float]]:
    """Id of each residual sum -> position of the branch among its inputs, and depth l / L, up to 1.

    A sum of two tensors is residual when the branch was computed from the other, the shortcut; sums behind a projected
    shortcut, which cannot be left out, are none.
    """
    producers = map_producers(trunk_model)
    sums = [
        operation
        for depth in anatomy.depths
        for operation in anatomy.segments[depth]
        if type(operation).__name__ == "Add"
        and isinstance(operation.input, list)
        and len(operation.input) == 2  # a layer, or x + y
    ]
    candidates = [(operation, _find_branch(operation, producers)) for operation in sums]
    residual = [(operation, branch) for operation, branch in candidates if branch is not None]
    return {id(operation): (branch, (l + 1) / len(residual)) for l, (operation, branch) in enumerate(residual)}


def _find_branch(operation: Any, producers: dict[int, Any]) -> int | None:
    ends = [producers[id(tensor)] for tensor in operation.input]
    for branch, shortcut in ((1, 0), (0, 1)):
        earlier = {id(op) for op in iterate_ancestors(operation.input[branch], producers, set())}
        if id(ends[shortcut]) in earlier and ends[0] is not ends[1]:
            return branch
    return None
