"""What sources of a user's own networks have in common: names from the cache, and trunks cut out of a copied file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.backbones import source_lookup
from headstart.backbones.architectures import scaling_and_pooling
from headstart.backbones.imported import description
from headstart.backbones.imported.description import ImportedBackbone
from headstart.core.errors import DataError, NoOpError, SetupError, UsageError
from headstart.core.storage.cache import Store
from headstart.core.types import BackboneSource, BackboneSpec
from headstart.networks import random_init

if TYPE_CHECKING:
    import numpy as np

_FROZEN = (
    "is kept as a graph for OpenVINO ({}), whose weights can be read but not trained or drawn anew; "
    "a `.keras` file of the same network without Lambda can be fine-tuned"
)


class ImportedSource(BackboneSource):
    """A source whose presets are descriptions in the cache."""

    name = ""
    is_users_own = True

    def presets(self) -> tuple[str, ...]:
        """Names in the user's cache whose descriptions can be read."""
        return description.list_names(self.name)

    def spec(self, preset: str) -> BackboneSpec:
        """What is known of a preset, without a framework; `UsageError` where there is none."""
        return description.read_description(self.name, preset).spec(self.name)

    def open_preset(self, text: str, console: Any, *, fetching: bool = False) -> str:
        """Always empty, as `presets` has all names; `UsageError` where its description is damaged."""
        if text in description.list_damaged(self.name):
            try:
                description.read_description(self.name, text)
            except DataError as err:
                raise UsageError(err.what, where=err.where, hint=err.hint) from err
        return ""

    def _explain_not_here(self, preset: str) -> source_lookup.NotHere:
        name = f"{self.name}:{preset}"
        return source_lookup.NotHere(f"the backbone `{name}` is not here yet", hint=f"headstart backbones pull {name}")

    def available(self, preset: str, store: Store) -> bool:
        """Whether the copy is in the store, whole."""
        return description.find_copy(self._read_description(preset, store), store) is not None

    def weights_folder(self, preset: str, store: Store) -> Path | None:
        """Where the copy lies or would lie in the store; None where that is known only once it is here."""
        return store.entry_path("added", description.copy_key(self._read_description(preset, store).content))

    def pull(self, preset: str, store: Store, console: Any) -> Path:
        """The copied file; nothing is fetched, and `SetupError` raised where it is gone."""
        return self._require_copy(preset, store)

    def frozen_reason(self, preset: str) -> str:
        """Why a preset can neither be fine-tuned nor have a random-init control; empty where it can."""
        kind = description.read_description(self.name, preset).kind
        return "" if kind == "keras" else f"`{self.name}:{preset}` {_FROZEN.format(description.WORDS[kind])}"

    def write_openvino(self, preset: str, store: Store, pictures: np.ndarray, folder: Path) -> None:
        """Write a frozen preset as `trunk.xml`, `trunk.bin` and `parity.json`."""
        from headstart.backbones.imported import openvino_backbone

        backbone, file = self._read_description(preset, store), self._require_copy(preset, store)
        openvino_backbone.write_trunk(file, backbone, backbone.spec(self.name), pictures, folder)

    def build(self, preset: str, store: Store, *, seed: int | None = None) -> Any:
        """See `BackboneSource.build`; `NoOpError` where the file is no Keras file, `SetupError` without its copy."""
        why = self.frozen_reason(preset)
        if why:
            raise NoOpError(why, hint="--strategy probe takes it frozen")
        backbone = self._read_description(preset, store)
        model = cut_trunk(self._require_copy(preset, store), backbone)
        if seed is not None:
            random_init.fill_random(model, seed)
        return model

    def _read_description(self, preset: str, store: Store) -> ImportedBackbone:
        local = description.find_description(self.name, preset, store)
        return local or description.read_description(self.name, preset)

    def _require_copy(self, preset: str, store: Store) -> Path:
        copy = description.find_copy(self._read_description(preset, store), store)
        if copy is None:
            hint = description.format_restore_hint(self.name, preset)
            raise SetupError(f"the copy of `{self.name}:{preset}` is no longer in the cache", hint=hint)
        return copy


def cut_trunk(file: Path, backbone: ImportedBackbone) -> Any:
    """The trunk of a `.keras` file: scaling in front, a mean over the picture behind every cut."""
    import keras

    from headstart.networks.formats import keras_archive

    spec = backbone.input

    def scale(pictures: Any) -> Any:
        return pictures if backbone.scaled else scaling_and_pooling.scale_pictures(pictures, spec)

    flat = keras_archive.flatten_model(keras_archive.load_archive(file), spec.size_px, scale)
    by_name = {operation.name: operation for operation in flat.operations}
    outputs = [_add_pooling(by_name[cut.layer].output, f"pool_{cut.name}", by_name) for cut in backbone.cuts]
    model = keras.Model(flat.inputs[0], outputs, name=backbone.name.replace(".", "_"))
    model.trainable = False
    return model


def _add_pooling(tensor: Any, name: str, taken: Collection[str]) -> Any:
    """(B, D): the mean over the places of a map, or over tokens; a vector stays."""
    import keras

    while name in taken:  # a network that was cut before has such layers of its own
        name += "_"
    if len(tensor.shape) == 4:
        return keras.layers.GlobalAveragePooling2D(name=name)(tensor)
    if len(tensor.shape) == 3:
        return keras.layers.GlobalAveragePooling1D(name=name)(tensor)
    return tensor
