"""Questions to all sources at once: which opens a name, what is shipped; `headstart.core.types.Capabilities` has what
a source states of itself."""

from __future__ import annotations

from headstart.backbones import card_facts
from headstart.backbones.remote_index import IndexEntry
from headstart.core import registry
from headstart.core.console import Console
from headstart.core.errors import UsageError
from headstart.core.types import BackboneSource


class NotHere(UsageError):
    """A backbone of a publisher's that would have to be fetched before anything is known of it."""


def load_sources() -> dict[str, BackboneSource]:
    """All sources by name."""
    return {name: registry.load_plugin("backbones", name) for name in registry.list_plugins("backbones")}


def open_unlisted(name: str, console: Console, *, fetching: bool) -> str:
    """The canonical `source:preset` of a name that is in no list, such as `run:runs/mine`; empty where none opens it.

    `NotHere` where it would have to be fetched without `fetching`, `UsageError` where a source knows why it is no
    backbone.
    """
    source, _, text = name.partition(":")
    if not text or source not in registry.list_plugins("backbones"):
        return ""
    plugin: BackboneSource = registry.load_plugin("backbones", source)
    preset = plugin.open_preset(text, console, fetching=fetching)
    return f"{source}:{preset}" if preset else ""


def find_path(name: str) -> str:
    """The part of a backbone's name that its source may open as a path; empty where it opens none, or it is listed."""
    source, _, text = name.removeprefix("random:").partition(":")
    if "://" in text or source not in registry.list_plugins("backbones"):
        return ""
    plugin: BackboneSource = registry.load_plugin("backbones", source)
    listed = not plugin.opens_paths or text in plugin.presets() or text in plugin.shipped_presets()
    return "" if listed else text


def list_shipped() -> dict[str, IndexEntry]:
    """Backbones by name that a source can open and that are not here: its `shipped_presets`."""
    entries = {}
    for source, plugin in load_sources().items():
        for preset, row in plugin.shipped_presets().items():
            method, domains = card_facts.guess_training(row["family"], preset, row["description"])
            entries[f"{source}:{preset}"] = IndexEntry(
                name=f"{source}:{preset}",
                family=row["family"],
                revision=row["handle"],
                licence=row["licence"],
                pretrained_on=row["description"],
                method=method,
                domains=domains,
                task="features of pictures",
                gated=False,
                updated="not stated",
                params=row["params"],
            )
    return entries
