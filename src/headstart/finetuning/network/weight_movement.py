"""Whether a step moves the blocks that train and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headstart.core import recipe as recipes
from headstart.core.errors import NoOpError
from headstart.finetuning.network.trainable_network import Network


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
