"""Which backbones are measured, and what that will take.

`auto` looks at the bundled backbones, at those of other sources whose weights are on this machine, none of the user's
own, and at the recommended ones within reach, and puts at most eight on a shortlist, as far as the budget has room for
their first passes; named backbones are taken as they are. What breaks a limit of the job is left out by `auto`, and an
error where it was named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from headstart.core import recipe as recipes
from headstart.core.console import format_bytes, format_duration
from headstart.core.errors import DataError, HeadstartError, SetupError, UsageError
from headstart.core.run.time_plan import plan_time
from headstart.features.extraction_time import count_missing_rows, estimate_extraction, estimate_pass_seconds
from headstart.selection import limits

if TYPE_CHECKING:
    from headstart.backbones.resolved_backbone import ResolvedBackbone
    from headstart.core.console import Console
    from headstart.core.job import Job
    from headstart.core.run.context import Context
    from headstart.core.types import Dataset

_SHOWN = 3  # backbones in the error that none is left


def require_within_limits(backbone: ResolvedBackbone, job: Job, latency_ms: Mapping[str, float]) -> None:
    """Refuse a named backbone that breaks a limit of the job, by a `UsageError` with the limit."""
    why = limits.format_broken_limits((backbone.spec,), job, latency_ms)
    if why:
        hint = "leave it out of --backbones, or change the limit"
        raise UsageError(f"`{backbone.name}` was named and breaks a limit: {why}", where="--backbones", hint=hint)


def list_candidates(ctx: Context, pictures: int = 0, *, data: Dataset | None = None) -> tuple[str, ...]:
    """Canonical names of the candidates, cheapest first, each once; none that is known to break a limit.

    What the budget has no room for, at `pictures` of `data` not yet in the cache, is left out; 0 sets no bound.

    Raises:
        UsageError: A name is unknown, the nearest are named; or nothing obeys the limits.
    """
    from headstart.backbones import loading

    asked_for = [loading.find_backbone(name) for name in ctx.job.backbones if name != "auto"]
    for backbone in asked_for:
        require_within_limits(backbone, ctx.job, _find_latencies_ms([backbone], ctx))
    backbones = {backbone.name: backbone for backbone in asked_for}
    if "auto" in ctx.job.backbones:
        excluded = find_excluded(ctx)
        allowed = [backbone for backbone in list_available(ctx) if backbone.name not in excluded]
        allowed += _list_within_reach(ctx, bounded=bool(pictures))
        backbones = _make_shortlist(allowed, backbones, ctx, pictures, data)
    if not backbones:
        raise _no_backbone_left(find_excluded(ctx))
    return tuple(sorted(backbones, key=lambda name: (backbones[name].spec.flops, name)))


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


def _make_shortlist(
    available: Sequence[ResolvedBackbone],
    named: Mapping[str, ResolvedBackbone],
    ctx: Context,
    pictures: int,
    data: Dataset | None,
) -> dict[str, ResolvedBackbone]:
    """The most promising within reach, and those that were named; the clock has no say in what a recipe names."""
    from headstart.selection import successive_halving
    from headstart.selection.published_accuracy import expected_accuracy

    backbones = {backbone.name: backbone for backbone in available} | dict(named)
    if not backbones:
        return {}
    recipe = str(recipes.parse_fields(ctx.job.recipe).get("backbone", ""))
    room_s = plan_time(ctx.job).shortlist_s(ctx.left_s()) if pictures else math.inf
    required = {name for name in backbones if name in named or (recipe and recipes.is_backbone_named(recipe, name))}
    passes = _count_passes(backbones, pictures or 1, data, ctx)
    options = [
        successive_halving.Option(
            name=name,
            expected=expected_accuracy(backbone.spec),
            cost=estimate_pass_seconds({name: passes[name]}, ctx.store),
        )
        for name, backbone in backbones.items()
    ]
    shortlisted = successive_halving.make_shortlist(options, room_s, required=required)
    if pictures:
        left_out = [name for name in backbones if name not in shortlisted]
        _print_left_out(left_out, len(shortlisted) >= successive_halving.MOST, ctx.console)
    return {name: backbones[name] for name in shortlisted}


def _count_passes(names: Iterable[str], pictures: int, data: Dataset | None, ctx: Context) -> dict[str, float]:
    """How many pictures have to go through each in its first pass: of `pictures` the part that is not in the cache."""
    if data is None or ctx.job.precision != "f32":  # another precision has vectors of its own
        return dict.fromkeys(names, pictures)
    total = len(set(data.digests))
    return {name: pictures * count / total for name, count in count_missing_rows(data, names, ctx.store).items()}


def _print_left_out(names: Sequence[str], full: bool, console: Console) -> None:
    if not names:
        return
    others = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    verb, passes = ("is", "its pass does") if len(names) == 1 else ("are", "their passes do")
    why = "more is expected of the others for their time, or there is no room for all"
    why = why if full else f"{passes} not fit the budget"
    console.print_line("plan", f"{', '.join(names[:_SHOWN])}{others} {verb} left out: {why}")


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


def choose_candidates(data: Dataset, *, ctx: Context, pictures: int) -> tuple[str, ...]:
    """The candidates, their weights at hand; of `auto`'s those whose passes of `pictures` the budget has room for.

    Raises:
        UsageError: A name is unknown, a named backbone breaks a limit, or all do.
        SetupError: The weights of a named backbone, or those of all, cannot be had.
        DataError: One of the user's own is another than when the run began.
    """
    if limits.has_limits(ctx.job):
        why = "backbones that break a limit of the job, as known so far"
        excluded = ctx.record_decision("limits", lambda: find_excluded(ctx), why)
        for name, problem in excluded.items():
            ctx.console.print_line("plan", f"{name} is left out: {problem}")
    why = "the most promising backbones whose first passes fit the budget, and those that were named"
    shortlist = tuple(ctx.record_decision("shortlist", lambda: list(list_candidates(ctx, pictures, data=data)), why))
    _print_downloads(shortlist, ctx)
    extraction = estimate_extraction(shortlist, data, ctx)
    fetch = f", after fetching {format_bytes(extraction.bytes)}" if extraction.bytes else ""
    count = f"{len(shortlist)} backbone{'s' if len(shortlist) > 1 else ''}"
    ctx.console.print_line("plan", f"{count}, at most {format_duration(extraction.seconds)} of embedding{fetch}")
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

    fetched: list[str] = []
    problem: HeadstartError | None = None
    for name in names:
        backbone = loading.find_backbone(name)
        try:
            if backbone.seed is None or not backbone.source.available(backbone.preset, ctx.store):
                backbone.source.pull(backbone.preset, ctx.store, ctx.console)
            fetched.append(name)
        except (SetupError, DataError) as err:
            if "auto" not in ctx.job.backbones:
                raise
            ctx.console.print_warning(f"{name} is left out: {err.what}")
            problem = err
    if not fetched and problem:
        raise problem
    return fetched


def backbone_for_audit(names: Iterable[str]) -> str:
    """Whose vectors the audit looks at: the cheapest with a published accuracy, else the cheapest.

    What is near to what decides the splits, and a network of unknown worth sees likeness where there is none.
    """
    from headstart.backbones import loading
    from headstart.selection.published_accuracy import is_published

    specs = [loading.find_backbone(name).spec for name in names]
    published = [spec for spec in specs if is_published(spec)] or specs
    return min(published, key=lambda spec: (spec.flops, spec.name)).name
