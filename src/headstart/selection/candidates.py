"""Which backbones are measured, and what that will take.

`auto` looks at the bundled backbones, at those of other sources whose weights are on this machine, none of the user's
own, and at the recommended ones within reach. Of those whose pass of all pictures fits the budget it takes the ones
whose chance to win is worth a look; named backbones are taken as they are. What breaks a limit of the job is left out
by `auto`, and an error where it was named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from headstart.core import recipe as recipes
from headstart.core.console import format_bytes
from headstart.core.errors import DataError, HeadstartError, SetupError, UsageError
from headstart.core.run.time_plan import plan_time
from headstart.features.extraction_time import count_missing_rows, estimate_pass_seconds
from headstart.selection import limits

if TYPE_CHECKING:
    from headstart.backbones.resolved_backbone import ResolvedBackbone
    from headstart.core.console import Console
    from headstart.core.job import Job
    from headstart.core.run.context import Context
    from headstart.core.types import Dataset
    from headstart.selection.successive_halving import Field

_SHOWN = 3  # backbones that are left out, in messages


def require_within_limits(backbone: ResolvedBackbone, job: Job, latency_ms: Mapping[str, float]) -> None:
    """Refuse a named backbone that breaks a limit of the job, by a `UsageError` with the limit."""
    why = limits.format_broken_limits((backbone.spec,), job, latency_ms)
    if why:
        hint = "leave it out of --backbones, or change the limit"
        raise UsageError(f"`{backbone.name}` was named and breaks a limit: {why}", where="--backbones", hint=hint)


def list_candidates(ctx: Context, data: Dataset | None = None) -> tuple[str, ...]:
    """Canonical names of the candidates, cheapest first, each once; none that is known to break a limit.

    With `data` those are left out, aloud, whose pass has no room in the budget or that are not worth a look.

    Raises:
        UsageError: A name is unknown, the nearest are named; or nothing obeys the limits.
    """
    if data is not None and "auto" in ctx.job.backbones:
        field = choose_field(data, ctx=ctx)
        _print_left_out(field.left_out, ctx.console)
        return field.names
    backbones = _find_allowed(ctx, bounded=False)
    return tuple(sorted(backbones, key=lambda name: (backbones[name].spec.flops, name)))


def _find_allowed(ctx: Context, *, bounded: bool) -> dict[str, ResolvedBackbone]:
    """The backbones that were named, and those of `auto` that obey the limits; `bounded` by the time to fetch them."""
    from headstart.backbones import loading

    asked_for = [loading.find_backbone(name) for name in ctx.job.backbones if name != "auto"]
    for backbone in asked_for:
        require_within_limits(backbone, ctx.job, _find_latencies_ms([backbone], ctx))
    backbones = {backbone.name: backbone for backbone in asked_for}
    if "auto" in ctx.job.backbones:
        excluded = find_excluded(ctx)
        allowed = [backbone for backbone in list_available(ctx) if backbone.name not in excluded]
        allowed += _list_within_reach(ctx, bounded=bounded)
        backbones |= {backbone.name: backbone for backbone in allowed}
    if not backbones:
        raise _no_backbone_left(find_excluded(ctx))
    return backbones


def find_excluded(ctx: Context) -> dict[str, str]:
    """Backbones that `auto` would measure but for a limit, and how they break it."""
    if "auto" not in ctx.job.backbones or not limits.has_limits(ctx.job):
        return {}
    backbones = list_available(ctx)
    latencies_ms = _find_latencies_ms(backbones, ctx)
    problems = {
        backbone.name: limits.format_broken_limits((backbone.spec,), ctx.job, latencies_ms) for backbone in backbones
    }
    return {name: why for name, why in problems.items() if why}


def choose_field(data: Dataset, *, ctx: Context) -> Field:
    """Those worth a look, what was named or training needs among them, in which the clock has no say; and the others.

    Raises what `list_candidates` raises.
    """
    from headstart.backbones import loading
    from headstart.selection import reach, successive_halving
    from headstart.selection.published_accuracy import make_option
    from headstart.selection.ranking.screening import list_round_sizes

    backbones = _find_allowed(ctx, bounded=True)
    named = {loading.find_backbone(name).name for name in ctx.job.backbones if name != "auto"}
    required = named | _find_training_backbones(backbones.values(), ctx.job)
    room_s, passes = plan_time(ctx.job).pass_s(ctx.left_s()), count_missing_rows(data, backbones, ctx.store)
    fitting = {name for name in passes if estimate_pass_seconds({name: passes[name]}, ctx.store) <= room_s} | required
    cheapest = min(backbones.values(), key=lambda backbone: (backbone.spec.flops, backbone.name)).name
    options = [make_option(backbones[name].spec) for name in fitting or {cheapest}]
    here = [option for option in options if not reach.is_away(backbones[option.name], ctx.store)]
    required |= {successive_halving.best_by_prior(here)} if here else set()  # what is to be fetched may not come
    sizes = list_round_sizes(data, ctx=ctx)
    field = successive_halving.choose_field(options, len(data.uris), sizes, required=required, free=named)
    too_long = sorted(set(backbones) - {option.name for option in options})
    why = dict.fromkeys(too_long, "its pass does not fit the budget")
    return successive_halving.Field(names=field.names, left_out=why | dict(field.left_out))


def _find_training_backbones(backbones: Iterable[ResolvedBackbone], job: Job) -> set[str]:
    """Those that a recipe names; else the cheapest to train, with the feature levels of the recipe."""
    recipe = recipes.parse_fields(job.recipe)
    name, levels = str(recipe.get("backbone", "")), set(recipe.get("depths", ()))
    if name:
        return {backbone.name for backbone in backbones if recipes.is_backbone_named(name, backbone.name)}
    able = [b for b in backbones if not b.frozen_reason and levels <= {level.name for level in b.spec.depths}]
    if job.strategy == "probe" or not able:
        return set()
    return {min(able, key=lambda backbone: (backbone.spec.flops, backbone.name)).name}


def _print_left_out(left_out: Mapping[str, str], console: Console) -> None:
    """Each with its reason, as far as a few lines go."""
    for name, why in list(left_out.items())[:_SHOWN]:
        console.print_line("plan", f"{name} is left out: {why}")
    if len(left_out) > _SHOWN:
        console.print_line("plan", f"{len(left_out) - _SHOWN} more backbones are left out for their cost")


def list_available(ctx: Context) -> list[ResolvedBackbone]:
    """The bundled backbones, and of other sources those whose weights are on this machine.

    The user's own must be asked for by name: they may have learnt from these very pictures.
    """
    from headstart.backbones import loading
    from headstart.backbones.recommended import list_recommendations

    every = map(loading.find_backbone, loading.list_backbones())
    public = list_recommendations()
    backbones = [backbone for backbone in every if backbone.name in public or not backbone.source.is_users_own]
    return [
        backbone
        for backbone in backbones
        if backbone.name.startswith("bundled:") or backbone.source.available(backbone.preset, ctx.store)
    ]


def _list_within_reach(ctx: Context, *, bounded: bool) -> list[ResolvedBackbone]:
    """The recommended backbones that are not here and may be fetched; with a bound one line tells of the others."""
    if not ctx.reaches_out:
        return []
    from headstart.selection import reach

    rows = reach.find_reach(ctx, bounded=bounded)
    if bounded:
        reach.print_out_of_reach(rows, ctx.console)
    return [row.backbone for row in rows if not row.why_not]


def _find_latencies_ms(backbones: Sequence[ResolvedBackbone], ctx: Context) -> dict[str, float]:
    """Latencies that were measured before, in this run or earlier; looked up only where a limit asks for them."""
    from headstart.backbones import latency

    if not ctx.job.max_latency:
        return {}
    measured = ctx.run.find_decision(limits.LATENCIES) or {}
    return {
        backbone.name: measured.get(backbone.name, latency.read_latency_ms(backbone.spec, ctx.store))
        for backbone in backbones
    }


def _no_backbone_left(excluded: Mapping[str, str]) -> UsageError:
    reasons = "; ".join(f"{name}: {why}" for name, why in list(excluded.items())[:_SHOWN])
    return UsageError(f"no backbone obeys the limits: {reasons}", hint="raise the limit, or name backbones that fit")


def choose_candidates(data: Dataset, *, ctx: Context) -> tuple[str, ...]:
    """The candidates, their weights at hand; of `auto`'s those that the budget has room for and are worth a look.

    Raises:
        UsageError: A name is unknown, a named backbone breaks a limit, or all do.
        SetupError: The weights of a named backbone, or those of all, cannot be had.
        DataError: One of the user's own is another than when the run began.
    """
    from headstart.backbones import loading

    if limits.has_limits(ctx.job):
        why = "backbones that break a limit of the job, as known so far"
        excluded = ctx.record_decision("limits", lambda: find_excluded(ctx), why)
        for name, problem in excluded.items():
            ctx.console.print_line("plan", f"{name} is left out: {problem}")
    why = "backbones whose passes fit the budget and are worth a look, and those that were named"
    shortlist = tuple(ctx.record_decision("shortlist", lambda: list(list_candidates(ctx, data)), why))
    _print_downloads(shortlist, ctx)
    backbones = [loading.find_backbone(name) for name in shortlist]
    fetched_bytes = sum(b.spec.download_bytes for b in backbones if not b.source.available(b.preset, ctx.store))
    fetch = f", after fetching {format_bytes(fetched_bytes)}" if fetched_bytes else ""
    count = f"{len(shortlist)} backbone{'s are' if len(shortlist) > 1 else ' is'} looked at{fetch}"
    ctx.console.print_line("plan", f"{count}: {', '.join(shortlist)}")
    why = "backbones whose weights could be had"
    fetched = ctx.record_decision("candidates", lambda: _fetch_weights(shortlist, ctx), why)
    _require_unchanged(fetched, ctx)
    _warn_of_training_pictures(fetched, data, ctx.console)
    return _drop_slow(tuple(fetched), data, ctx)


def _print_downloads(shortlist: Sequence[str], ctx: Context) -> None:
    """Name what `auto` is going to fetch from a publisher, before it does."""
    from headstart.backbones import loading
    from headstart.selection import reach

    backbones = [loading.find_backbone(name) for name in shortlist if name not in ctx.job.backbones]
    reach.print_downloads([each for each in backbones if reach.is_away(each, ctx.store)], ctx.console)


def _require_unchanged(backbones: Sequence[str], ctx: Context) -> None:
    """Refuse one of the user's own that has changed since the run began: its vectors would be another network's."""
    from headstart.backbones import loading

    revisions = {
        backbone.name: backbone.spec.revision
        for backbone in map(loading.find_backbone, backbones)
        if backbone.source.is_users_own
    }
    if not revisions:
        return
    why = "a resumed run must see the same networks of one's own"
    first_revisions = ctx.record_decision("own_backbones", lambda: revisions, why)
    changed = [name for name, revision in revisions.items() if first_revisions.get(name) != revision]
    if changed:
        hint = "choose another folder with `--out`, or add the file again as it was"
        raise DataError(f"`{changed[0]}` is another network than when the run `{ctx.run.path}` began", hint=hint)


def _warn_of_training_pictures(backbones: Sequence[str], data: Dataset, console: Console) -> None:
    """Warn where a trunk of the user's own learnt from pictures that are now to judge it."""
    from headstart.backbones import loading

    for backbone in map(loading.find_backbone, backbones):
        learnt_from = backbone.source.learnt_from(backbone.preset) if backbone.seed is None else frozenset()
        if count := sum(digest in learnt_from for digest in data.digests):
            share = f"{count:,} of these {len(data.uris):,} pictures"
            console.print_warning(f"{backbone.name} learnt from {share}: all its scores here are too good")


def _drop_slow(backbones: tuple[str, ...], data: Dataset, ctx: Context) -> tuple[str, ...]:
    """Without those whose trunk takes longer for one picture than the job allows, measured here and now."""
    from headstart.backbones import loading

    if not ctx.job.max_latency:
        return backbones
    why = "milliseconds of one picture through each trunk, as measured on this machine"
    latencies_ms = ctx.record_decision(
        limits.LATENCIES, lambda: {name: _measure_latency_ms(data, name, ctx) for name in backbones}, why
    )
    asked_for = {loading.find_backbone(name).name for name in ctx.job.backbones if name != "auto"}
    excluded: dict[str, str] = {}
    for backbone in map(loading.find_backbone, backbones):
        if backbone.name in asked_for:
            require_within_limits(backbone, ctx.job, latencies_ms)
        elif problem := limits.format_broken_limits((backbone.spec,), ctx.job, latencies_ms):
            excluded[backbone.name] = problem
            ctx.console.print_line("plan", f"{backbone.name} is left out: {problem}")
    if len(excluded) == len(backbones):
        raise _no_backbone_left((ctx.run.find_decision("limits") or {}) | excluded)
    return tuple(name for name in backbones if name not in excluded)


def _measure_latency_ms(data: Dataset, name: str, ctx: Context) -> float:
    from headstart.backbones import latency, loading
    from headstart.features.extraction import prepare_backbone

    spec = loading.find_backbone(name).spec
    if math.isnan(latency.read_latency_ms(spec, ctx.store)):
        prepare_backbone(data, name, ctx.store, ctx.console)
    latency_ms = latency.read_latency_ms(spec, ctx.store)
    if math.isnan(latency_ms):
        raise SetupError("`--max-latency` cannot be measured: OpenVINO is not installed", hint="pip install openvino")
    return latency_ms


def _fetch_weights(names: tuple[str, ...], ctx: Context) -> list[str]:
    """Those whose weights are in the cache now; a copy from elsewhere on this machine comes into it here, aloud."""
    from headstart.backbones import loading
    from headstart.backbones.downloads.shared_weights import pull_weights

    fetched: list[str] = []
    problem: HeadstartError | None = None
    for name in names:
        backbone = loading.find_backbone(name)
        try:
            if backbone.seed is None or not backbone.source.available(backbone.preset, ctx.store):
                pull_weights(backbone, ctx.store, ctx.console)
            fetched.append(name)
        except (SetupError, DataError) as err:
            if "auto" not in ctx.job.backbones:
                raise
            ctx.console.print_warning(f"{name} is left out: {err.what}")
            problem = err
    if not fetched and problem:
        raise problem
    return fetched


def backbone_for_audit(names: Iterable[str], *, best: bool = False) -> str:
    """Whose vectors the audit looks at: the cheapest, or the best by prior, of those with a published accuracy if any.

    What is near to what decides the splits, and a network of unknown worth sees likeness where there is none.
    """
    from headstart.backbones import loading
    from headstart.selection.published_accuracy import is_published, make_option
    from headstart.selection.successive_halving import best_by_prior

    specs = [loading.find_backbone(name).spec for name in names]
    published = [spec for spec in specs if is_published(spec)] or specs
    if best:
        return best_by_prior(map(make_option, published))
    return min(published, key=lambda spec: (spec.flops, spec.name)).name
