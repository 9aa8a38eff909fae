"""The list of contents of a pack of weights: read as somebody else's data, believed only where this version agrees."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.backbones import loading
from headstart.backbones.inventory.cache_inventory import weights_folder
from headstart.core.errors import DataError, UsageError, format_nearest
from headstart.core.storage.cache import Store
from headstart.core.storage.files import format_printable

FORMAT = 1
MANIFEST = "manifest.json"
_PATH = re.compile(r"weights/[0-9a-f]{64}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a pack holds.

    Attributes:
        backbones: `name`, `revision`, `licence`, … and `entry`, the folder in the cache, of each.
        files: Path in the pack -> `bytes` and `sha256`.
    """

    backbones: tuple[dict[str, str], ...]
    files: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, content: bytes, path: Path, store: Store) -> Manifest:
        """Read and check it.

        Raises:
            DataError: It is no manifest, lists what cannot belong to it, or names other backbones than this version's.
        """
        try:
            raw = json.loads(content.decode("utf-8"))
            if raw["format"] != FORMAT:
                raise DataError(
                    f"the pack has format `{raw['format']}`; this version reads {FORMAT}",
                    where=str(path),
                    hint="make it with the version of headstart that is to read it",
                )
            files = {str(f["path"]): {"bytes": int(f["bytes"]), "sha256": str(f["sha256"])} for f in raw["files"]}
            fields = ("name", "revision", "licence", "entry")
            backbones = tuple({field: str(one[field]) for field in fields} for one in raw["backbones"])
            if len(files) != len(raw["files"]):
                raise ValueError("a file is listed twice")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as err:
            raise DataError(f"the pack's `{MANIFEST}` cannot be read: {err}", where=str(path)) from err
        made = cls(backbones=backbones, files=files)
        made._require_sound(path)
        known = frozenset(loading.names())
        for one in backbones:
            _require_same(one, known, path, store)
        return made

    def _require_sound(self, path: Path) -> None:
        for name in self.files:
            if not _PATH.fullmatch(name) or name.endswith("/seal.json"):
                raise DataError(
                    f"the pack lists `{name}`, which is no place for weights; nothing was taken", where=str(path)
                )
        owned = {one["entry"] for one in self.backbones}
        stray = next((name for name in self.files if name.rpartition("/")[0] not in owned), None)
        if stray:
            raise DataError(f"the pack lists `{stray}`, which belongs to none of its backbones", where=str(path))
        empty = next((one["name"] for one in self.backbones if one["entry"] not in self.entries()), None)
        if empty or not self.backbones:
            raise DataError(f"the pack holds no file of `{empty or 'any backbone'}`", where=str(path))

    def entries(self) -> dict[str, list[str]]:
        """Folder in the cache -> paths of its files."""
        found: dict[str, list[str]] = {}
        for name in self.files:
            found.setdefault(name.rpartition("/")[0], []).append(name)
        return found

    def unpinned(self) -> dict[str, str]:
        """Name -> SHA-256 of the files that no publisher pins (`headstart.backbones.downloads.pins`)."""
        found = {}
        for one in self.backbones:
            of = loading.find(one["name"])
            name = of.source.recorded(of.preset) if hasattr(of.source, "recorded") else ""
            if name:
                found[name] = str(self.files[f"{one['entry']}/{name}"]["sha256"])
        return found

    def stem(self, name: str) -> str:
        """A file's name while it is being checked: its number in the list."""
        return str(list(self.files).index(name))

    def bytes(self) -> int:
        """Of all files."""
        return sum(int(fact["bytes"]) for fact in self.files.values())


def _require_same(one: dict[str, str], known: frozenset[str], path: Path, store: Store) -> None:
    """Whether this version knows the backbone, in this revision, and keeps its weights in this entry.

    A name that is not `known` is never looked up: some sources would open it, as a path.
    """
    name = one["name"]
    if name.removeprefix(loading.RANDOM) not in known:
        raise DataError(
            f"the pack holds `{format_printable(name)}`, which this version does not know",
            where=str(path),
            hint=format_nearest(name, known) or "headstart backbones list",
        )
    try:
        found = loading.find(name)
    except UsageError as err:  # a twin of what has none
        raise DataError(f"weights of `{name}` cannot come from a pack", where=str(path), hint=err.hint) from err
    if found.name != name or found.seed is not None or not hasattr(found.source, "weights_folder"):
        raise DataError(f"weights of `{name}` cannot come from a pack", where=str(path))
    folder = weights_folder(found, store)
    if (
        found.spec.revision != one["revision"]
        or folder is None
        or one["entry"] != f"{folder.parent.name}/{folder.name}"
    ):
        raise DataError(
            f"the pack holds `{name}` in revision `{one['revision']}`; this version reads `{found.spec.revision}`",
            where=str(path),
            hint="make it with the version of headstart that is to read it",
        )
