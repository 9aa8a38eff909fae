"""Where bytes come from: files, members of archives (`/x/set.zip/cats/1.png`), objects (`s3://bucket/cats/1.png`).

A location is one string; a file below a root is `root + "/" + uri`, whatever holds it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.core.storage.locations.names import is_remote, split_archive

if TYPE_CHECKING:
    from headstart.core.storage.locations.listing import FolderListing


def list_location(root: str, leave_out: frozenset[str] = frozenset()) -> FolderListing:
    """Everything below a root; folders whose real paths are in `leave_out` are put aside.

    Raises:
        DataError: An archive is damaged, or cut short, or does not have the folder; there is nothing at an address.
        SetupError: An object store does not answer, or refuses.
        OSError: A folder cannot be listed.
    """
    from headstart.core.storage.locations import archives, local

    if split := split_archive(root):
        return archives.list_archive(localize(split[0]), split[1], split[0])
    if is_remote(root):
        from headstart.core.storage.locations import object_store

        return object_store.list_objects(root)
    return local.list_folder(root, leave_out)


def require_address(address: str) -> str:
    """An address of an object store without a slash at its end; raises UsageError or SetupError where it is none."""
    from headstart.core.storage.locations import object_store

    return object_store.require_address(address)


def forget_versions() -> None:
    """Ask object stores anew which versions there are, as every command does once at its start."""
    from headstart.core.storage.locations import object_store

    object_store.forget_versions()


def count_readers(root: str, threads: int) -> int:
    """Threads that read what lies below a root: many where each waits for a network."""
    from headstart.core.storage.locations import object_store

    return max(threads, object_store.IN_FLIGHT) if is_remote(root) else threads


def localize(location: str) -> str:
    """The path of a file on this machine: its own, or that of a copy in the cache of what lies in an object store.

    Raises:
        DataError: There is no such object.
        SetupError: The object store does not answer, or refuses; or the disk has no room for the copy.
    """
    if not is_remote(location):
        return location
    from headstart.core.storage.locations import object_store

    return object_store.fetch_file(location)


def read_inside(path: str, accept: Callable[[bytes], object], head_bytes: int, limit_bytes: int) -> bytes:
    """The bytes of what no file system has under this path: a member of an archive, an object of a store.

    Args:
        path: As `list_location` names it: root, `/`, uri.
        accept: Looks at the first `head_bytes` bytes, and may raise before the rest is read.
        limit_bytes: More are refused.

    Raises:
        OSError: It is not there, cannot be read or has too many bytes.
        SetupError: The object store does not answer.
    """
    if split := split_archive(path):
        from headstart.core.storage.locations import archives

        return archives.read_member(localize(split[0]), split[1], split[0], accept, head_bytes, limit_bytes)
    if is_remote(path):
        from headstart.core.storage.locations import object_store

        return object_store.read_object(path, accept, head_bytes, limit_bytes)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
