"""Which trials are judged on further folds: the best of all, the best on the other backbone, and the second of all.

A probe and a published accuracy err in different ways, so both backbones that they point at are fine-tuned and the
paired rule decides (Renggli et al., CVPR 2022; `headstart.selection.successive_halving`). What the first fold's
paired interval has decided already is not judged again: time for folds is short.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.core import recipe as recipes
from headstart.selection.successive_halving import BY_PRIOR, BY_PROBE, Finalist
from headstart.statistics.intervals import Interval
from headstart.statistics.paired_selection import CandidateLosses, paired_difference

if TYPE_CHECKING:
    from headstart.core.recipe import Recipe
    from headstart.finetuning.search.recipe_search import RecipeTrial
    from headstart.finetuning.search.training_setup import Workbench

FINALISTS = 2  # and one more where two backbones are in question


def best(attempts: Sequence[RecipeTrial]) -> list[RecipeTrial]:
    """Those that ended, the best first."""
    return sorted((a for a in attempts if a.judged and not a.pruned), key=lambda a: (a.loss, a.number))


def spared(bench: Workbench, attempts: Sequence[RecipeTrial]) -> bool:
    """Whether the last trial is the first on the best backbone by probe or by prior: it is not cut short, for a network
    that learns slowly at first is no worse for it."""
    *before, last = (a.recipe.backbone for a in attempts)
    return last not in before and any(one.name == last for one in _in_question(bench))


def turns(bench: Workbench, attempts: Sequence[RecipeTrial], queue: Sequence[tuple[str, Recipe]]) -> int:
    """How many recipes at the head of the queue come before advice: the best backbones by probe and by prior have each
    their first turn before the time goes into bettering one of them."""
    tried = {recipes.shown(a.recipe) for a in attempts}
    waiting = {one.name for one in _in_question(bench)} - {a.recipe.backbone for a in attempts}
    head = [at for at, (_, recipe) in enumerate(queue) if recipes.shown(recipe) not in tried][: len(bench.starts)]
    first = {queue[at][1].backbone: at + 1 for at in reversed(head)}
    return max((first[name] for name in waiting if name in first), default=0)


def kept(bench: Workbench, attempts: Sequence[RecipeTrial]) -> list[RecipeTrial]:
    """Those whose weights may be needed again: no other can become a finalist."""
    order = best(attempts)
    first = [next((a for a in order if a.recipe.backbone == one.name), None) for one in _in_question(bench)]
    return [*order[:FINALISTS], *filter(None, first)]


def chosen(bench: Workbench, attempts: Sequence[RecipeTrial]) -> list[RecipeTrial]:
    """Those to judge further, in the order in which they are given up where there is no time for all.

    Args:
        bench: Tells the best backbone by probe and by prior.
        attempts: All trials.
    """
    order = best(attempts)
    found = order[:FINALISTS]
    others: list[RecipeTrial] = []
    for one in _in_question(bench):
        other = next((a for a in order if a.recipe.backbone == one.name), None)
        if other is None or other in found:
            continue
        apart = _apart(other, order[0], bench)
        told = f"trial {other.number} starts from {one.name}, {one.why}; on the first fold it loses {_shown(apart)}"
        if apart.low > 0:
            bench.ctx.console.print_line("adapt", f"{told} to trial {order[0].number}: it is not judged further")
        else:
            bench.ctx.console.print_line("adapt", f"{told}, a tie with trial {order[0].number}: it is judged beside it")
            others.append(other)
    return [*found[:1], *others, *found[1:]]


def _in_question(bench: Workbench) -> list[Finalist]:
    """The best backbones by probe and by prior; others are there so that something is tried soon."""
    return [one for one in bench.starts if BY_PROBE in one.why or BY_PRIOR in one.why]


def _apart(one: RecipeTrial, other: RecipeTrial, bench: Workbench) -> Interval:
    return paired_difference(_contender(one), _contender(other), bench.on.clusters)


def _contender(attempt: RecipeTrial) -> CandidateLosses:
    assert attempt.judged is not None
    found = attempt.judged
    return CandidateLosses(name=str(attempt.number), rows=found.rows, losses=found.losses, cost=0.0)


def _shown(apart: Interval) -> str:
    return f"{apart.value:.3f} [{apart.low:.3f}, {apart.high:.3f}]"
