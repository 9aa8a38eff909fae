"""What only some sources of backbones can: open what they cannot list, and give OpenVINO files where Keras has nothing.

They are optional (`headstart.core.types.OpeningSource`, `OwnSource`, `FrozenSource`); this is the one place that asks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbones import card_facts
from headstart.backbones.remote_index import IndexEntry
from headstart.core import registry
from headstart.core.errors import NoOpError, UsageError
from headstart.core.storage.cache import Store

if TYPE_CHECKING:
    from headstart.core.console import Console


class NotHere(UsageError):
    """A backbone of a publisher's that would have to be fetched before anything is known of it."""


def opened(name: str, console: Console, *, fetching: bool) -> str:
    """The canonical `source:preset` of a name that is in no list, such as `run:runs/mine`; empty where none opens it.

    Without `fetching` only what is on this machine is opened.

    Raises:
        NotHere: It would have to be.
        UsageError: A source knows what it is, and why it is no backbone.
    """
    source, _, preset = name.partition(":")
    if not preset or source not in registry.list_plugins("backbones"):
        return ""
    opens = getattr(registry.load_plugin("backbones", source), "opens", None)
    found = opens(preset, console, fetching=fetching) if opens else ""
    return f"{source}:{found}" if found else ""


def own(source: Any) -> bool:
    """Whether its backbones are the user's own: they may have learnt from these very pictures, and names may change."""
    return bool(getattr(source, "own", False))


def frozen(source: Any, preset: str) -> str:
    """Why a preset is OpenVINO files alone, without fine-tuning and random twin; empty for all others."""
    ask = getattr(source, "frozen", None)
    return str(ask(preset)) if ask else ""


def learnt_from(source: Any, preset: str) -> frozenset[str]:
    """SHA-256 digests of pictures that a preset is known to have learnt from: its scores on them are too good."""
    ask = getattr(source, "learnt_from", None)
    return ask(preset) if ask else frozenset()


def convert(source: Any, preset: str, store: Store, pictures: np.ndarray, draft: Path, *, maps: bool) -> None:
    """Write the OpenVINO files that a frozen preset gives; there are no maps to train on.

    Raises:
        NoOpError: Maps are asked for.
    """
    if maps:
        raise NoOpError(frozen(source, preset), hint="--strategy probe takes it frozen")
    source.convert(preset, store, pictures, draft)


def shipped() -> dict[str, IndexEntry]:
    """Backbones by name that a source can open and that are not here: what it ships a table of (`indexed`)."""
    found = {}
    for source in registry.list_plugins("backbones"):
        ask = getattr(registry.load_plugin("backbones", source), "indexed", None)
        for preset, row in (ask() if ask else {}).items():
            method, domains = card_facts.guess_training(row["family"], preset, row["description"])
            found[f"{source}:{preset}"] = IndexEntry(
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
    return found
