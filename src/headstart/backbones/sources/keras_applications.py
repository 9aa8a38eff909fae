"""keras.applications: VGG, ResNet, Inception, Xception, MobileNet, DenseNet, EfficientNet, ConvNeXt, NASNet.

What is known of them stands in `keras_applications.json`, which `benchmarks/keras_applications_table.py` writes. The
official ImageNet weights come from `HEADSTART_WEIGHTS_MIRROR`, Keras' own cache, or Keras' address, in this order. Each
trunk scales its pictures inside its graph. The last depth is the source's own pooled penultimate vector.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.backbones.architectures import scaling_and_pooling
from headstart.backbones.downloads import weights as fetch
from headstart.core.console import Console, format_bytes
from headstart.core.errors import SetupError, UsageError, format_nearest
from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json, write_json
from headstart.core.types import BackboneSource, BackboneSpec, FeatureLevel, InputSpec
from headstart.networks import random_init

_IMAGENET_TERMS = "the files carry no licence of their own, and ImageNet's pictures are for non-commercial research"
_ORIGIN = "origin.json"
_STD = (0.229, 0.224, 0.225)


@functools.cache
def _read_table() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = read_json(Path(__file__).with_suffix(".json"))
    return table


def find_map(model: Any, place: str | Mapping[str, Any]) -> Any:
    """A feature map (B, H, W, C): of a layer by name, or of the last operation of a kind that gives maps of a side."""
    if isinstance(place, str):
        return model.get_layer(place).output
    maps = [op.output for op in model.operations if type(op).__name__ == place["kind"]]
    return [output for output in maps if len(output.shape) == 4 and output.shape[1] == place["side"]][-1]


class KerasApplications(BackboneSource):
    """The source `keras_applications`."""

    name = "keras_applications"

    def presets(self) -> tuple[str, ...]:
        """All names, family by family."""
        return tuple(_read_table())

    def spec(self, preset: str) -> BackboneSpec:
        """What is known of a preset, without a framework; UsageError where there is none."""
        row = self._find_row(preset)
        digest = row["md5"] or hashlib.sha256(row["file"].encode()).hexdigest()
        scaling: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row["scaling"].items()}
        return BackboneSpec(
            name=f"{self.name}:{preset}",
            family=row["family"],
            revision=f"1-{digest[:12]}-{scaling_and_pooling.POOLING}",
            input=InputSpec(size_px=row["side"], **scaling),
            depths=tuple(FeatureLevel(name=depth["name"], dim=depth["dim"]) for depth in row["depths"]),
            params=row["params"],
            flops=row["flops"],
            licence=row["licence"],
            licence_note=f"{row['licence_note']}; {_IMAGENET_TERMS}",
            pretrained_on=row["pretrained_on"],
            download_bytes=row["bytes"],
            prior=row["top1"],
            prior_source=row["top1_source"],
            method="supervised",  # all of them: classification of ImageNet's photos
            domains=("photos",),
        )

    def _find_row(self, preset: str) -> dict[str, Any]:
        if preset not in _read_table():
            hint = format_nearest(preset, _read_table()) or "headstart backbones list"
            raise UsageError(f"{self.name} has no preset `{preset}`", hint=hint)
        return _read_table()[preset]

    def available(self, preset: str, store: Store) -> bool:
        """Whether the weights are in the store, in a local mirror or in Keras' cache."""
        in_store = self.weights_folder(preset, store).is_dir()
        return in_store or any(path.is_file() for path in fetch.local_copies(self._find_row(preset)["file"]))

    def find_address(self, preset: str, store: Store) -> str:
        """See `headstart.core.types.Capabilities`."""
        return "" if self.available(preset, store) else fetch.choose_address(self._official_file(preset))

    def weights_folder(self, preset: str, store: Store) -> Path:
        """Where the weights lie or would lie in the store."""
        return store.entry_path("weights", self._cache_key(preset))

    def _cache_key(self, preset: str) -> dict[str, str]:
        return {"weights": f"{self.name}:{preset}", "file": self._find_row(preset)["file"]}

    def _official_file(self, preset: str) -> fetch.WeightsFile:
        row = self._find_row(preset)
        of_file = {field: row[field] for field in ("file", "url", "bytes", "md5")}
        return fetch.WeightsFile(name=f"{self.name}:{preset}", **of_file)

    def pull(self, preset: str, store: Store, console: Console) -> Path:
        """The official weights file in the store, beside `origin.json`; SetupError where the right one is nowhere."""
        weights_file = self._official_file(preset)

        def write(folder: Path) -> None:
            origin = fetch.fetch_weights(weights_file, folder / weights_file.file, store, console)
            facts = {"from": origin.public_address, "sha256": origin.sha256, "as_pinned_by_keras": origin.as_pinned}
            write_json(folder / _ORIGIN, facts)
            count = (folder / weights_file.file).stat().st_size
            console.print_line("weights", f"{weights_file.name}: {format_bytes(count)} from {origin.address}")

        key = self._cache_key(preset)
        folder = store.use_entry("weights", key)
        if folder is None:
            with fetch.take_turn(weights_file, store, console):
                folder = store.make_entry("weights", key, write)
        return folder / weights_file.file

    def build(self, preset: str, store: Store, *, seed: int | None = None, weights: Path | None = None) -> Any:
        """See `BackboneSource`; `weights` is a file of the official layout (without the classifier) to load instead.

        Raises:
            SetupError: The weights are nowhere on this machine, or do not fit the model.
        """
        import keras

        row = self._find_row(preset)
        if seed is None and weights is None:
            if not self.available(preset, store):
                raise fetch.make_missing_weights_error(self._official_file(preset), "they are not on this machine")
            weights = self.pull(preset, store, Console(quiet=True))
        shape = (row["side"], row["side"], 3)
        pictures = keras.Input(shape, name="pictures")
        scaled = scaling_and_pooling.scale_pictures(pictures, self.spec(preset).input)
        make = getattr(keras.applications, row["class"])
        base = make(weights=None, include_top=False, pooling="avg", input_tensor=scaled, input_shape=shape)
        if seed is not None:
            random_init.fill_random(base, seed)
        else:
            _load_weights(base, weights, row)
        maps = [find_map(base, depth["layer"]) for depth in row["depths"][:-1]]
        names = [depth["name"] for depth in row["depths"][:-1]]
        model = keras.Model(pictures, [*scaling_and_pooling.pool_maps(maps, names), base.output], name=preset)
        model.trainable = False
        return model


def _load_weights(base: Any, weights: Path | None, row: Mapping[str, Any]) -> None:
    try:
        base.load_weights(str(weights))
    except (ValueError, OSError, KeyError) as err:
        hint = f"it must be Keras' own `{row['file']}`, the one without the classifier"
        problem = f"the weights file does not fit {row['class']}: {err}"
        raise SetupError(problem, where=str(weights), hint=hint) from err
    if row["stem"]:
        # Keras divides the input by sqrt(std) once more, but only when asked for weights="imagenet" by name: with a
        # file the same weights would see a differently scaled picture. The first kernel takes the factor in.
        import keras

        kernel = base.get_layer(row["stem"]).kernel
        factors = keras.ops.convert_to_tensor([[1.0 / math.sqrt(std)] for std in _STD], kernel.dtype)
        kernel.assign(kernel * factors)


PLUGIN = KerasApplications()
