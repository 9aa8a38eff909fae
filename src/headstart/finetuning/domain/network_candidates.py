"""Trunks that are adapted to the target, one after the other as the budget allows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

from headstart.core.console import format_duration
from headstart.core.errors import NoOpError, SetupError
from headstart.core.run.context import Context
from headstart.core.run.time_plan import plan_time
from headstart.core.types import Dataset, Embeddings, FitResult, Splits
from headstart.core.types.domain import ADABN_METHODS, NETWORK_METHODS, TRAINED_METHODS, NetworkCandidate, TargetDomain
from headstart.features.extraction_time import estimate_backbone_seconds
from headstart.finetuning.domain import adabn, adaptive_training
from headstart.networks.framework_state import isolate_keras

__all__ = ["make_network_candidates"]
# Seconds beside all passes, EfficientNet-Lite0 on 2 cores: statistics with the framework loaded and two graphs traced,
# and a trunk written, converted and its head laid on. Statistics take a slower engine: so many passes of OpenVINO.
_MEASURING_S, _MAKING_S, _STATISTICS_PASSES = 18.0, 12.0, 3.0


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
    Batch norms of a trained trunk are left alone: it has learnt all that could judge them.
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
    wanted = [method for method in ADABN_METHODS if {"auto", method} & set(ctx.job.adaptation)]
    if not wanted:
        return
    if adapted.strategy != "probe":
        _leave_out(
            wanted, "the network has learnt all labelled pictures, so that none could judge other batch norms", ctx
        )
        return
    try:
        trunk = adabn.find_trunk(adapted, ctx)
    except NoOpError as err:
        _leave_out(wanted, err.what, ctx)
        return
    measure = functools.cache(lambda: adabn.measure_trunk(data, splits, target, adapted, ctx=ctx))
    counts, levels = (len(splits.train), len(target.pictures.uris)), adabn.choose_levels(adapted.features, trunk)
    for method in wanted:
        if method not in levels:
            if method in ctx.job.adaptation:
                _leave_out([method], "the head reads the trunk's first level alone", ctx)
            continue
        seconds = _MAKING_S + estimate_backbone_seconds(trunk.spec, sum(counts), ctx.store)
        if not measure.cache_info().currsize:
            drawn = sum(min(count, adabn.MOST) for count in counts)
            seconds += _MEASURING_S + _STATISTICS_PASSES * estimate_backbone_seconds(trunk.spec, drawn, ctx.store)

        def make(method: str = method) -> NetworkCandidate:
            values = (data, splits, embeddings, target, adapted)
            return adabn.make_adabn_candidate(method, levels[method], *values, measure, ctx=ctx)

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
        _leave_out(named, err.what, ctx)
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
    """One candidate, or none with a line that says why."""
    if not _has_room(method, seconds, ctx):
        _leave_out([method], f"it takes about {format_duration(seconds)}, and the budget has no room for it", ctx)
        return []
    try:
        candidate = make()
    except (NoOpError, SetupError) as err:
        _leave_out([method], err.what, ctx)
        return []
    took = format_duration(candidate.seconds)
    ctx.console.print_line(
        "adapt", f"{candidate.network.spec.name}: adapted to {len(candidate.target_x):,} pictures, {took}"
    )
    return [candidate]


def _leave_out(methods: Sequence[str], why: str, ctx: Context) -> None:
    """Say which ways to adapt are missing, with a warning where the job names one."""
    what = f"{', '.join(methods)}: left out: {why}"
    if set(methods) & set(ctx.job.adaptation):
        ctx.console.print_warning(what)
    else:
        ctx.console.print_line("adapt", what)


def _has_room(method: str, seconds: float, ctx: Context) -> bool:
    """Decided once a run; where the recipe is given no clock has a say."""
    if ctx.job.recipe:
        return True
    plan = plan_time(ctx.job)

    def decide() -> bool:
        return plan.has_room_for_adaptation(seconds, ctx.left_s())

    why = f"whether there is time to adapt the trunk by {method}"
    return bool(ctx.record_decision(f"domains/{method}", decide, why))
