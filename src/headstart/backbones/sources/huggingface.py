"""Frozen ONNX exports on the Hugging Face hub: `huggingface:org/name`, if need be `@revision`.

What is named is fetched once, from the hub or from `HEADSTART_WEIGHTS_MIRROR`. Nothing of a repository is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headstart.backbones.imported.source_base import ImportedSource
from headstart.core.storage.cache import Store, default_store


class HuggingFace(ImportedSource):
    """The source `huggingface`."""

    name = "huggingface"

    def open_preset(self, text: str, console: Any, *, fetching: bool = False) -> str:
        """The name itself, its network in the cache afterwards.

        Raises:
            UsageError: It is no name on the hub, its description is damaged, or it is not here and may not be fetched.
            SetupError: The network cannot be had.
            DataError: There is no ONNX file, or one that takes no pictures.
        """
        super().open_preset(text, console)
        from headstart.backbones.huggingface import hub_api, import_model

        repo = hub_api.Repository.parse(text)
        if not fetching:
            raise self._explain_not_here(repo.preset)
        return import_model.import_repository(repo, default_store(console), console).name

    def available(self, preset: str, store: Store) -> bool:
        """Whether the copy is in the store; lists ask it of many, so that only its use checks every byte."""
        folder = self.weights_folder(preset, store)
        return folder is not None and folder.is_dir()

    def pull(self, preset: str, store: Store, console: Any) -> Path:
        """The network's file, fetched again where the copy is gone.

        Raises:
            SetupError: It cannot be had.
            UsageError: The publisher has another network under this name by now.
        """
        if not super().available(preset, store):
            from headstart.backbones.huggingface import hub_api, import_model

            import_model.import_repository(hub_api.Repository.parse(preset), store, console)
        return self._require_copy(preset, store)


PLUGIN = HuggingFace()
