"""Which backbones are measured, and what that will take.

`auto` takes the bundled backbones and those of other sources whose weights are already on this machine, at most
eight, best prior first; named backbones are taken as they are. Weights that are missing are fetched, which is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.core.errors import HeadstartError, SetupError
from headstart.core.say import duration, size
from headstart.core.settings import threads
from headstart.core.types import Dataset, Estimate

if TYPE_CHECKING:
    from headstart.core.context import Context
    from headstart.kit.trunk import Trunk

MOST = 8
PART_OF_BUDGET = 0.6  # of the time may go into first passes
PART_WHEN_TUNING = 0.06  # the same where fine-tuning wants the budget
GFLOP_PER_S = 90.0  # a core with AVX-512, float32, OpenVINO; `benchmarks/embed.py` prints this machine's
DECODE_PER_S = 800.0  # pictures a core and second, JPEG of 250 px


def require_known(wanted: tuple[str, ...]) -> None:
    """Refuse unknown names; the nearest are in the hint.

    Raises:
        UsageError: The first name that is unknown.
    """
    from headstart.kit import trunk

    for name in wanted:
        if name != "auto":
            trunk.find(name)


def names(ctx: Context) -> tuple[str, ...]:
    """Canonical names of the candidates, cheapest first, each once.

    Raises:
        UsageError: A name is unknown; the nearest are named.
    """
    from headstart.kit import trunk

    wanted: dict[str, Trunk] = {}
    for name in ctx.job.backbones:
        found = _auto(ctx) if name == "auto" else (trunk.find(name),)
        wanted |= {one.name: one for one in found}
    return tuple(sorted(wanted, key=lambda name: (wanted[name].spec.flops, name)))


def _auto(ctx: Context) -> tuple[Trunk, ...]:
    from headstart.kit import trunk

    every = [trunk.find(name) for name in trunk.names()]
    bundled = [one for one in every if one.name.startswith("bundled:")]
    others = [one for one in every if one not in bundled and one.source.available(one.preset, ctx.store)]
    others.sort(key=lambda one: (-one.spec.prior, one.name))
    return tuple(bundled + others[: MOST - len(bundled)])


def estimate(chosen: tuple[str, ...], count: int, ctx: Context) -> Estimate:
    """Seconds and download for passing `count` pictures through each candidate, and what that rests on."""
    from headstart.kit import trunk

    found = [trunk.find(name) for name in chosen]
    missing = [one for one in found if not one.source.available(one.preset, ctx.store)]
    cores = threads()
    return Estimate(
        seconds=_seconds(chosen, count),
        bytes=sum(one.spec.download_bytes for one in missing),
        assumptions=(
            f"{cores} cores at {GFLOP_PER_S:.0f} GFLOP/s and {DECODE_PER_S:.0f} decoded pictures a second each",
            "nothing comes from the cache, and no candidate is dropped after screening",
            f"{len(missing)} of {len(found)} backbones must be fetched first",
            *([f"then fine-tuning, for what is left of `{ctx.job.budget}`"] if ctx.job.strategy != "probe" else []),
        ),
    )


def _seconds(chosen: tuple[str, ...], count: int) -> float:
    """Of passing `count` pictures through each candidate; looks at no weights."""
    from headstart.kit import trunk

    per_picture = [trunk.find(name).spec.flops / (GFLOP_PER_S * 1e9) + 1 / DECODE_PER_S for name in chosen]
    return sum(per_picture) * count / threads()


def run(data: Dataset, *, ctx: Context, seen: int) -> tuple[str, ...]:
    """The candidates, their weights at hand; of `auto`'s those whose passes the budget has room for.

    Args:
        data: The pictures.
        ctx: The run.
        seen: Pictures that every candidate is going to see.

    Raises:
        UsageError: A name is unknown.
        SetupError: The weights of a named backbone, or those of all, cannot be had.
    """
    chosen = names(ctx)
    expected = estimate(chosen, len(data.uris), ctx)
    fetch = f", after fetching {size(expected.bytes)}" if expected.bytes else ""
    ctx.say.line("plan", f"{len(chosen)} backbones, at most {duration(expected.seconds)} of embedding{fetch}")
    why = "backbones whose weights could be had and whose passes fit the budget"
    ready = ctx.decide("candidates", lambda: _fetched(_affordable(chosen, seen, ctx), ctx), why)
    return tuple(ready)


def _affordable(chosen: tuple[str, ...], seen: int, ctx: Context) -> tuple[str, ...]:
    """Without the costliest of `auto`'s candidates, as long as passing `seen` pictures takes too much of the budget."""
    room_s = (PART_OF_BUDGET if ctx.job.strategy == "probe" else PART_WHEN_TUNING) * ctx.left_s()
    while "auto" in ctx.job.backbones and len(chosen) > 1 and _seconds(chosen, seen) > room_s:
        ctx.say.line("plan", f"{chosen[-1]} is left out: its pass does not fit the budget")
        chosen = chosen[:-1]
    return chosen


def _fetched(chosen: tuple[str, ...], ctx: Context) -> list[str]:
    from headstart.kit import trunk

    ready: list[str] = []
    problem: HeadstartError | None = None
    for name in chosen:
        one = trunk.find(name)
        try:
            if not one.source.available(one.preset, ctx.store):
                one.source.pull(one.preset, ctx.store, ctx.say)
            ready.append(name)
        except SetupError as err:
            if "auto" not in ctx.job.backbones:
                raise
            ctx.say.warn(f"{name} is left out: {err.what}")
            problem = err
    if not ready and problem:
        raise problem
    return ready
