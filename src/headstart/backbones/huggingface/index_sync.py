"""Refreshing the index of names: from a file, a mirror, or the lists of the Hugging Face hub itself."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from pathlib import Path

from headstart.backbones import remote_index
from headstart.backbones.downloads import mirror, resumable
from headstart.backbones.huggingface import hub_api
from headstart.backbones.remote_index import Change
from headstart.core.console import Console
from headstart.core.errors import SetupError, UsageError
from headstart.core.settings import read_setting
from headstart.core.storage.cache import Store
from headstart.core.storage.files import explain_disk_error

_FILE = "index.json"


def refresh(store: Store, console: Console, *, given: str = "", sha256: str = "") -> Change:
    """Bring a newer index into the cache.

    Args:
        store: The cache.
        console: Told where it comes from.
        given: A file or address that holds an index; empty for `index.json` of the mirror, and without a mirror for
            the hub's own lists.
        sha256: What the index must have; empty for no such check.

    Raises:
        UsageError: The address is of a kind that cannot be read.
        SetupError: It cannot be had.
        DataError: It is no index, or not the one asked for.
    """
    base = read_setting("HEADSTART_WEIGHTS_MIRROR") or ""
    place = given or (_on(base) if base else "")
    try:
        if not given:
            mirror.require_readable(_FILE)
            if why := mirror.absent():
                raise SetupError(why, hint="make it, name another, or headstart backbones sync --from FILE")
        if place:
            return remote_index.take(_read(place, console), store, origin=resumable.shown(place), sha256=sha256)
        console.print_line("sync", f"the lists of {hub_api.shown()}")
        entries, left = hub_api.collected(console)
    except SetupError as err:
        before = remote_index.state(store)
        kept = f"; the index of {before['day']} stays" if "day" in before else "; there is no earlier index"
        raise SetupError(err.what + kept, where=err.where, hint=err.hint) from err
    console.print_line(
        "sync", f"{len(entries):,} names; {left:,} rows have no ONNX file, are no image networks or are hidden"
    )
    return remote_index.take(remote_index.content_of(entries), store, origin=hub_api.shown(), sha256=sha256)


def _on(base: str) -> str:
    return resumable.below(base, _FILE) if "://" in base else str(Path(base).expanduser() / _FILE)


def _read(place: str, console: Console) -> bytes:
    """The bytes of an index.

    Raises:
        SetupError: It cannot be had.
    """
    console.print_line("sync", resumable.shown(place))
    scheme = place.partition("://")[0] if "://" in place else ""
    if scheme in ("", "file"):
        path = Path(urllib.request.url2pathname(urllib.parse.urlparse(place).path)) if scheme else Path(place)
        return _local(path.expanduser())
    if scheme not in ("http", "https"):
        raise UsageError(f"an address of the kind `{scheme}://` cannot be read", hint="--from FILE, or http(s)://")
    try:
        return resumable.small(place, most_bytes=remote_index.MOST_BYTES)[0]
    except (OSError, ValueError, HTTPException) as err:
        if isinstance(err, urllib.error.HTTPError):
            err.close()
        raise hub_api.unreachable(f"no index can be had from {resumable.shown(place)}", err) from err


def _local(path: Path) -> bytes:
    try:
        if path.stat().st_size > remote_index.MOST_BYTES:
            raise SetupError(f"`{path}` is too large for an index", where=str(path))
        return path.read_bytes()
    except OSError as err:
        fact = explain_disk_error(err, f"cannot read `{path}`")
        raise fact or SetupError(f"there is no index `{path}`", where=str(path), hint="--from FILE") from err
