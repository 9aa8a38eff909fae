"""An epoch's scores and a recipe's fields under the names that TensorBoard and MLflow show."""

from __future__ import annotations

import math

from headstart.core import recipe as recipes
from headstart.core.recipe import Recipe
from headstart.core.types import EpochRow

CLASS_SCORES = {"class_precision": "precision", "class_recall": "recall"}


def epoch_numbers(row: EpochRow, class_names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """All that is known of an epoch: `train` and `val` -> name -> number; what could not be computed is left out."""
    numbers: dict[str, dict[str, float]] = {}
    for side, scores in (("train", row.train), ("val", row.val)):
        if scores is None:
            continue
        values = scores.values()
        for field, name in CLASS_SCORES.items():
            values |= {f"{name}/{of}": v for of, v in zip(class_names, getattr(scores, field, ()), strict=True)}
        numbers[side] = values
    numbers["train"] |= {"loss": row.loss, "rate": row.rate}
    return {side: {name: v for name, v in values.items() if math.isfinite(v)} for side, values in numbers.items()}


def recipe_fields(recipe: Recipe) -> dict[str, str]:
    """The fields of a recipe as text."""
    values = recipes.field_values(recipe)
    return {name: "+".join(v) if isinstance(v, tuple) else str(v) for name, v in values.items()}
