"""Refreshing the index of names: from a file, a mirror, or the lists of the Hugging Face hub itself."""

from __future__ import annotations

import itertools
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

from headstart.backbones import card_facts, remote_index
from headstart.backbones.downloads import mirror, resumable
from headstart.backbones.huggingface import hub_api
from headstart.backbones.remote_index import IndexChange, IndexEntry, clean_text
from headstart.core.console import Console
from headstart.core.errors import SetupError, UsageError
from headstart.core.settings import read_setting
from headstart.core.storage.cache import Store
from headstart.core.storage.files import explain_disk_error

_FILE = "index.json"
_MAX_ROWS = 10_000  # of one list
_TASKS = ("image-classification", "image-feature-extraction", "zero-shot-image-classification")
# source of the index -> what is asked of the hub's list of models
_LISTS: tuple[tuple[str, dict[str, Any]], ...] = (
    (hub_api.SOURCE, {"filter": ["onnx", "image-classification"]}),
    (hub_api.SOURCE, {"filter": ["onnx", "image-feature-extraction"]}),
    ("keras_hub", {"author": "keras", "filter": ["keras-hub"]}),
)


def sync_index(store: Store, console: Console, *, given: str = "", sha256: str = "") -> IndexChange:
    """Bring a newer index into the cache.

    Args:
        given: A file or address that holds an index; empty for `index.json` of the mirror, and without a mirror for the
            hub's own lists.
        sha256: What the index must have; empty for no such check.

    Raises:
        UsageError: The address is of a kind that cannot be read.
        SetupError: It cannot be had.
        DataError: It is no index, or not the one asked for.
    """
    base = read_setting("HEADSTART_WEIGHTS_MIRROR") or ""
    place = given
    if base and not given:
        place = resumable.join_address(base, _FILE) if "://" in base else str(Path(base).expanduser() / _FILE)
    try:
        if not given:
            mirror.require_readable(_FILE)
            if why := mirror.explain_absent_folder():
                raise SetupError(why, hint="make it, name another, or headstart backbones sync --from FILE")
        if place:
            content = _read_bytes(place, console)
            return remote_index.install_index(content, store, origin=resumable.hide_credentials(place), sha256=sha256)
        console.print_line("sync", f"the lists of {hub_api.format_hub_address()}")
        entries, left_out = _fetch_entries()
    except SetupError as err:
        earlier = remote_index.read_origin(store)
        outcome = f"; the index of {earlier['day']} stays" if "day" in earlier else "; there is no earlier index"
        raise SetupError(err.what + outcome, where=err.where, hint=err.hint) from err
    skipped = f"{left_out:,} rows have no ONNX file, are no image networks or are hidden"
    console.print_line("sync", f"{len(entries):,} names; {skipped}")
    content = remote_index.encode_index(entries)
    return remote_index.install_index(content, store, origin=hub_api.format_hub_address(), sha256=sha256)


def _read_bytes(place: str, console: Console) -> bytes:
    console.print_line("sync", resumable.hide_credentials(place))
    scheme = place.partition("://")[0] if "://" in place else ""
    if scheme in ("", "file"):
        path = Path(urllib.request.url2pathname(urllib.parse.urlparse(place).path)) if scheme else Path(place)
        return _read_local(path.expanduser())
    if scheme not in ("http", "https"):
        raise UsageError(f"an address of the kind `{scheme}://` cannot be read", hint="--from FILE, or http(s)://")
    try:
        return resumable.download_small(place, most_bytes=remote_index.MAX_BYTES)[0]
    except (OSError, ValueError, HTTPException) as err:
        if isinstance(err, urllib.error.HTTPError):
            err.close()
        raise hub_api.unreachable(f"no index can be had from {resumable.hide_credentials(place)}", err) from err


def _read_local(path: Path) -> bytes:
    try:
        if path.stat().st_size > remote_index.MAX_BYTES:
            raise SetupError(f"`{path}` is too large for an index", where=str(path))
        return path.read_bytes()
    except OSError as err:
        fact = explain_disk_error(err, f"cannot read `{path}`")
        raise fact or SetupError(f"there is no index `{path}`", where=str(path), hint="--from FILE") from err


def _fetch_entries() -> tuple[list[IndexEntry], int]:
    """What the hub's lists have for us, and how many of their rows were left out: no ONNX file, or no proper name."""
    rows = [_make_entry(source, model) for source, model in _list_models()]
    entries: dict[str, IndexEntry] = {}
    for entry in rows:
        if entry is not None:
            entries.setdefault(entry.name, entry)
    if not entries:
        raise SetupError(f"the lists of {hub_api.format_hub_address()} hold nothing that headstart knows how to use")
    return list(entries.values()), rows.count(None)


def _list_models() -> Iterator[tuple[str, Any]]:
    """Source and `huggingface_hub.ModelInfo` of every row of every list, the most downloaded first.

    One row is asked for beforehand: without a network `huggingface_hub` tries for 23 s before it says so.
    """
    failure = f"the hub's list cannot be had from {hub_api.format_hub_address()}"
    with hub_api.open_client() as client:
        try:
            resumable.download_small(f"{hub_api.hub_address()}/api/models?limit=1", most_bytes=remote_index.MAX_BYTES)
            api = client.HfApi(endpoint=hub_api.hub_address())
            for source, query in _LISTS:
                models = api.list_models(**query, sort="downloads", full=True, cardData=True, fetch_config=True)
                yield from ((source, model) for model in itertools.islice(models, _MAX_ROWS))
        except (hub_api.network_error(client), OSError, HTTPException) as err:
            raise hub_api.unreachable(failure, err) from err
        except (ValueError, TypeError, KeyError, AttributeError) as err:
            raise SetupError(f"{failure}: it sends no list of models") from err


def _make_entry(source: str, model: Any) -> IndexEntry | None:
    """A row of the hub's list as an entry; None for what cannot be one of our backbones."""
    name = f"{source}:{model.id if source == hub_api.SOURCE else model.id.partition('/')[2]}"
    facts = hub_api.read_model_info(model)
    task = model.pipeline_tag or next((tag for tag in facts.tags if tag in _TASKS), None)
    if model.private or model.disabled or not remote_index.is_proper_name(name) or task not in _TASKS:
        return None
    if source == hub_api.SOURCE and not any(file in facts.files for file in hub_api.ONNX):
        return None
    card = card_facts.read_card(facts.card or {}, facts.tags, facts.config)
    return IndexEntry(
        name=name,
        family=card.family,
        revision=clean_text(model.sha),
        licence=card.licence,
        pretrained_on=card.pretrained_on,
        method=card.method,
        domains=card.domains,
        task=clean_text(task),
        gated=bool(model.gated),
        updated=clean_text(str(model.last_modified or "")[:10]),
    )
