"""What is known of every backbone, as plain JSON, and a search by words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from headstart.backbones import latency, loading, remote_index, source_lookup
from headstart.backbones.licences import is_permissive
from headstart.core.storage.cache import Store
from headstart.core.storage.hashing import to_plain

Facts = dict[str, Any]
_TEXTS = ("name", "family", "licence", "licence_note", "pretrained_on", "method", "prior_source")


def read_facts(name: str, store: Store) -> Facts:
    """All that is known of a backbone, as plain JSON; of one that only the index knows, whatever that says.

    To what a spec says come `weights_here`, `permissive`, what this machine measured (`images_per_s`, `latency_ms`,
    `memory_bytes`; None until then, but for the memory, which `memory_measured` tells from a guess), and `indexed`:
    whether the index alone has it. Nothing is fetched; `UsageError` with the nearest names for an unknown one.
    """
    if not loading.is_listed(name) and (entry := _list_unopened(store).get(name)):
        return _index_facts(entry)
    backbone = loading.find_backbone(name)
    spec_facts: Facts = to_plain(backbone.spec)
    measured = latency.read_latency(backbone.spec, store)
    return spec_facts | {
        "weights_here": bool(backbone.source.available(backbone.preset, store)),
        "permissive": is_permissive(backbone.spec.licence),
        "images_per_s": measured.get("images_per_s"),
        "latency_ms": measured.get("latency_ms"),
        "memory_bytes": int(measured.get("memory_bytes", latency.estimate_memory_bytes(backbone.spec))),
        "memory_measured": "memory_bytes" in measured,
        "indexed": False,
    }


def _index_facts(entry: remote_index.IndexEntry) -> Facts:
    measured = ("images_per_s", "latency_ms", "memory_bytes")
    return dict.fromkeys(("flops", "download_bytes", "prior", "prior_source", "input", *measured)) | {
        **to_plain(entry),
        "licence_note": "as the index says",
        "depths": [],
        "weights_here": False,
        "permissive": is_permissive(entry.licence),
        "memory_measured": False,
        "indexed": True,
    }


def list_facts(store: Store, names: Sequence[str] = ()) -> list[Facts]:
    """The facts of the named backbones, or of all that the sources list; `UsageError` where a name is unknown."""
    return [read_facts(name, store) for name in names or loading.list_backbones()]


def list_index_facts(store: Store) -> list[Facts]:
    """The facts of those that only the index knows, by name."""
    listed_names = frozenset(loading.list_backbones())
    return [_index_facts(entry) for name, entry in sorted(_list_unopened(store).items()) if name not in listed_names]


def _list_unopened(store: Store) -> dict[str, remote_index.IndexEntry]:
    """What sources ship a table of, which was looked into, and what the index has come to know since."""
    return {**remote_index.read_index(store), **source_lookup.list_shipped()}


def search_facts(entries: Sequence[Facts], words: Sequence[str]) -> list[Facts]:
    """Those whose texts hold every word, without case; `-`, `_` and spaces are the same."""
    folded_words = [_fold_text(word) for word in words]
    return [entry for entry in entries if all(word in _all_texts(entry) for word in folded_words)]


def _fold_text(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text.casefold())


def _all_texts(entry: Facts) -> str:
    return "\n".join(_fold_text(text) for text in (*(entry[field] or "" for field in _TEXTS), *entry["domains"]))
