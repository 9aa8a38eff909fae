"""What a fit is likely to take, before it is spent: passes of pictures through trunks, and the seconds of the whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.api.fit_protocol import FitProtocol
    from headstart.core.types import TargetDomain
    from headstart.features.extraction_time import Estimate


def estimate_seconds(steps: FitProtocol, names: tuple[str, ...], target: TargetDomain | None) -> float:
    """Seconds of the whole run with these candidates; pictures of a new domain go through the model's trunk alone."""
    from headstart.data.splits import estimate_training_count
    from headstart.features.extraction_time import estimate_pass_seconds
    from headstart.selection.run_time import estimate_run_seconds

    store, job, pictures = steps.ctx.store, steps.ctx.job, steps.pictures
    passes_s = estimate_pass_seconds(foresee_passes(steps, names), store)
    passes_s += estimate_pass_seconds(_foresee_target_passes(steps, names, target), store)
    return estimate_run_seconds(job, estimate_training_count(pictures, job), len(pictures.uris), names, passes_s)


def estimate_passes(steps: FitProtocol, names: tuple[str, ...], target: TargetDomain | None) -> Estimate:
    """Seconds and download of all passes, those of a new domain included, and what that rests on."""
    from headstart.features.extraction_time import estimate_extraction, estimate_pass_seconds, format_passes

    estimate = estimate_extraction(foresee_passes(steps, names), steps.pictures, steps.ctx)
    if target is None:
        return estimate
    passes = _foresee_target_passes(steps, names, target)
    basis = format_passes(passes, len(set(target.pictures.digests)), "pictures of the new domain")
    return replace(
        estimate,
        seconds=estimate.seconds + estimate_pass_seconds(passes, steps.ctx.store),
        assumptions=(*estimate.assumptions, basis),
    )


def _foresee_target_passes(steps: FitProtocol, names: tuple[str, ...], target: TargetDomain | None) -> dict[str, int]:
    return steps.count_missing_rows(target.pictures, [_find_leader(steps, names)]) if target else {}


def foresee_passes(steps: FitProtocol, names: tuple[str, ...]) -> dict[str, int]:
    """How many pictures are likely to go through each candidate: all of them through the best by prior alone."""
    from headstart.selection.ranking import screening as rounds

    pictures, ctx = steps.pictures, steps.ctx
    count = rounds.plan_round(pictures, steps.make_options(names), None, ctx=ctx)
    if not count:
        return steps.count_missing_rows(pictures, names)
    passes = steps.count_missing_rows(pictures, names, rounds.draw_rounds(pictures, ctx=ctx)[count])
    return passes | steps.count_missing_rows(pictures, [_find_leader(steps, names)])


def _find_leader(steps: FitProtocol, names: Iterable[str]) -> str:
    """The best by prior alone."""
    from headstart.selection.successive_halving import best_by_prior

    return best_by_prior(steps.make_options(names))
