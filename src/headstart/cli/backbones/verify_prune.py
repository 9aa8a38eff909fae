"""`backbones verify` and `backbones prune`: is what the cache holds of backbones whole, and what of it can go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headstart.cli.text_tables import format_table
from headstart.core.console import Console, format_bytes
from headstart.core.storage.cache import Store


def verify_cache(names: Sequence[str], store: Store, console: Console) -> int:
    """Hash weights and trunks again; of all, or of the named backbones. 1 when one is damaged.

    A name of random weights means their trunks alone: there are no weights to be absent.
    """
    from headstart.backbones import loading
    from headstart.backbones.inventory import cache_inventory

    wanted = {loading.find_backbone(name).name for name in names}
    found = [one for one in cache_inventory.list_entries(store) if not wanted or wanted & set(one.name.split(", "))]
    with console.show_progress("verify", sum(one.bytes for one in found), "bytes") as progress:
        checked = []
        for one in found:
            checked.append(_entry_facts(one) | {"problems": cache_inventory.find_damage(one.path)})
            progress.count_done(one.bytes)
    here = {
        name
        for one in found
        for name in one.name.split(", ")
        if one.kind in (cache_inventory.WEIGHTS, cache_inventory.ADDED)
    }
    absent = sorted(name for name in wanted - here if not name.startswith(loading.RANDOM))
    bad = [one for one in checked if one["problems"]]
    console.print_result(
        _format_report(checked, bad, absent), {"checked": checked, "damaged": len(bad), "absent": absent}
    )
    return 1 if bad else 0


def _entry_facts(entry: Any) -> dict[str, Any]:
    path = {"path": str(entry.path), "bytes": entry.bytes}
    return {"kind": entry.kind, "name": entry.name, "note": entry.note} | path


def _format_report(checked: list[dict[str, Any]], bad: list[dict[str, Any]], absent: list[str]) -> str:
    rows = [
        (*_entry_columns(one), format_bytes(one["bytes"]), "; ".join(one["problems"]) or "whole") for one in checked
    ]
    lines = [format_table(("kind", "backbone", "size", "state"), rows, right=(2,))] if rows else []
    lines += [f"{name}: {_format_absent(name)}" for name in absent]
    total = f"{len(checked)} entries, {format_bytes(sum(one['bytes'] for one in checked))}"
    lines.append(f"{total}: {len(bad)} damaged" if bad else f"{total}: all whole")
    return "\n".join([*lines, *(f"delete {one['path']}, then: {_format_remedy(one)}" for one in bad)])


def _format_absent(name: str) -> str:
    """That nothing is there to be verified, and what brings it."""
    from headstart.backbones import loading
    from headstart.backbones.imported import description

    backbone = loading.find_backbone(name)
    if backbone.source.is_users_own:
        return f"its copy is not in the cache; {description.format_restore_hint(backbone.source.name, backbone.preset)}"
    return f"its weights are not in the cache; headstart backbones pull {name}"


def _format_remedy(entry: dict[str, Any]) -> str:
    """What makes a damaged entry anew."""
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


def prune_cache(store: Store, console: Console, *, older_than_s: float | None, dry_run: bool) -> int:
    """Remove what nothing can use, was not used for so long, or was left over; say what and how many bytes."""
    from headstart.backbones.inventory import cache_inventory

    found = cache_inventory.list_prunable(store, older_than_s)
    removed = [_entry_facts(entry) | {"why": why} for entry, why in found]
    if not dry_run:
        for entry, _ in found:
            cache_inventory.remove_entry(entry)
    rows = [(*_entry_columns(one), format_bytes(one["bytes"]), one["why"]) for one in removed]
    total = sum(one["bytes"] for one in removed)
    verb = "would be removed; nothing was changed" if dry_run else "removed"
    lines = [format_table(("kind", "backbone", "size", "why"), rows, right=(2,))] if rows else []
    lines.append(f"{len(rows)} entries, {format_bytes(total)}: {verb}" if rows else "there is nothing to remove")
    console.print_result("\n".join(lines), {"removed": removed, "bytes": total, "dry_run": dry_run})
    return 0
