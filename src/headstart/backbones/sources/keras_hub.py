"""Presets of KerasHub: by name, from `hf://org/name` or Kaggle, or from a folder that `save_to_preset` wrote.

What is named is fetched or copied once, laid flat into Keras' own layers and described; from then on KerasHub (extra
`headstart[hub]`) is not needed. `benchmarks/keras_hub_table.py` writes `keras_hub.json`, the names that KerasHub ships.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.backbones import card_facts, remote_index
from headstart.backbones.imported.source_base import ImportedSource
from headstart.backbones.recommended import list_recommendations
from headstart.core.errors import UsageError, format_nearest
from headstart.core.storage.cache import Store, default_store
from headstart.core.storage.files import read_json
from headstart.core.types import BackboneSpec, FeatureLevel, InputSpec
from headstart.core.types.backbone import NOT_HERE

_BYTES_A_WEIGHT = 4  # in KerasHub's files: float32


@functools.cache
def _read_table() -> Mapping[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = read_json(Path(__file__).with_suffix(".json"))
    return table


def _read_recommended_spec(preset: str) -> Mapping[str, Any]:
    """What is known of a recommended preset before it is here; empty for any other."""
    recommendation = list_recommendations().get(f"keras_hub:{preset}")
    return recommendation.spec if recommendation else {}


def _find_row(preset: str) -> Mapping[str, Any]:
    """What is known of a preset without its weights: of those that KerasHub ships, or of a newer one in the index."""
    if preset in _read_table():
        return {**_read_table()[preset], **_read_recommended_spec(preset)}
    entries = remote_index.list_entries("keras_hub")
    newer = next((entry for entry in entries if entry.name == f"keras_hub:{preset}"), None)
    if newer is None:
        return {}
    row = {"family": newer.family, "description": newer.pretrained_on, "licence": newer.licence}
    return row | {"licence_note": "as its card on the hub states it", "handle": f"hf://keras/{preset}"}


class KerasHub(ImportedSource):
    """The source `keras_hub`."""

    name = "keras_hub"
    opens_paths = True
    has_text_towers = True

    def presets(self) -> tuple[str, ...]:
        """Names in the user's cache, and the recommended presets, of which enough is known before they are here."""
        here = super().presets()
        recommended = (name.partition(":")[2] for name in list_recommendations() if name.startswith(f"{self.name}:"))
        return (*here, *(preset for preset in recommended if preset not in here))

    def is_here(self, preset: str) -> bool:
        """Whether a preset was fetched once, so that it is described in the cache."""
        return preset in super().presets()

    def spec(self, preset: str) -> BackboneSpec:
        """What is known of a preset, without a framework; of a recommended one what its table says, until it is here.

        Raises:
            UsageError: There is none.
        """
        facts = _read_recommended_spec(preset)
        if not facts:
            return super().spec(preset)
        spec = super().spec(preset) if self.is_here(preset) else self._foresee_spec(preset)
        return replace(spec, prior=facts["prior"], prior_source=facts["prior_source"])

    def _foresee_spec(self, preset: str) -> BackboneSpec:
        row = _find_row(preset)
        method, domains = card_facts.guess_training(row["family"], preset, row["description"])
        return BackboneSpec(
            name=f"{self.name}:{preset}",
            family=row["family"],
            revision=NOT_HERE,
            input=InputSpec(size_px=row["side"], crop_fraction=1.0),
            depths=tuple(FeatureLevel(name=name, dim=dim) for name, dim in row["depths"].items()),
            params=row["params"],
            flops=row["flops"],
            licence=row["licence"],
            licence_note=row["licence_note"],
            pretrained_on=row["description"],
            download_bytes=_BYTES_A_WEIGHT * _read_table()[preset]["params"],  # of both towers, where there are two
            prior=row["prior"],
            prior_source=row["prior_source"],
            method=method,
            domains=domains,
        )

    def frozen_reason(self, preset: str) -> str:
        """Why a preset can neither be fine-tuned nor have a random-init control; empty where it can."""
        return super().frozen_reason(preset) if self.is_here(preset) else ""

    def find_address(self, preset: str, store: Store) -> str:
        """See `headstart.core.types.Capabilities`."""
        from headstart.backbones.keras_hub import preset_download

        if self.available(preset, store):
            return ""
        handle = _find_row(preset)["handle"]
        return preset_download.find_address(preset_download.PublishedPreset(name=preset, place=preset, handle=handle))

    def weights_folder(self, preset: str, store: Store) -> Path | None:
        """Where the copy lies or would lie in the store; None where that is known only once it is here."""
        return super().weights_folder(preset, store) if self.is_here(preset) else None

    def shipped_presets(self) -> Mapping[str, dict[str, Any]]:
        """Preset -> what is known of it without its weights: `family`, `description`, `params`, `licence`, …"""
        return _read_table()

    def open_preset(self, text: str, console: Any, *, fetching: bool = False) -> str:
        """The name of a preset that is in the cache afterwards: of KerasHub's own, of a handle, or of a folder.

        Raises:
            UsageError: There is no such preset, the description of its copy is damaged, or it may not be fetched.
            SetupError: KerasHub is not installed, or the preset cannot be had.
            DataError: It is no preset that takes pictures, or must not be opened.
        """
        super().open_preset(text, console)
        from headstart.backbones.keras_hub import import_preset, preset_download

        store, path = default_store(console), Path(text).expanduser()
        if _find_row(text) or "://" in text:
            preset = "" if _find_row(text) else preset_download.PublishedPreset.parse(text).name
            if imported := preset and import_preset.find_imported(preset, store):
                return imported
            if not fetching:
                raise self._explain_not_here(text)
            return self._import_preset(text, store, console)
        if path.is_dir():
            return import_preset.import_folder(path, store, console).name
        if imported_name := import_preset.find_imported(str(path.resolve()), store):
            return imported_name
        near = format_nearest(text, [*_read_table(), *self.presets()])
        hint = near or "a folder that save_to_preset wrote, or hf://ORG/NAME"
        raise UsageError(f"KerasHub has no preset `{text}`, and there is no such folder", hint=hint)

    def _import_preset(self, text: str, store: Store, console: Any) -> str:
        from headstart.backbones.keras_hub import import_preset, preset_download

        row = _find_row(text)
        if row:
            place = preset_download.PublishedPreset(name=text, place=text, handle=row["handle"])
        else:
            place = preset_download.PublishedPreset.parse(text)
        return import_preset.import_published(place, row, store, console).name

    def available(self, preset: str, store: Store) -> bool:
        """Whether the copy is in the store; lists ask it of many, so that only its use checks every byte."""
        folder = self.weights_folder(preset, store)
        return folder is not None and folder.is_dir()

    def text_folder(self, preset: str, store: Store) -> Path | None:
        """See `headstart.core.types.Capabilities`."""
        from headstart.backbones.keras_hub import import_preset

        return import_preset.find_text_folder(preset, store) if self.is_here(preset) else None

    def pull(self, preset: str, store: Store, console: Any) -> Path:
        """The flat network's file, fetched again where the copy is gone and a hub has it.

        Raises:
            SetupError: It cannot be had.
            DataError: The publisher has another preset under this name by now.
        """
        if _find_row(preset) and not (self.is_here(preset) and super().available(preset, store)):
            self._import_preset(preset, store, console)
        return self._require_copy(preset, store)


PLUGIN = KerasHub()
