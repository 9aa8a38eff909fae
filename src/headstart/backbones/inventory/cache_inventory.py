"""What the cache holds of backbones: whose each entry is, whether it is whole, and what may go, copies of data too.

Weights are known by their source's `weights_folder`, a compiled trunk by its `key.json`. Last used is when the store
touched an entry's seal, as it does at every use; weights count as used when a trunk of theirs is. A copy of a user's
own file never goes for its age, nor while some description is damaged: nothing brings it back.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.backbones import loading, source_lookup
from headstart.backbones.downloads import weights as fetch
from headstart.backbones.imported import description
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core import registry
from headstart.core.console import Console
from headstart.core.errors import UsageError
from headstart.core.storage.cache import SEAL, Store
from headstart.core.storage.files import read_json, translate_disk_errors
from headstart.core.storage.hashing import compute_digest, file_digest, to_plain

WEIGHTS, ADDED, TRUNKS = "weights", "added", "trunks"
KINDS = (WEIGHTS, ADDED, TRUNKS)
# Made again, or fetched again, of a user's data and of runs in buckets.
DATA_KINDS = ("archives", "fetched", "folds", "pictures", "runs", "tables")
MIRRORED = "mirrored"  # where runs that end in a bucket are worked on
OBJECTS = "objects"  # of stores, a file each
DRAFT_AFTER_S = 86400  # a draft that was written to since then may be in use
LEFT_AFTER_S = 7 * 86400  # drafts and unfinished downloads that nobody has touched for so long are left-overs
_KEY = "key.json"
_NO_NAME = "no backbone of this installation has it"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One thing in the cache.

    Attributes:
        kind: `weights`, `added` (the copy of a user's own file), `trunks`, one of `DATA_KINDS`, `mirrored`,
            `objects`, `drafts` or `partial`.
        name: Of the backbone; several with commas between them; empty where nothing tells.
        note: What kind of trunk it is, or empty.
        used_s: When it was last used, seconds since 1970.
        gone: Why nothing can use it any more, or empty.
        files: Those of a folder that go alone; none where all of it goes.
    """

    kind: str
    path: Path
    name: str = ""
    note: str = ""
    bytes: int
    used_s: float
    gone: str = ""
    files: tuple[str, ...] = ()


def find_weights_folder(backbone: ResolvedBackbone, store: Store) -> Path | None:
    """Where the weights of a backbone lie or would lie in the store; None where its source keeps them elsewhere."""
    folder = backbone.source.weights_folder(backbone.preset, store)
    if folder is not None:
        return folder
    if not backbone.source.available(backbone.preset, store):
        return None
    path = Path(backbone.source.pull(backbone.preset, store, Console(quiet=True)))
    inside = path.relative_to(store.root).parts if path.is_relative_to(store.root) else ()
    return store.root / inside[0] / inside[1] if len(inside) > 2 else None


def list_entries(store: Store) -> list[CacheEntry]:
    """All weights and trunks in the cache, by kind, name and folder; nothing is changed."""
    backbones = [loading.find_backbone(name) for name in loading.list_backbones()]
    trunks = [_make_trunk_entry(folder) for folder in _list_folders(store, TRUNKS)]
    if not all(entry.name for entry in trunks):
        addresses = _map_addresses(backbones)
        trunks = [entry if entry.name else replace(entry, **addresses.get(entry.path.name, {})) for entry in trunks]
    owners = _map_owners(backbones, store)
    unsure = {ADDED} if any(description.list_damaged(source, store) for source in _users_own_sources()) else set()
    weights = [
        _make_weights_entry(kind, folder, owners.get(folder, []), trunks, "" if kind in unsure else _NO_NAME)
        for kind in (WEIGHTS, ADDED)
        for folder in _list_folders(store, kind)
    ]
    return sorted(weights, key=_sort_key) + sorted(trunks, key=_sort_key)


def _map_owners(backbones: Sequence[ResolvedBackbone], store: Store) -> dict[Path, list[str]]:
    """Folder in the store -> the backbones whose weights it holds."""
    owners: dict[Path, list[str]] = {}
    for source in _users_own_sources():  # by the descriptions in this store, which need not be the user's usual cache
        for name in description.list_names(source, store):
            content = description.read_description(source, name, store).content
            folder = store.entry_path(ADDED, description.copy_key(content))
            owners.setdefault(folder, []).append(f"{source}:{name}")
    for backbone in backbones:
        folder_of_weights = find_weights_folder(backbone, store)
        if folder_of_weights is not None and backbone.name not in owners.setdefault(folder_of_weights, []):
            owners[folder_of_weights].append(backbone.name)
    return owners


def _users_own_sources() -> list[str]:
    return [name for name, source in source_lookup.load_sources().items() if source.is_users_own]


def _sort_key(entry: CacheEntry) -> tuple[int, str, str, str]:
    return KINDS.index(entry.kind), entry.name, entry.note, entry.path.name


def _list_folders(store: Store, kind: str) -> list[Path]:
    root = store.root / kind
    paths = root.iterdir() if root.is_dir() else ()
    return [path for path in paths if path.is_dir() and not path.name.startswith(".")]


def _make_weights_entry(
    kind: str, folder: Path, names: list[str], trunks: list[CacheEntry], nameless: str
) -> CacheEntry:
    used_s = max([_last_used_s(folder), *(trunk.used_s for trunk in trunks if trunk.name in names)])
    facts: dict[str, Any] = {"name": ", ".join(names)} if names else {"gone": nameless}
    return CacheEntry(kind=kind, path=folder, bytes=_count_bytes(folder), used_s=used_s, **facts)


def _make_trunk_entry(folder: Path) -> CacheEntry:
    entry = CacheEntry(kind=TRUNKS, path=folder, bytes=_count_bytes(folder), used_s=_last_used_s(folder))
    try:
        key = read_json(folder / _KEY)
        name, precision = str(key["backbone"]), str(key["precision"])
    except (OSError, ValueError, KeyError, TypeError):
        return entry
    note = f"{precision}, with feature maps" if key.get("maps") else precision
    return replace(entry, name=name, note=note, gone=_explain_gone(key, name, precision))


def _explain_gone(key: dict[str, Any], name: str, precision: str) -> str:
    """Why a trunk of this key is never asked for again, whatever the engine's version; else empty.

    Of a name that belongs to no source here, such as a network tuned in a run, nothing is known: it may be in use.
    """
    if name.removeprefix(loading.RANDOM).partition(":")[0] not in registry.list_plugins("backbones"):
        return ""
    try:
        now = to_plain(loading.trunk_key(loading.find_backbone(name, opening=False), precision))
    except UsageError:
        return _NO_NAME
    if key.get("revision") != now["revision"]:
        return f"made of revision {key.get('revision')}, which is {now['revision']} now"
    other = next((field for field in ("format", "depths", "input") if key.get(field) != now[field]), None)
    return f"made for another {other}" if other else ""


def _map_addresses(backbones: Sequence[ResolvedBackbone]) -> dict[str, dict[str, Any]]:
    """Address -> `name` and `note` of every trunk in float32 that this version would ask for."""
    names: dict[str, dict[str, Any]] = {}
    for trained in backbones:
        controls = () if trained.frozen_reason else (loading.find_backbone(loading.RANDOM + trained.name),)
        for backbone in (trained, *controls):
            key = loading.trunk_key(backbone)
            names[compute_digest(key)] = {"name": backbone.name, "note": "f32"}
            names[compute_digest(key | {"maps": True})] = {"name": backbone.name, "note": "f32, with feature maps"}
    return names


def find_damage(folder: Path) -> list[str]:
    """What is wrong with an entry against its seal, one fact a file; empty when it is whole."""
    try:
        seal = {str(name): str(value) for name, value in read_json(folder / SEAL).items()}
    except (OSError, ValueError, AttributeError):
        return ["its seal cannot be read"]
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink()}
    missing = [f"`{name}` is missing" for name in sorted(seal.keys() - files)]
    whys = {name: _explain_wrong_file(folder / name, seal[name]) for name in sorted(seal.keys() & files)}
    wrong = [f"`{name}` {why}" for name, why in whys.items() if why]
    return missing + wrong + [f"`{name}` does not belong there" for name in sorted(files - seal.keys() - {SEAL})]


def _explain_wrong_file(path: Path, sealed: str) -> str:
    try:
        return "" if file_digest(path) == sealed else "has other bytes"
    except OSError as err:
        return f"cannot be read: {err.strerror or err}"


def list_prunable(store: Store, older_than_s: float | None = None) -> list[tuple[CacheEntry, str]]:
    """What may go, with the reason: entries that nothing can use, that were not used for so long, and left-overs.

    Copies of data go for their age alone.
    """
    now_s = time.time()
    reasons = [
        (entry, entry.gone or _explain_age(entry, None if entry.kind == ADDED else older_than_s, now_s))
        for entry in list_entries(store)
    ]
    if older_than_s is not None:
        entries = [*_list_copies(store), *_list_mirrored(store), *_list_old_objects(store, now_s - older_than_s)]
        reasons += [(entry, _explain_age(entry, older_than_s, now_s)) for entry in entries]
    least_s = LEFT_AFTER_S if older_than_s is None else older_than_s
    for entry in _list_leftovers(store):
        left_s = min(LEFT_AFTER_S, max(least_s, DRAFT_AFTER_S if entry.kind == "drafts" else 0.0))
        reasons.append((entry, _explain_age(entry, left_s, now_s)))
    return [(entry, why) for entry, why in reasons if why]


def _explain_age(entry: CacheEntry, older_than_s: float | None, now_s: float) -> str:
    ago_s = now_s - entry.used_s
    return f"not used for {ago_s / 86400:.0f} days" if older_than_s is not None and ago_s > older_than_s else ""


def _list_copies(store: Store) -> list[CacheEntry]:
    return [
        CacheEntry(kind=kind, path=folder, bytes=_count_bytes(folder), used_s=_last_used_s(folder))
        for kind in DATA_KINDS
        for folder in sorted(_list_folders(store, kind))
    ]


def _list_mirrored(store: Store) -> list[CacheEntry]:
    """Local folders of runs in buckets, by the time of their newest file; none that a process works in."""
    return [
        CacheEntry(
            kind=MIRRORED,
            path=folder,
            bytes=_count_bytes(folder),
            used_s=max(path.stat().st_mtime for path in (folder, *folder.rglob("*")) if path.name != ".lock"),
        )
        for folder in sorted(_list_folders(store, MIRRORED))
        if not any(fetch.is_locked(path) for path in folder.glob("*/.lock"))
    ]


def _list_old_objects(store: Store, before_s: float) -> list[CacheEntry]:
    """The objects that were last used before a time, as one entry: there may be millions."""
    files, count_bytes, used_s = list[str](), 0, 0.0
    for part in sorted((store.root / OBJECTS).glob("*")):
        for file in os.scandir(part):
            try:
                facts = file.stat()
            except FileNotFoundError:  # another process has just named it
                continue
            if facts.st_mtime < before_s:
                files.append(file.path)
                count_bytes, used_s = count_bytes + facts.st_size, max(used_s, facts.st_mtime)
    path, note = store.root / OBJECTS, f"{len(files):,} of stores"
    entry = CacheEntry(kind=OBJECTS, path=path, note=note, bytes=count_bytes, used_s=used_s, files=tuple(files))
    return [entry] if files else []


def _list_leftovers(store: Store) -> list[CacheEntry]:
    """Drafts of processes that were killed, and unfinished downloads that nobody is at."""
    drafts = [path for kind in ("", *KINDS, *DATA_KINDS) for path in sorted((store.root / kind).glob(".tmp-*"))]
    parts = [path for path in sorted((store.root / fetch.PARTIAL).glob("*")) if not fetch.is_in_use(path)]
    entries = []
    for path in (*drafts, *parts):
        written_s = max((stats.st_mtime for stats in _list_stats(path)), default=time.time())
        kind = "drafts" if path in drafts else "partial"
        entries.append(CacheEntry(kind=kind, path=path, bytes=_count_bytes(path), used_s=written_s))
    return entries


def remove_entry(entry: CacheEntry) -> None:
    """Take an entry away; one that is half removed is never taken for whole. `SetupError` where the disk refuses."""
    with translate_disk_errors(entry.path):
        for file in entry.files:
            Path(file).unlink(missing_ok=True)
        if entry.files:
            return
        if not entry.path.is_dir():
            entry.path.unlink(missing_ok=True)
            return
        aside = entry.path.with_name(f".tmp-{secrets.token_hex(8)}")
        os.replace(entry.path, aside)  # noqa: PTH105
        shutil.rmtree(aside)


def _last_used_s(folder: Path) -> float:
    seal = folder / SEAL
    return (seal if seal.is_file() else folder).stat().st_mtime


def _count_bytes(path: Path) -> int:
    return sum(file.st_size for file in _list_stats(path) if not stat.S_ISDIR(file.st_mode))


def _list_stats(path: Path) -> list[os.stat_result]:
    """Of a path and all in it; what its process has just moved is left out."""
    stats = []
    for file in (path, *path.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            stats.append(file.lstat())
    return stats
