"""Digests of weights files that nobody pins: noted at first use, and whatever comes later must have the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json, write_json

RECORDED = "recorded"


def differs(file: str, sha256: str, store: Store) -> str:
    """The noted digest where it is another one; empty where it is the same, or nothing was noted yet."""
    try:
        known = str(read_json(place(file, store))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return "" if known == sha256 else known


def note(file: str, sha256: str, store: Store) -> None:
    """Note the digest of a file."""
    write_json(place(file, store), {"file": file, "sha256": sha256})


def place(file: str, store: Store) -> Path:
    """Where the digest of a file is noted."""
    return store.root / RECORDED / f"{hashlib.sha256(file.encode()).hexdigest()[:32]}.json"
