"""What the text of a location says: on this machine or elsewhere, whole or relative."""

from __future__ import annotations

import os
import re
from pathlib import Path

ARCHIVE = re.compile(r"\.(?:zip|tar(?:\.gz|\.bz2|\.xz)?|tgz|tbz2)(?=/|$)", re.IGNORECASE)


def split_archive(path: str) -> tuple[str, str] | None:
    """The archive in a path and the member's name in it, empty for the archive itself; None where there is none."""
    for match in ARCHIVE.finditer(path):
        if is_remote(path) or os.path.isfile(path[: match.end()]):  # noqa: PTH113 - for each of millions of members
            return path[: match.end()], path[match.end() + 1 :]
    return None


def is_archive(name: str) -> bool:
    """Whether a name is that of an archive that is read."""
    return ARCHIVE.search(name.rpartition("/")[2]) is not None


def is_remote(location: str) -> bool:
    """Whether a location lies on another machine: `s3://…`, `gs://…`, `az://…`, `https://…`."""
    return "://" in location


def is_absolute(location: str) -> bool:
    """Whether a location means the same from any folder."""
    return is_remote(location) or Path(location).expanduser().is_absolute()


def is_reachable(location: str) -> bool:
    """Whether something is there; another machine is not asked."""
    path = Path(location).expanduser()
    return is_remote(location) or path.exists() or split_archive(str(path)) is not None


def resolve_location(location: str) -> str:
    """The whole location: an absolute path with links followed, or an address without a slash at its end."""
    return location.rstrip("/") if is_remote(location) else str(Path(location).expanduser().resolve())
