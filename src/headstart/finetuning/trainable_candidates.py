"""Which candidates can be fine-tuned, and by a recipe: told by their names and feature levels alone."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.backbones import loading
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core import recipe as recipes
from headstart.core.job import Job
from headstart.core.run.context import Context


def list_trainable(job: Job, candidates: Sequence[str]) -> list[str]:
    """Candidates that the recipe can be trained on, in their order; without one, all that can be trained at all."""
    recipe = recipes.parse_fields(job.recipe)
    named = [
        loading.find_backbone(name)
        for name in candidates
        if recipes.is_backbone_named(str(recipe.get("backbone", "")), name)
    ]
    levels = tuple(recipe.get("depths", ()))
    return [backbone.name for backbone in named if not backbone.frozen_reason and has_levels(backbone, levels)]


def add_trainable(survivors: tuple[str, ...], candidates: Sequence[str], *, ctx: Context) -> tuple[str, ...]:
    """The survivors, and where none can be trained (as the recipe says) or all are dear, the cheapest that can be."""
    if ctx.job.strategy == "probe":
        return survivors
    trainable = list_trainable(ctx.job, candidates)
    if not trainable:
        return survivors
    if set(trainable) & set(survivors) if ctx.job.recipe else trainable[0] in survivors:
        return survivors
    why = "the recipe asks for it" if ctx.job.recipe else "the cheapest to fine-tune"
    ctx.console.print_line("screen", f"{trainable[0]} goes on too: {why}")
    return (*survivors, trainable[0])


def has_levels(backbone: ResolvedBackbone, levels: Sequence[str]) -> bool:
    """Whether a backbone has all these feature levels."""
    return set(levels) <= {level.name for level in backbone.spec.depths}
