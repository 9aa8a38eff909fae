"""Trunks that are adapted to the target, one after the other as the budget allows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

from headstart.core.console import format_duration
from headstart.core.errors import NoOpError, SetupError
from headstart.core.run.context import Context
from headstart.core.run.time_plan import plan_time
from headstart.core.types import Dataset, Embeddings, FitResult, Splits
from headstart.core.types.domain import NETWORK_METHODS, TRAINED_METHODS, NetworkCandidate, TargetDomain
from headstart.features.extraction_time import estimate_backbone_seconds
from headstart.finetuning.domain import adabn, adaptive_training
from headstart.networks.framework_state import isolate_keras

__all__ = ["make_network_candidates"]
_PASSES, _MAKING_S = 1.5, 15.0  # over the pictures of both domains with the statistics of some; of making a trunk


@isolate_keras()
def make_network_candidates(
    data: Dataset,
    splits: Splits,
    embeddings: Sequence[Embeddings],
    target: TargetDomain,
    target_embeddings: Sequence[Embeddings],
    adapted: FitResult,
    *,
    ctx: Context,
) -> tuple[NetworkCandidate, ...]:
    """Adapted trunks: by their batch norms, and where the strategy trains one, by the named trainings on both domains.

    Trainings lose more than they gain on the pairs of `benchmarks/domains.py --networks`, so that none is tried unless
    it is named. For a probe all must be named: a second trunk costs more than all that is done on features.
    Whether there is time for each is decided once a run. What cannot be done is told with the reason and left out.

    Raises:
        DataError: A picture changed since it was read.
    """
    if ctx.job.strategy == "probe" and not set(NETWORK_METHODS) & set(ctx.job.adaptation):
        return ()
    candidates = [
        *_adapt_batch_norms(data, splits, embeddings, target, adapted, ctx),
        *_train_on_both(data, splits, embeddings, target, adapted, ctx),
    ]
    return tuple(candidates)


def _adapt_batch_norms(
    data: Dataset,
    splits: Splits,
    embeddings: Sequence[Embeddings],
    target: TargetDomain,
    adapted: FitResult,
    ctx: Context,
) -> Iterator[NetworkCandidate]:
    try:
        trunk = adabn.find_trunk(adapted, ctx)
    except NoOpError as err:
        ctx.console.print_line("adapt", f"no batch norms are adapted to the target: {err.what}")
        return
    count = len(splits.train) + len(target.pictures.uris)
    seconds = _MAKING_S + _PASSES * estimate_backbone_seconds(trunk.spec, count, ctx.store)
    measure = functools.cache(lambda: adabn.measure_trunk(data, splits, target, adapted, ctx=ctx))
    for method, last in adabn.choose_levels(adapted.features, trunk).items():

        def make(method: str = method, last: str = last) -> NetworkCandidate:
            values = (data, splits, embeddings, target, adapted)
            return adabn.make_adabn_candidate(method, last, *values, measure, ctx=ctx)

        yield from _try_candidate(method, seconds, make, ctx)


def _train_on_both(
    data: Dataset,
    splits: Splits,
    embeddings: Sequence[Embeddings],
    target: TargetDomain,
    adapted: FitResult,
    ctx: Context,
) -> Iterator[NetworkCandidate]:
    named = [method for method in TRAINED_METHODS if method in ctx.job.adaptation]
    if ctx.job.strategy == "probe" or not named:
        return
    try:
        setup = adaptive_training.make_adaptation_setup(data, splits, embeddings, adapted, ctx=ctx)
    except NoOpError as err:
        ctx.console.print_line("adapt", f"no network is trained on both domains: {err.what}")
        return
    recipe = adaptive_training.find_recipe(adapted)
    for method in named:
        seconds = _MAKING_S + adaptive_training.estimate_training_seconds(
            setup, recipe, len(target.pictures.uris), method
        )

        def make(method: str = method) -> NetworkCandidate:
            return adaptive_training.make_trained_candidate(method, setup, recipe, target, ctx=ctx)

        yield from _try_candidate(method, seconds, make, ctx)


def _try_candidate(
    method: str, seconds: float, make: Callable[[], NetworkCandidate], ctx: Context
) -> list[NetworkCandidate]:
    """One candidate, or none with a line that says why; none where the job names methods and not this one."""
    if not {"auto", method} & set(ctx.job.adaptation):
        return []
    if not _has_room(method, seconds, ctx):
        about = f"it takes about {format_duration(seconds)}, and the budget has no room for it"
        ctx.console.print_line("adapt", f"{method}: left out: {about}")
        return []
    try:
        candidate = make()
    except (NoOpError, SetupError) as err:
        ctx.console.print_line("adapt", f"{method}: left out: {err.what}")
        return []
    took = format_duration(candidate.seconds)
    ctx.console.print_line(
        "adapt", f"{candidate.network.spec.name}: adapted to {len(candidate.target_x):,} pictures, {took}"
    )
    return [candidate]


def _has_room(method: str, seconds: float, ctx: Context) -> bool:
    """Decided once a run; where the recipe is given no clock has a say."""
    if ctx.job.recipe:
        return True
    plan = plan_time(ctx.job)

    def decide() -> bool:
        return bool(plan.adaptation_s(ctx.left_s()) > seconds)

    why = f"whether there is time to adapt the trunk by {method}"
    return bool(ctx.record_decision(f"domains/{method}", decide, why))
