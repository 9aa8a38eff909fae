"""Surgical fine-tuning: which blocks want to move most, told by their gradients (Lee et al., ICLR 2023).

The gradient of each block relative to its weights, on some of the training pictures and at the start that the probe
gives, says whether the shift lies in the picture's look (first blocks), its parts (middle) or its meaning (last).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from headstart.core import recipe as recipes
from headstart.core.recipe import Recipe
from headstart.finetuning import starting_points
from headstart.finetuning.network import trainable_network, weight_movement
from headstart.images import decoded_cache
from headstart.statistics.sampling import spread

if TYPE_CHECKING:
    from headstart.finetuning.search.training_setup import Workbench

PICTURES = 64


def decided(bench: Workbench, recipe: Recipe, positions: np.ndarray) -> tuple[Recipe, str]:
    """The recipe with `surgical` replaced by the part whose block has the largest relative gradient.

    Args:
        bench: Pictures, features and trunks.
        recipe: With the part `surgical`.
        positions: (M,) int64 pictures that may be looked at.

    Returns:
        The recipe, and a sentence with the numbers: decided once, with the pictures of the first fold that asks, so
        that all folds and the final training train the same blocks.
    """
    why = "which blocks surgical fine-tuning trains"
    found = bench.decide(f"surgical/{recipes.shown(recipe)}", lambda: _asked(bench, recipe, positions), why)
    return dataclasses.replace(recipe, part=found["part"]), found["why"]


def _asked(bench: Workbench, recipe: Recipe, positions: np.ndarray) -> dict[str, str]:
    found, model = bench.trunk(recipe.backbone)
    whole = dataclasses.replace(recipe, part="all", strategy="finetune", augment=0.0)
    few = positions[spread(len(positions), PICTURES)]
    start = starting_points.fitted(
        bench.base(recipe), bench.embeddings, bench.rows[positions], bench.y[positions], bench.on
    )
    made = trainable_network.build(model, found.spec, whole, start=start, n_classes=bench.on.n_classes)
    raw = decoded_cache.load(
        bench.data, bench.rows[few], found.spec.input, store=bench.ctx.store, console=bench.ctx.console
    )
    inputs = {"pictures": raw.astype(np.float32)}
    norms = weight_movement.gradient_norms(made, inputs, np.eye(bench.on.n_classes, dtype=np.float32)[bench.y[few]])
    names = list(norms)
    largest = names.index(max(names, key=lambda name: norms[name]))
    part = "first" if largest == 0 else "last" if largest == len(names) - 1 else "middle"
    told = ", ".join(f"{name} {value:.2g}" for name, value in norms.items())
    return {"part": part, "why": f"surgical: {part} blocks, by relative gradients {told}"}
