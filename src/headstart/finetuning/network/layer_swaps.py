"""Which layers of a trunk become other ones while a network trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.core.errors import UsageError
from headstart.core.recipe import Recipe
from headstart.core.types import BackboneSpec
from headstart.finetuning.network import batchnorm_folding, lora, residual_blocks, training_layers
from headstart.finetuning.network.clone import Change
from headstart.finetuning.network.trainable_head import seed_of
from headstart.networks.blocks import TrunkBlocks

_DRAW = 8  # of stochastic depth, among the uses of the recipe's seed
_MOMENTUM = 0.9  # of batch norm that learns its statistics: those of the last dozens of steps, not hundreds


def learns_statistics(recipe: Recipe) -> bool:
    """Whether batch norm takes the statistics of the batches; from scratch there are no others."""
    return recipe.trunk.batch_norm == "train" or recipe.strategy == "scratch"


def changes(
    trunk_model: Any,
    spec: BackboneSpec,
    anatomy: TrunkBlocks,
    recipe: Recipe,
    train: Sequence[str],
    folds: Mapping[int, int],
) -> Change:
    """What each operation of the trunk becomes in the network of a recipe.

    The trunk's own dropout is turned off: the recipe says what is dropped. `folds` are the convolutions that take in
    their batch norm.

    Raises:
        UsageError: Stochastic depth is asked for and no block that trains has a residual sum.
    """
    home = anatomy.map_operations_to_blocks()
    sums = _thinned(trunk_model, spec, anatomy, recipe, train)

    def change(one: Any) -> tuple[Any, dict[str, Any]]:
        import keras

        kind: Any = type(one)
        settings: dict[str, Any] = {}
        if isinstance(one, keras.layers.Layer) and all(len(x.shape) > 2 for x in keras.tree.flatten(one.output)):
            settings["dtype"] = recipe.precision
        if isinstance(one, keras.layers.Dropout):
            settings["rate"] = 0.0
        if home[id(one)] not in train:
            return kind, settings
        if isinstance(one, keras.layers.BatchNormalization):
            if learns_statistics(recipe):
                return kind, {**settings, "momentum": _MOMENTUM}
            return training_layers.frozen_norm(), settings
        if id(one) in sums:
            return training_layers.residual_add(), {**settings, **sums[id(one)]}
        kind = lora.stand_in(kind) if recipe.strategy == "lora" else kind
        return batchnorm_folding.stand_in(kind) if id(one) in folds else kind, settings

    return change


def statistics(pairs: Sequence[tuple[Any, Any]]) -> tuple[Any, ...]:
    """Variables of the batch norms that take the statistics of the batches."""
    import keras

    norms = [made for _, made in pairs if isinstance(made, keras.layers.BatchNormalization) and made.trainable]
    learning = [one for one in norms if not isinstance(one, training_layers.frozen_norm())]
    return tuple(v for one in learning for v in (one.moving_mean, one.moving_variance))


def _thinned(
    trunk_model: Any, spec: BackboneSpec, anatomy: TrunkBlocks, recipe: Recipe, train: Sequence[str]
) -> dict[int, dict[str, Any]]:
    """Id of each residual sum that stochastic depth thins out -> the settings of what takes its place."""
    if not recipe.trunk.stochastic_depth:
        return {}
    home, known = anatomy.map_operations_to_blocks(), residual_blocks.branches(trunk_model, anatomy)
    inside = {key: value for key, value in known.items() if home[key] in train}
    if not inside:
        have = [name for name in anatomy.depths if name in {home[key] for key in known}]
        raise UsageError(
            f"stochastic_depth `{recipe.trunk.stochastic_depth:g}` finds no residual sum in the blocks "
            f"{', '.join(train) or 'that train'} of `{spec.name}`",
            where="--recipe",
            hint=f"blocks with residual sums: {', '.join(have) or 'none'}; write stochastic_depth=0",
        )
    return {
        key: {"rate": recipe.trunk.stochastic_depth * depth, "branch": branch, "seed": seed_of(recipe, _DRAW, place)}
        for place, (key, (branch, depth)) in enumerate(inside.items())
    }
