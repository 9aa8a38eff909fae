"""Canonical JSON and its SHA-256: the address of a cached thing is the digest of what it depends on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any


def to_plain(thing: Any) -> Any:
    """A value as JSON's own types. Arrays and NaN are refused: they have no canonical text."""
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return {f.name: to_plain(getattr(thing, f.name)) for f in dataclasses.fields(thing)}
    if isinstance(thing, Mapping):
        return {str(k): to_plain(v) for k, v in thing.items()}
    if isinstance(thing, list | tuple):
        return [to_plain(v) for v in thing]
    if isinstance(thing, float) and not math.isfinite(thing):
        raise ValueError("NaN and infinity cannot be part of a key")
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, PurePath):
        return thing.as_posix()
    raise TypeError(f"{type(thing).__name__} cannot be part of a key")


def canonical_json(thing: Any) -> str:
    """JSON with sorted keys, no spaces and ASCII only, so that equal values give equal text."""
    return json.dumps(to_plain(thing), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def compute_digest(thing: Any) -> str:
    """SHA-256 hex of the canonical JSON (64 characters)."""
    return hashlib.sha256(canonical_json(thing).encode("ascii")).hexdigest()


def file_digest(path: PurePath | str) -> str:
    """SHA-256 hex of a file's bytes."""
    with open(path, "rb") as handle:  # noqa: PTH123 - PurePath has no open
        return hashlib.file_digest(handle, "sha256").hexdigest()
