"""How far `auto` reaches beyond this machine: which recommended backbones it may fetch, and why not the others.

Nothing is fetched here. Publishers, or the mirror, are asked for the headers of a file, all at once, for a few seconds
at most, and only of what limits and budget allow.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headstart.backbones import loading
from headstart.backbones.downloads import resumable
from headstart.backbones.recommended import list_recommendations
from headstart.core.console import format_bytes, format_duration
from headstart.core.errors import SetupError
from headstart.core.run.time_plan import plan_time
from headstart.core.settings import count_threads
from headstart.features.extraction_time import GFLOP_PER_S
from headstart.selection import limits
from headstart.selection.published_accuracy import expected_accuracy

if TYPE_CHECKING:
    from headstart.backbones.resolved_backbone import ResolvedBackbone
    from headstart.core.console import Console
    from headstart.core.run.context import Context
    from headstart.core.storage.cache import Store

FETCH_BYTES_PER_S = 10e6  # a guess
READY_S = 15.0  # a guess: bundled trunks are built, converted and compared in 4 to 8 s on 2 cores, these are larger
_ANSWER_S = 3.0  # for an answer with headers,
_ALL_ANSWERS_S = 4.0  # and for all of them, names of hosts included
_MEMORY_S = 60.0  # for which answers hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """A recommended backbone that is not here: seconds until it is fetched and ready, and why it is left out.

    Attributes:
        why_not: Empty where it is within reach.
        address: Who would be asked for it; empty where a mirror on this machine has it.
    """

    backbone: ResolvedBackbone
    fetch_s: float
    why_not: str = ""
    address: str = ""


def is_away(backbone: ResolvedBackbone, store: Store) -> bool:
    """Whether a backbone is recommended and not here."""
    return backbone.name in list_recommendations() and not backbone.source.available(backbone.preset, store)


def find_reach(ctx: Context, *, bounded: bool = True) -> list[Reach]:
    """The recommended backbones that are not here, each with why it is out of reach; `bounded` by the budget."""
    room_s = max(plan_time(ctx.job).reach_s(ctx.left_s()), 0.0) if bounded else math.inf
    backbones = [loading.find_backbone(name) for name in list_recommendations()]
    rows = [_judge_backbone(backbone, room_s, ctx) for backbone in backbones if is_away(backbone, ctx.store)]
    problems = _ask_addresses({row.address for row in rows if row.address and not row.why_not})
    return _bar_unfitting([replace(row, why_not=row.why_not or problems.get(row.address, "")) for row in rows], room_s)


def _judge_backbone(backbone: ResolvedBackbone, room_s: float, ctx: Context) -> Reach:
    """What can be said of a backbone before anybody is asked."""
    spec = backbone.spec
    row = Reach(backbone=backbone, fetch_s=spec.download_bytes / FETCH_BYTES_PER_S + READY_S)
    expected_ms = {spec.name: spec.flops / (GFLOP_PER_S * 1e6 * count_threads())}
    if why := limits.format_broken_limits((spec,), ctx.job, expected_ms):
        return replace(row, why_not=why)
    if row.fetch_s > room_s:
        needed, room = format_duration(row.fetch_s), format_duration(room_s)
        return replace(row, why_not=f"{needed} until it is here and ready, the budget has {room} for that")
    try:
        address = backbone.source.find_address(backbone.preset, ctx.store)
        if address:
            resumable.require_network(address)
        return replace(row, address=address)
    except SetupError as err:
        return replace(row, why_not=err.what)


def _bar_unfitting(rows: list[Reach], room_s: float) -> list[Reach]:
    """The same, those barred too for which the cheapest, and those of which more is expected, leave no room."""
    fitting: set[str] = set()
    by_cost = sorted((row for row in rows if not row.why_not), key=lambda row: (row.fetch_s, row.backbone.name))
    for row in [*by_cost[:1], *sorted(by_cost[1:], key=lambda row: -expected_accuracy(row.backbone.spec))]:
        if row.fetch_s <= room_s:
            room_s -= row.fetch_s
            fitting.add(row.backbone.name)
    why = "there is no time to fetch it too, and more is expected of others"
    return [row if row.why_not or row.backbone.name in fitting else replace(row, why_not=why) for row in rows]


@functools.lru_cache(maxsize=64)
def _ask_address(address: str, period: int) -> str:
    """Why nothing comes from an address, or empty; remembered for a `period`, so that a run asks once."""
    return resumable.explain_unreachable(address, _ANSWER_S)


def _ask_addresses(addresses: Collection[str]) -> dict[str, str]:
    """Address -> why nothing comes from it, empty for those that answer; asked all at once."""
    answers = dict.fromkeys(addresses, f"no answer within {_ALL_ANSWERS_S:.0f} s")
    period = int(time.monotonic() // _MEMORY_S)

    def ask(address: str) -> None:
        answers[address] = _ask_address(address, period)

    threads = [threading.Thread(target=ask, args=(address,), daemon=True) for address in addresses]
    for thread in threads:
        thread.start()
    until = time.monotonic() + _ALL_ANSWERS_S
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.0))
    return dict(answers)


def print_out_of_reach(reach: Sequence[Reach], console: Console) -> None:
    """One line: how many are out of reach, and why the first is."""
    rows = [row for row in reach if row.why_not]
    if not rows:
        return
    count = f"{len(rows)} recommended backbone{'s are' if len(rows) > 1 else ' is'} not considered"
    details = "; headstart backbones recommend DATA tells each" if len(rows) > 1 else ""
    console.print_line("plan", f"{count}: {rows[0].backbone.name}, {rows[0].why_not}{details}")


def print_downloads(backbones: Sequence[ResolvedBackbone], console: Console) -> None:
    """One line, before anything is fetched: names, bytes and seconds."""
    if not backbones:
        return
    names = ", ".join(f"{backbone.name} ({format_bytes(backbone.spec.download_bytes)})" for backbone in backbones)
    total_bytes = sum(backbone.spec.download_bytes for backbone in backbones)
    pace = f"about {format_duration(total_bytes / FETCH_BYTES_PER_S)} at {format_bytes(FETCH_BYTES_PER_S)}/s"
    console.print_line("plan", f"to be fetched: {names}, {pace}; --offline does without")
