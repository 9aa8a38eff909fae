"""Which trials are judged on further folds: the best of all, the best on the other backbone, and the second of all.

A probe and a published accuracy err in different ways, so both backbones that they point at are fine-tuned and the
paired rule decides (Renggli et al., CVPR 2022; `headstart.selection.successive_halving`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core import recipe as recipes
from headstart.core.console import Console
from headstart.core.recipe import Recipe
from headstart.finetuning.search.recipe_space import RecipeSpace
from headstart.finetuning.search.recipe_trial import RecipeTrial, rank_trials
from headstart.statistics.paired_selection import CandidateLosses, paired_difference

FINALISTS = 2  # and one more where two backbones are in question


def spares_from_pruning(space: RecipeSpace, trials: Sequence[RecipeTrial]) -> bool:
    """Whether the last trial is the first on the best backbone by probe or by prior: it is not cut short, for a network
    that learns slowly at first is no worse for it."""
    *earlier, last = (trial.recipe.backbone for trial in trials)
    return last not in earlier and any(backbone.name == last for backbone in space.contested_backbones)


def count_first_turns(space: RecipeSpace, trials: Sequence[RecipeTrial], queue: Sequence[tuple[str, Recipe]]) -> int:
    """How many recipes at the head of the queue come before advice: the best backbones by probe and by prior have each
    their first turn before the time goes into bettering one of them."""
    tried = {recipes.format_recipe(trial.recipe) for trial in trials}
    waiting = {b.name for b in space.contested_backbones} - {trial.recipe.backbone for trial in trials}
    untried = [at for at, (_, recipe) in enumerate(queue) if recipes.format_recipe(recipe) not in tried]
    first = {queue[at][1].backbone: at + 1 for at in reversed(untried[: len(space.finalists)])}
    return max((first[name] for name in waiting if name in first), default=0)


def list_possible_finalists(space: RecipeSpace, trials: Sequence[RecipeTrial]) -> list[RecipeTrial]:
    """Those whose weights may be needed again: no other can become a finalist."""
    ranked = rank_trials(trials)
    first = [_best_of_backbone(ranked, backbone.name) for backbone in space.contested_backbones]
    return [*ranked[:FINALISTS], *filter(None, first)]


def choose_finalists(
    space: RecipeSpace, trials: Sequence[RecipeTrial], clusters: np.ndarray, console: Console
) -> list[RecipeTrial]:
    """Those to judge further, in the order in which they are given up for time; `clusters` (N,) are of all rows."""
    ranked = rank_trials(trials)
    best = ranked[:FINALISTS]
    others: list[RecipeTrial] = []
    for backbone in space.contested_backbones:
        trial = _best_of_backbone(ranked, backbone.name)
        if trial is None or trial in best:
            continue
        gap = paired_difference(_make_contender(trial), _make_contender(ranked[0]), clusters)
        loses = f"on the first fold it loses {gap.value:.3f} [{gap.low:.3f}, {gap.high:.3f}]"
        leader = f"trial {ranked[0].number}"
        end = (
            f" to {leader}: it is not judged further"
            if gap.low > 0
            else f", a tie with {leader}: it is judged beside it"
        )
        about = f"trial {trial.number} starts from {backbone.name}, {backbone.why}"
        console.print_line("adapt", f"{about}; {loses}{end}")
        if gap.low <= 0:
            others.append(trial)
    return [*best[:1], *others, *best[1:]]


def _best_of_backbone(ranked: Sequence[RecipeTrial], backbone: str) -> RecipeTrial | None:
    return next((trial for trial in ranked if trial.recipe.backbone == backbone), None)


def _make_contender(trial: RecipeTrial) -> CandidateLosses:
    verdict = trial.require_verdict()
    return CandidateLosses(name=str(trial.number), rows=verdict.rows, losses=verdict.losses, cost=0.0)
