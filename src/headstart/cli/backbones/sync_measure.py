"""`backbones sync` and `backbones measure`: what others publish, and what this machine does, as of now."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.cli.text_tables import format_table
from headstart.core.console import format_bytes
from headstart.core.errors import UsageError

if TYPE_CHECKING:
    from headstart.core.console import Console
    from headstart.core.storage.cache import Store

_NAMES_SHOWN = 20  # of each kind


def sync_index(args: argparse.Namespace, store: Store, console: Console) -> int:
    """Refresh the index of names, and tell what is new, changed and gone since last time.

    Raises:
        UsageError: A NAME was given.
        SetupError: There is no network, or no index at the address; the last index stays.
        DataError: What came is no index, or not the one that was asked for; the last index stays.
    """
    from headstart.backbones.huggingface import index_sync

    if args.names:
        raise UsageError(f"backbones sync takes no NAME, such as `{args.names[0]}`", hint="headstart backbones sync")
    index = index_sync.sync_index(store, console, given=args.source or "", sha256=args.sha256 or "")
    changes = {"new": index.new, "changed": index.changed, "gone": index.gone}
    lines = [_format_names(kind, names) for kind, names in changes.items() if names]
    counts = ", ".join(f"{len(names):,} {kind}" for kind, names in changes.items())
    lines += [f"{index.count:,} names: {counts}", f"SHA-256 {index.sha256}", f"kept as {index.path}"]
    facts = {"sha256": index.sha256, "path": str(index.path), "count": index.count}
    console.print_result("\n".join(lines), facts | {kind: list(names) for kind, names in changes.items()})
    return 0


def _format_names(kind: str, names: Sequence[str]) -> str:
    more = f"\n  … and {len(names) - _NAMES_SHOWN:,} more (--json has all)" if len(names) > _NAMES_SHOWN else ""
    return f"{kind}:\n" + "\n".join(f"  {name}" for name in names[:_NAMES_SHOWN]) + more


def measure_trunks(args: argparse.Namespace, store: Store, console: Console) -> int:
    """Measure speed and memory of trunks again, of the named or of all that are ready on this machine.

    Raises:
        UsageError: A name is unknown, or its trunk was never used here.
        SetupError: OpenVINO is missing.
    """
    from headstart.backbones import latency, loading
    from headstart.networks import openvino_engine

    openvino_engine.load_openvino()
    measured: list[dict[str, Any]] = []
    ready = []
    for backbone in [loading.find_backbone(name, opening=False) for name in args.names or loading.list_backbones()]:
        folder = store.find_entry("trunks", loading.trunk_key(backbone))
        if folder is not None:
            ready.append((backbone, folder / "trunk.xml"))
        elif args.names:
            hint = f"it is measured at its first use: headstart embed DATA --backbones {backbone.name}"
            raise UsageError(f"the trunk of `{backbone.name}` was not used on this machine yet", hint=hint)
    latency.warn_if_busy(console)
    for backbone, ir_path in ready:
        figures_before = latency.read_latency(backbone.spec, store)
        now = latency.remeasure_trunk(backbone.spec, ir_path, store)
        measured.append({"name": backbone.name, "before": figures_before, "now": now})
    head = ("backbone", "images/s", "before", "ms for one", "before", "memory")
    table = format_table(head, map(_row, measured), right=range(1, 6))
    console.print_result(table if measured else "no trunk is ready here: use one first", {"measured": measured})
    return 0


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    now, figures_before = entry["now"], entry["before"]
    memory = format_bytes(now["memory_bytes"]) if "memory_bytes" in now else "-"
    forms = {"images_per_s": ".0f", "latency_ms": ".1f"}
    cells = [
        f"{figures[name]:{form}}" if name in figures else "-"
        for name, form in forms.items()
        for figures in (now, figures_before)
    ]
    return entry["name"], *cells, memory


def parse_place_or_address(text: str) -> str:
    """A file or an http(s) address, for `type=`."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return text if "://" in text else str(Path(text))
