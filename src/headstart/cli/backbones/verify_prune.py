"""`backbones verify` and `backbones prune`: is what the cache holds of backbones whole, and what of it can go."""

from __future__ import annotations

import argparse
from typing import Any

from headstart.cli.text_tables import format_table
from headstart.core.console import Console, format_bytes
from headstart.core.errors import UsageError
from headstart.core.storage.cache import Store


def verify_cache(args: argparse.Namespace, store: Store, console: Console) -> int:
    """Hash weights and trunks again; of all, or of the named backbones. 1 when one is damaged.

    A name of random weights means their trunks alone: there are no weights to be absent.
    """
    from headstart.backbones import loading
    from headstart.backbones.inventory import cache_inventory

    chosen = {loading.find_backbone(name).name for name in args.names}
    entries = [
        (entry, set(entry.name.split(", ")))
        for entry in cache_inventory.list_entries(store)
        if not chosen or chosen & set(entry.name.split(", "))
    ]
    checked = []
    with console.show_progress("verify", sum(entry.bytes for entry, _ in entries), "bytes") as progress:
        for entry, _ in entries:
            checked.append(_entry_facts(entry) | {"problems": cache_inventory.find_damage(entry.path)})
            progress.count_done(entry.bytes)
    kinds = (cache_inventory.WEIGHTS, cache_inventory.ADDED)
    with_weights = set[str]().union(*(owners for entry, owners in entries if entry.kind in kinds))
    absent = sorted(name for name in chosen - with_weights if not name.startswith(loading.RANDOM))
    damaged = [entry for entry in checked if entry["problems"]]
    facts = {"checked": checked, "damaged": len(damaged), "absent": absent}
    console.print_result(_format_report(checked, damaged, absent), facts)
    return 1 if damaged else 0


def _entry_facts(entry: Any) -> dict[str, Any]:
    return {"kind": entry.kind, "name": entry.name, "note": entry.note, "path": str(entry.path), "bytes": entry.bytes}


def _format_report(checked: list[dict[str, Any]], damaged: list[dict[str, Any]], absent: list[str]) -> str:
    rows = [
        (*_entry_columns(entry), format_bytes(entry["bytes"]), "; ".join(entry["problems"]) or "whole")
        for entry in checked
    ]
    lines = [format_table(("kind", "backbone", "size", "state"), rows, right=(2,))] if rows else []
    lines += [f"{name}: {_format_absent(name)}" for name in absent]
    total = f"{len(checked)} entries, {format_bytes(sum(entry['bytes'] for entry in checked))}"
    lines.append(f"{total}: {len(damaged)} damaged" if damaged else f"{total}: all whole")
    return "\n".join([*lines, *(f"delete {entry['path']}, then: {_format_remedy(entry)}" for entry in damaged)])


def _format_absent(name: str) -> str:
    from headstart.backbones import loading
    from headstart.backbones.imported import description

    backbone = loading.find_backbone(name)
    if backbone.source.is_users_own:
        return f"its copy is not in the cache; {description.format_restore_hint(backbone.source.name, backbone.preset)}"
    return f"its weights are not in the cache; headstart backbones pull {name}"


def _format_remedy(entry: dict[str, Any]) -> str:
    if entry["kind"] == "weights" and entry["name"]:
        return f"headstart backbones pull {entry['name'].partition(',')[0]}"
    if entry["kind"] != "added":
        return "it is made again when it is next used"
    from headstart.backbones.imported import description

    source, _, name = entry["name"].partition(",")[0].partition(":")
    is_file = source in ("", description.SOURCE)
    return "add your file again" if is_file else description.format_restore_hint(source, name)


def _entry_columns(entry: dict[str, Any]) -> tuple[str, str]:
    note = f" ({entry['note']})" if entry["note"] else ""
    return entry["kind"], f"{entry['name'] or '-'}{note}"


def prune_cache(args: argparse.Namespace, store: Store, console: Console) -> int:
    """Remove what nothing can use, was not used for so long, or was left over; say what and how many bytes.

    Raises:
        UsageError: A NAME was given.
    """
    from headstart.backbones.inventory import cache_inventory

    if args.names:
        raise UsageError(f"backbones prune takes no NAME, such as `{args.names[0]}`", hint="headstart backbones prune")
    prunable = cache_inventory.list_prunable(store, args.older_than)
    removed = [_entry_facts(entry) | {"why": why} for entry, why in prunable]
    if not args.dry_run:
        for entry, _ in prunable:
            cache_inventory.remove_entry(entry)
    rows = [(*_entry_columns(entry), format_bytes(entry["bytes"]), entry["why"]) for entry in removed]
    total = sum(entry["bytes"] for entry in removed)
    verb = "would be removed; nothing was changed" if args.dry_run else "removed"
    lines = [format_table(("kind", "backbone", "size", "why"), rows, right=(2,))] if rows else []
    lines.append(f"{len(rows)} entries, {format_bytes(total)}: {verb}" if rows else "there is nothing to remove")
    console.print_result("\n".join(lines), {"removed": removed, "bytes": total, "dry_run": args.dry_run})
    return 0
