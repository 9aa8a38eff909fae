"""Plugins by folder: a kind is a folder of this package, a plugin is a file in it that ends in `PLUGIN = …`.

Other packages add one by the entry point `headstart.<kind>`. Listing names and one-line summaries imports nothing.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.errors import UsageError, format_nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_PACKAGE = Path(__file__).resolve().parent.parent
KINDS = {
    "picture_formats": "images/formats",
    "backbones": "backbones/sources",
    "heads": "heads/classifiers",
    "readers": "data/readers",
    "data_checks": "data/checks",
    "model_checks": "finetuning/checks",
    "adaptation_methods": "domain_adaptation/methods",
    "exporters": "exporting/formats",
    "targets": "remote/targets",
    "endpoints": "remote/endpoints",
    "commands": "cli/commands",
}


@cache
def _plugin_files(kind: str) -> dict[str, Path]:
    folder = _PACKAGE / KINDS[kind]
    files = {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}
    return {name: path for name, path in files.items() if "\nPLUGIN" in path.read_text(encoding="utf-8")}


@cache  # every installed package's metadata is read for it
def _entry_points(kind: str) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=f"headstart.{kind}")}


def list_plugins(kind: str) -> tuple[str, ...]:
    """Names of all plugins of a kind, sorted; nothing is imported."""
    return tuple(sorted({*_plugin_files(kind), *_entry_points(kind)}))


def read_summary(kind: str, name: str) -> str:
    """The first line of a plugin's docstring; a file of this package begins with it, and is read, not imported."""
    path = _plugin_files(kind).get(name)
    text = path.read_text(encoding="utf-8").split('"""')[1] if path else load_plugin(kind, name).__doc__
    return (text or "").strip().partition("\n")[0]


def load_plugin(kind: str, name: str) -> Any:
    """The plugin itself; raises UsageError with the nearest names where no plugin has this one."""
    if name in _plugin_files(kind):
        folder = KINDS[kind].replace("/", ".")
        return importlib.import_module(f"headstart.{folder}.{name}").PLUGIN
    if name in _entry_points(kind):
        return _entry_points(kind)[name].load()
    names = list_plugins(kind)
    hint = format_nearest(name, names) or f"known: {', '.join(names)}"
    raise UsageError(f"no {kind.rstrip('s').replace('_', ' ')} is named `{name}`", hint=hint)
