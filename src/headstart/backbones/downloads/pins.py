"""Digests of weights files that nobody pins: noted at first use, and whatever comes later must have the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from headstart.core.errors import DataError
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


def require(files: Mapping[str, str], store: Store, where: Path) -> None:
    """Refuse files, name -> SHA-256, of which one is not as noted; for a pack, of which nothing is taken then.

    Raises:
        DataError: There is one; it is named.
    """
    for file, sha256 in files.items():
        if differs(file, sha256, store):
            raise DataError(
                f"`{file}` is not the file that was first used here: its SHA-256 differs; nothing was taken",
                where=str(where),
                hint=f"find out which is right; to take this one, delete `{place(file, store)}`",
            )


def note(file: str, sha256: str, store: Store) -> None:
    """Note the digest of a file."""
    write_json(place(file, store), {"file": file, "sha256": sha256})


def place(file: str, store: Store) -> Path:
    """Where the digest of a file is noted."""
    return store.root / RECORDED / f"{hashlib.sha256(file.encode()).hexdigest()[:32]}.json"
