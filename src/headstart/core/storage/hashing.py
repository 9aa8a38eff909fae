"""Canonical JSON and its SHA-256: the address of a cached thing is the digest of what it depends on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

_PART = 10_000  # items of a list that are written together


def to_plain(value: Any) -> Any:
    """A value as JSON's own types. Arrays and NaN are refused: they have no canonical text.

    A field marked `digest="unless default"` came later: left at its default, it changes no digest.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [(f, getattr(value, f.name)) for f in dataclasses.fields(value)]
        return {f.name: to_plain(v) for f, v in parts if "digest" not in f.metadata or v != f.default}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and infinity cannot be part of a key")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, PurePath):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} cannot be part of a key")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and ASCII only, so that equal values give equal text."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def compute_digest(value: Any) -> str:
    """SHA-256 hex of the canonical JSON (64 characters); of long lists a part at a time is in memory."""
    digest = hashlib.sha256()
    for part in _iterate_canonical_json(value):
        digest.update(part.encode("ascii"))
    return digest.hexdigest()


def _iterate_canonical_json(value: Any) -> Iterator[str]:
    if not isinstance(value, list | tuple):
        yield canonical_json(value)
        return
    yield "["
    for start in range(0, len(value), _PART):
        yield "," if start else ""
        if len(value) > _PART:
            yield canonical_json(value[start : start + _PART])[1:-1]
        else:
            for at, item in enumerate(value):
                yield "," if at else ""
                yield from _iterate_canonical_json(item)
    yield "]"


def file_digest(path: PurePath | str) -> str:
    """SHA-256 hex of a file's bytes."""
    with open(path, "rb") as handle:  # noqa: PTH123 - PurePath has no open
        return hashlib.file_digest(handle, "sha256").hexdigest()
