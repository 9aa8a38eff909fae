"""Where bytes come from: files, members of archives (`/x/set.zip/cats/1.png`), objects (`s3://bucket/cats/1.png`).

A location is one string; a file below a root is `root + "/" + uri`, whatever holds it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.core.storage.locations.names import split_archive

if TYPE_CHECKING:
    from headstart.core.storage.locations.listing import FolderListing


def list_location(root: str, leave_out: frozenset[str] = frozenset()) -> FolderListing:
    """Everything below a root; folders whose real paths are in `leave_out` are put aside.

    Raises:
        DataError: An archive is damaged, or cut short, or does not have the folder.
        OSError: A folder cannot be listed.
    """
    from headstart.core.storage.locations import archives, local

    if split := split_archive(root):
        return archives.list_archive(*split, split[0])
    return local.list_folder(root, leave_out)


def read_inside(path: str, accept: Callable[[bytes], object], head_bytes: int, limit_bytes: int) -> bytes:
    """The bytes of what no file system has under this path: a member of an archive.

    Args:
        path: As `list_location` names it: root, `/`, uri.
        accept: Looks at the first `head_bytes` bytes, and may raise before the rest is read.
        limit_bytes: More are refused.

    Raises:
        OSError: It is not there, cannot be read or has too many bytes.
    """
    if split := split_archive(path):
        from headstart.core.storage.locations import archives

        return archives.read_member(*split, split[0], accept, head_bytes, limit_bytes)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
