"""What a run in a bucket consists of: the index names each file, its SHA-256 and the object that holds it.

Objects that the index names are never overwritten: a file that changed goes to an object of its own, then the index is
replaced, then the old object is removed. So whoever reads the index has a whole run, whenever the writer was killed.
A finished run lies under its plain names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.core.errors import BusyError, DataError, UsageError
from headstart.core.storage.files import format_printable, require_format
from headstart.core.storage.hashing import compute_digest
from headstart.core.storage.locations.uploads import (
    find_text_object,
    list_below,
    replace_text_object,
    write_text_object,
)

INDEX, VERSIONS = ".headstart/index.json", ".headstart/versions"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One file of the run."""

    sha256: str
    size_bytes: int
    object: str  # name below the address


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIndex:
    """All files of a run at one moment."""

    files: Mapping[str, IndexEntry]
    version: str = ""  # of the object that holds the index; empty where there is none yet

    @property
    def digest(self) -> str:
        """SHA-256 of names and contents."""
        return compute_digest({name: entry.sha256 for name, entry in self.files.items()})


def find_index(address: str) -> RunIndex | None:
    """The index at an address; None where there is none. Raises DataError where it is damaged."""
    content = find_text_object(f"{address}/{INDEX}")
    if content is None:
        return None
    try:
        fields = json.loads(content.text)
        require_format(int(fields["format"]), FORMAT, f"the run `{address}`")
        files = {name: _read_entry(entry) for name, entry in fields["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        what = f"the index of the run `{format_printable(address)}` is damaged: {err!r}"
        raise DataError(what, where=f"{address}/{INDEX}", hint="choose another address with `--out`") from err
    return RunIndex(files=files, version=content.version)


def _read_entry(entry: Mapping[str, Any]) -> IndexEntry:
    return IndexEntry(sha256=str(entry["sha256"]), size_bytes=int(entry["bytes"]), object=str(entry["object"]))


def replace_index(address: str, files: Mapping[str, IndexEntry], earlier: RunIndex) -> RunIndex:
    """Put an index in the place of the earlier one.

    Raises:
        BusyError: Another process has replaced it since.
    """
    entries = {
        name: {"sha256": entry.sha256, "bytes": entry.size_bytes, "object": entry.object}
        for name, entry in sorted(files.items())
    }
    text, place = json.dumps({"format": FORMAT, "files": entries}, indent=1), f"{address}/{INDEX}"
    if not (
        replace_text_object(place, text, earlier.version)
        if earlier.version
        else write_text_object(place, text, only_if_new=True)
    ):
        what = f"another process has written the run `{format_printable(address)}` meanwhile"
        raise BusyError(what, where=address, hint="run the same command again: it goes on from what is there")
    index = find_index(address)
    return index or RunIndex(files=files)


def choose_object(name: str, sha256: str, index: RunIndex) -> str:
    """The object for a file of this content: under its plain name, unless the index has another content there."""
    entry = index.files.get(name)
    is_taken = entry is not None and entry.object == name and entry.sha256 != sha256
    return f"{VERSIONS}/{sha256}" if is_taken else name


def require_run_or_nothing(address: str) -> None:
    """Refuse an address without an index where somebody else's objects lie, by a UsageError."""
    names = set(list_below(address))
    if names and not any(name.startswith(".headstart/") for name in names):
        hint = "name a new or an empty address with `--out`"
        raise UsageError(f"`{format_printable(address)}` is not empty and is no run", where="--out", hint=hint)
