"""Where the folder of a run lies while a command writes it: at its place, or beside the cache for one in a bucket."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from headstart.core.console import Console
from headstart.core.errors import UsageError
from headstart.core.storage.locations.names import is_remote, resolve_location


@contextlib.contextmanager
def open_place(out: str | Path | None, data: str, console: Console) -> Iterator[str | Path | None]:
    """The local folder for `out` while a block writes it; what lies in a bucket is brought, and sent as it changes.

    Raises:
        UsageError: The address cannot be written, or lies below the pictures.
        BusyError: Another process writes the run there.
        SetupError: The bucket is not there, may not be written, or does not answer.
    """
    if out is None or not is_remote(os.fspath(out)):
        yield out
        return
    from headstart.core.run.mirror.mirroring import mirror_run

    address = require_run_address(os.fspath(out), data)
    with mirror_run(address, _choose_local_folder(address), console):
        yield _choose_local_folder(address)


def require_run_address(out: str, data: str) -> str:
    """An address for a run, without a slash at its end; raises UsageError where it lies below the pictures."""
    from headstart.core.storage.locations.uploads import require_writable

    address, root = require_writable(out), resolve_location(data)
    if is_remote(data) and (address + "/").startswith(root + "/"):
        hint = "name an address beside the pictures with `--out`"
        raise UsageError(f"the run `{address}` lies below the pictures `{root}`", where="--out", hint=hint)
    return address


def _choose_local_folder(address: str) -> Path:
    """Where this machine works on the run of an address, so that it goes on there after a kill."""
    from headstart.core.settings import cache_folder
    from headstart.core.storage.files import make_portable_name
    from headstart.core.storage.hashing import compute_digest

    name = make_portable_name(address.rpartition("/")[2])
    return cache_folder() / "mirrored" / compute_digest(address)[:16] / name
