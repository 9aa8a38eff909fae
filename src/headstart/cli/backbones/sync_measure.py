"""`backbones sync` and `backbones measure`: what others publish, and what this machine does, as of now."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.cli.text_tables import table
from headstart.core.console import format_bytes
from headstart.core.errors import UsageError

if TYPE_CHECKING:
    from headstart.core.console import Console
    from headstart.core.storage.cache import Store

_TOLD = 20  # names of each kind that are shown to people


def sync(args: argparse.Namespace, store: Store, console: Console) -> int:
    """Refresh the index of names, and tell what is new, changed and gone since last time.

    Raises:
        UsageError: A NAME was given.
        SetupError: There is no network, or no index at the address; the last index stays.
        DataError: What came is no index, or not the one that was asked for; the last index stays.
    """
    from headstart.backbones.huggingface import index_sync

    if args.names:
        raise UsageError(f"backbones sync takes no NAME, such as `{args.names[0]}`", hint="headstart backbones sync")
    found = index_sync.sync_index(store, console, given=args.source or "", sha256=args.sha256 or "")
    kinds = {"new": found.new, "changed": found.changed, "gone": found.gone}
    lines = [_names(kind, names) for kind, names in kinds.items() if names]
    counts = ", ".join(f"{len(names):,} {kind}" for kind, names in kinds.items())
    lines += [f"{found.count:,} names: {counts}", f"SHA-256 {found.sha256}", f"kept as {found.path}"]
    facts = {"sha256": found.sha256, "path": str(found.path), "count": found.count}
    console.print_result("\n".join(lines), facts | {kind: list(names) for kind, names in kinds.items()})
    return 0


def _names(kind: str, names: Sequence[str]) -> str:
    rest = f"\n  … and {len(names) - _TOLD:,} more (--json has all)" if len(names) > _TOLD else ""
    return f"{kind}:\n" + "\n".join(f"  {name}" for name in names[:_TOLD]) + rest


def measure(args: argparse.Namespace, store: Store, console: Console) -> int:
    """Measure speed and memory of trunks again.

    Raises:
        UsageError: A name is unknown, or its trunk was never used here.
    """
    from headstart.backbones import latency_remeasure

    found = latency_remeasure.again(args.names, store, console)
    head = ("backbone", "images/s", "before", "ms for one", "before", "memory")
    rows = [
        (one["name"], *_both(one, "images_per_s", ".0f"), *_both(one, "latency_ms", ".1f"), _memory(one["now"]))
        for one in found
    ]
    told = table(head, rows, right=range(1, 6)) if rows else "no trunk is ready on this machine yet: use one first"
    console.print_result(told, {"measured": found})
    return 0


def _both(one: dict[str, Any], fact: str, form: str) -> tuple[str, str]:
    before = one["before"].get(fact)
    return f"{one['now'][fact]:{form}}", "-" if before is None else f"{before:{form}}"


def _memory(now: dict[str, float]) -> str:
    return format_bytes(now["memory_bytes"]) if "memory_bytes" in now else "-"


def place_or_address(text: str) -> str:
    """A file or an http(s) address, for `type=`."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return text if "://" in text else str(Path(text))
