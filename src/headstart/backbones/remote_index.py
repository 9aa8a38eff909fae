"""The index of names: what others publish that is not here yet, kept in the cache as one JSON file.

It is named by its SHA-256, and `current.json` says which one holds. One with other bytes, or with what is no plain
fact, is refused, and the one before stays. Only `headstart backbones sync` asks the network.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from headstart.core.errors import DataError
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.core.storage.files import format_printable, read_json, translate_disk_errors, write_bytes, write_json
from headstart.core.storage.hashing import canonical_json, to_plain

FORMAT = 1
MAX_BYTES = 20_000_000
_MAX_ENTRIES = 50_000
_MAX_LENGTH = 300  # signs of a text
_KIND = "index"
_CURRENT = "current.json"
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_]|[.-](?![.-]))*"  # of a name on the hub: no two of its dots and dashes in a row
_NAME = re.compile(rf"(?:huggingface:{_PART}/{_PART}|keras_hub:{_PART})")
SYNC_COMMAND = "headstart backbones sync"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """What the index says of a backbone, as its publisher states it; what only its weights tell is not in it.

    Attributes:
        name: `huggingface:org/name` or `keras_hub:preset`.
        revision: Commit of the publisher's repository.
        domains: What its pictures show.
        task: The publisher's own word for what it does.
        gated: The publisher asks for an account first.
        updated: Day of the last change, `2026-01-31`.
        params: Weights; None where the publisher does not say.
    """

    name: str
    family: str
    revision: str
    licence: str
    pretrained_on: str
    method: str
    domains: tuple[str, ...]
    task: str
    gated: bool
    updated: str
    params: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexChange:
    """What an index brought: its `count` of entries, and the names that are new, changed and gone."""

    sha256: str
    path: Path
    count: int
    new: tuple[str, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]


def is_proper_name(name: str) -> bool:
    """Whether a name is one that a publisher can have: no path, no control character, nothing that leads elsewhere."""
    return len(name) <= _MAX_LENGTH and _NAME.fullmatch(name) is not None


def clean_text(value: Any, otherwise: str = "not stated") -> str:
    """Somebody else's text as one short printable line; `otherwise` where there is none."""
    line = format_printable(" ".join(value.split())) if isinstance(value, str) else ""
    return line[:_MAX_LENGTH].rstrip() or otherwise


def read_index(store: Store) -> Mapping[str, IndexEntry]:
    """The entries of the last index by name; none without one. A damaged one is reported, and counts as none."""
    folder = store.root / _KIND
    try:
        sha256 = str(read_json(folder / _CURRENT)["sha256"])
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError("it has no SHA-256")
        path = folder / f"{sha256}.json"
        facts = path.stat()
        return _read_sealed(path, sha256, (facts.st_ino, facts.st_mtime_ns, facts.st_size))
    except FileNotFoundError:
        if not (folder / _CURRENT).is_file():
            return MappingProxyType({})
        why = "it is gone"
    except (DataError, OSError, ValueError, KeyError, TypeError) as err:
        why = err.what if isinstance(err, DataError) else repr(err)
    store.report(f"the index of names cannot be used, lists go without it: {why}; {SYNC_COMMAND}")
    return MappingProxyType({})


def list_entries(source: str, store: Store | None = None) -> tuple[IndexEntry, ...]:
    """What the last index has of a source, by name; of the user's cache without a store."""
    by_name = read_index(store or Store(cache_folder()))
    return tuple(entry for name, entry in sorted(by_name.items()) if name.startswith(f"{source}:"))


def read_origin(store: Store) -> dict[str, str]:
    """`sha256`, `origin` and `day` of the last index; empty without one."""
    try:
        return {str(name): str(value) for name, value in read_json(store.root / _KIND / _CURRENT).items()}
    except (OSError, ValueError, AttributeError):
        return {}


@functools.lru_cache(maxsize=4)
def _read_sealed(path: Path, sha256: str, state: tuple[int, ...]) -> Mapping[str, IndexEntry]:
    """An index; `state` tells the file from an earlier one of the same name."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError("its bytes are not those of its SHA-256", where=str(path))
    return MappingProxyType({entry.name: entry for entry in parse_index(content, str(path))})


def parse_index(content: bytes, where: str) -> tuple[IndexEntry, ...]:
    """The entries of an index file; `DataError` where it is no index, or an entry holds what is no plain fact."""
    try:
        raw = json.loads(content.decode("utf-8"))
        if raw["format"] != FORMAT:
            other_format = format_printable(str(raw["format"])[:20])
            raise DataError(f"the index has format `{other_format}`; this version reads {FORMAT}")
        rows = raw["entries"]
        if not isinstance(rows, list) or len(rows) > _MAX_ENTRIES:
            raise ValueError("its entries are no list, or too many")
        entries = tuple(_parse_entry(row) for row in rows)
        if len({entry.name for entry in entries}) != len(entries):
            raise ValueError("a name is there twice")
    except DataError as err:
        err.where = err.where or where
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise DataError(f"this is no index of names: {format_printable(str(err)[:200])}", where=where) from err
    return entries


def _parse_entry(row: Mapping[str, Any]) -> IndexEntry:
    facts = {field.name: row[field.name] for field in fields(IndexEntry) if field.name != "params"}
    params = row.get("params")
    name, domains, gated = facts.pop("name"), facts.pop("domains"), facts.pop("gated")
    if not isinstance(name, str) or not is_proper_name(name):
        shown = format_printable(str(name)[:100])
        raise DataError(f"the index has an entry `{shown}`, which can be the name of no backbone")
    kinds = isinstance(domains, list) and isinstance(gated, bool) and (params is None or type(params) is int)
    texts = (*facts.values(), *(domains if kinds else ()))
    clean = all(isinstance(text, str) and text == clean_text(text, "") for text in texts)
    if not kinds or not clean or (params is not None and params < 1):
        raise DataError(f"the index says of `{name}` what is no plain fact")
    return IndexEntry(name=name, domains=tuple(domains), gated=gated, params=params, **facts)


def encode_index(entries: Iterable[IndexEntry]) -> bytes:
    """An index file: the same entries give the same bytes, whatever their order."""
    by_name = {entry.name: entry for entry in entries}
    rows = [to_plain(by_name[name]) for name in sorted(by_name)]
    return (canonical_json({"format": FORMAT, "entries": rows}) + "\n").encode("ascii")


def install_index(content: bytes, store: Store, *, origin: str, sha256: str = "") -> IndexChange:
    """Check an index and make it the one that holds; what is different from the one before.

    Args:
        origin: Where it came from, without passwords.
        sha256: What the file must have; empty for no such check.

    Raises:
        DataError: It is another file than the one asked for, or no index. The one before stays.
        SetupError: The disk is full, read-only or not permitted.
    """
    got = hashlib.sha256(content).hexdigest()
    if sha256 and got != sha256.lower():
        raise DataError(f"the index's SHA-256 is `{got}`, expected `{sha256}`; the one before stays", where=origin)
    new = {entry.name: entry for entry in parse_index(content, origin)}
    old, folder = read_index(store), store.root / _KIND
    path = folder / f"{got}.json"
    write_bytes(path, content)
    write_json(folder / _CURRENT, {"sha256": got, "origin": origin, "day": time.strftime("%Y-%m-%d", time.gmtime())})
    with translate_disk_errors(folder):
        for other in folder.glob("*.json"):
            if other.name not in (path.name, _CURRENT):
                other.unlink(missing_ok=True)
    return IndexChange(
        sha256=got,
        path=path,
        count=len(new),
        new=tuple(sorted(new.keys() - old.keys())),
        changed=tuple(sorted(name for name in new.keys() & old.keys() if new[name] != old[name])),
        gone=tuple(sorted(old.keys() - new.keys())),
    )
