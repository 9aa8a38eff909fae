"""The recipes of a run: what they share, where they start, and how a proposal becomes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.core import recipe as recipes
from headstart.core.recipe import Recipe
from headstart.core.types import BackboneSpec
from headstart.finetuning.search import recipe_proposals
from headstart.finetuning.starting_points import StartingPoint
from headstart.networks import hardware
from headstart.selection.successive_halving import BY_PRIOR, BY_PROBE, Finalist

_SHAPE = ("backbone", "depths", "strategy", "part", "blocks", "head", "hidden", "start", "lora_rank", "batch_norm")


@dataclass(kw_only=True, eq=False)
class RecipeSpace:
    """What recipes share and where networks start, the best first."""

    starting_points: Sequence[StartingPoint]
    specs: Mapping[str, BackboneSpec]  # of the backbones, by name
    is_given: bool  # by the user: then no clock has a say
    metric: str
    seed: int
    finalists: Sequence[Finalist] = ()  # the backbones, each with the reason why it is worth a start
    domain: str = "photo"

    @property
    def backbones(self) -> tuple[str, ...]:
        """Backbones that networks start from."""
        return tuple(dict.fromkeys(point.backbone for point in self.starting_points))

    @property
    def contested_backbones(self) -> list[Finalist]:
        """The best backbones by probe and by prior; others are there so that something is tried soon."""
        return [backbone for backbone in self.finalists if BY_PROBE in backbone.why or BY_PRIOR in backbone.why]

    def find_starting_point(self, recipe: Recipe) -> StartingPoint:
        """Where the network of a recipe starts."""
        return next(p for p in self.starting_points if (p.backbone, p.depths) == (recipe.backbone, recipe.depths))

    def count_blocks(self, point: StartingPoint) -> int:
        """How many blocks of the trunk lie below the deepest level that is read."""
        names = [depth.name for depth in self.specs[point.backbone].depths]
        return max(names.index(depth) for depth in point.depths) + 1

    @property
    def shared_fields(self) -> dict[str, Any]:
        """The fields that all recipes of a search share."""
        precision = hardware.choose_training_precision()
        return {"seed": self.seed, "monitor": self.metric, "domain": self.domain, "precision": precision}

    def complete_proposal(self, values: Mapping[str, Any]) -> Recipe:
        """A proposal of the search as a recipe, blocks at most what the backbone has."""
        point = next(p for p in self.starting_points if p.backbone == values["backbone"])
        most = self.count_blocks(point)
        part = "all" if values["blocks"] >= most or values["strategy"] == "norms" else "last"
        rounded = {name: float(f"{v:.3g}") if isinstance(v, float) else v for name, v in values.items()}
        fields = {**rounded, "part": part, "blocks": min(int(values["blocks"]), most)}
        recipe = recipes.make_recipe({**self.shared_fields, **point.recipe_fields, **fields})
        if recipe.strategy == "scratch":
            return recipe_proposals.make_scratch_recipe(recipe).with_fields(rate=recipe.rate)
        return recipe


def train_same_weights(recipe: Recipe, other: Recipe) -> bool:
    """Whether two recipes train the same weights, so that these may be averaged."""
    first, second = map(recipes.field_values, (recipe, other))
    return all(first[name] == second[name] for name in _SHAPE)
