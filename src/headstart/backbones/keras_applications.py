"""The trunks of keras.applications: VGG, ResNet, Inception, Xception, MobileNet, DenseNet, EfficientNet, ConvNeXt.

What is known of them stands in `keras_applications.json`, which `benchmarks/keras_applications_table.py` writes from
the models themselves. Official ImageNet weight files come from `HEADSTART_WEIGHTS_MIRROR`, from Keras' own cache, or
from Keras' address over https, in this order, and are kept in the store with their digest. Each trunk gets the scaling
it was trained with, inside its graph. The last depth is the source's own pooled penultimate vector.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headstart.backbones import _graph
from headstart.core.errors import SetupError, UsageError, nearest
from headstart.core.files import read_json, write_json
from headstart.core.keys import file_digest
from headstart.core.say import Say, size
from headstart.core.settings import get
from headstart.core.store import Store
from headstart.core.types import BackboneSpec, Depth, InputSpec
from headstart.kit import drawn

_TIMEOUT_S = 60
_IMAGENET_TERMS = "the files carry no licence of their own, and ImageNet's pictures are for non-commercial research"
_STD = (0.229, 0.224, 0.225)


@functools.cache
def _table() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read_json(Path(__file__).with_suffix(".json"))
    return found


def map_at(model: Any, where: str | Mapping[str, Any]) -> Any:
    """A feature map (B, H, W, C): of a layer by name, or of the last operation of a kind that gives maps of a side."""
    if isinstance(where, str):
        return model.get_layer(where).output
    found = [op.output for op in model.operations if type(op).__name__ == where["kind"]]
    return [one for one in found if len(one.shape) == 4 and one.shape[1] == where["side"]][-1]


class KerasApplications:
    """The source `keras_applications`."""

    name = "keras_applications"
    cannot: Mapping[str, str] = {}

    def presets(self) -> tuple[str, ...]:
        """All names, family by family."""
        return tuple(_table())

    def spec(self, preset: str) -> BackboneSpec:
        """What is known of a preset, without a framework.

        Raises:
            UsageError: There is no such preset.
        """
        row = self._row(preset)
        scaling: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row["scaling"].items()}
        return BackboneSpec(
            name=f"{self.name}:{preset}",
            family=row["family"],
            revision=f"1-{(row['md5'] or hashlib.sha256(row['file'].encode()).hexdigest())[:12]}-{_graph.POOLING}",
            input=InputSpec(size_px=row["side"], **scaling),
            depths=tuple(Depth(name=depth["name"], dim=depth["dim"]) for depth in row["depths"]),
            params=row["params"],
            flops=row["flops"],
            licence=row["licence"],
            licence_note=f"{row['licence_note']}; {_IMAGENET_TERMS}",
            pretrained_on=row["pretrained_on"],
            download_bytes=row["bytes"],
            prior=row["top1"],
            prior_source=row["top1_source"],
        )

    def _row(self, preset: str) -> dict[str, Any]:
        if preset not in _table():
            hint = nearest(preset, _table()) or "headstart backbones list"
            raise UsageError(f"{self.name} has no preset `{preset}`", hint=hint)
        return _table()[preset]

    def available(self, preset: str, store: Store) -> bool:
        """Whether the weights are in the store, in a local mirror or in Keras' cache."""
        row = self._row(preset)
        return store.path("weights", self._key(preset)).is_dir() or any(p.is_file() for p in _local(row["file"]))

    def _key(self, preset: str) -> dict[str, str]:
        return {"weights": f"{self.name}:{preset}", "file": _table()[preset]["file"]}

    def pull(self, preset: str, store: Store, say: Say) -> Path:
        """The official weights file in the store, with `origin.json` beside it.

        Raises:
            SetupError: It is in none of the three places.
        """
        row = self._row(preset)
        file = str(row["file"])

        def write(folder: Path) -> None:
            origin = _obtain(row, folder / row["file"], f"{self.name}:{preset}", say)
            digest, official = file_digest(folder / row["file"]), _official(folder / row["file"], row["md5"])
            if official is False:
                say.warn(
                    f"{row['file']} from {origin} is not the file that Keras pins (MD5 differs); it is used as it is"
                )
            write_json(folder / "origin.json", {"from": origin, "sha256": digest, "as_pinned_by_keras": official})
            say.line("weights", f"{self.name}:{preset}: {size((folder / file).stat().st_size)} from {origin}")

        return store.make("weights", self._key(preset), write) / file

    def build(self, preset: str, store: Store, *, seed: int | None = None, weights: Path | None = None) -> Any:
        """A frozen `keras.Model` from (B, H, W, 3) float32 RGB 0..255 to one (B, D) output a depth.

        Args:
            preset: Name.
            store: Holds the weights.
            seed: When given, random weights drawn from it instead.
            weights: A weights file of the official layout (without the classifier) to load instead.

        Raises:
            SetupError: The weights are nowhere on this machine, or do not fit the model.
        """
        import keras

        row = self._row(preset)
        if seed is None and weights is None:
            if not self.available(preset, store):
                raise _nowhere(row, f"{self.name}:{preset}", "they are not on this machine")
            weights = self.pull(preset, store, Say(quiet=True))
        shape = (row["side"], row["side"], 3)
        pictures = keras.Input(shape, name="pictures")
        scaled = _graph.scaled(pictures, self.spec(preset).input)
        make = getattr(keras.applications, row["class"])
        base = make(weights=None, include_top=False, pooling="avg", input_tensor=scaled, input_shape=shape)
        if seed is not None:
            drawn.fill_random(base, seed)
        else:
            _load(base, weights, row)
        maps = [map_at(base, depth["layer"]) for depth in row["depths"][:-1]]
        names = [depth["name"] for depth in row["depths"][:-1]]
        model = keras.Model(pictures, [*_graph.pooled(maps, names), base.output], name=preset)
        model.trainable = False
        return model


def _load(base: Any, weights: Path | None, row: Mapping[str, Any]) -> None:
    try:
        base.load_weights(str(weights))
    except (ValueError, OSError, KeyError) as err:
        raise SetupError(
            f"the weights file does not fit {row['class']}: {err}",
            where=str(weights),
            hint=f"it must be Keras' own `{row['file']}`, the one without the classifier",
        ) from err
    if row["stem"]:
        # Keras divides the input by sqrt(std) once more, but only when asked for weights="imagenet" by name: with a
        # file the same weights would see a differently scaled picture. The first kernel takes the factor in.
        import keras

        kernel = base.get_layer(row["stem"]).kernel
        factors = keras.ops.convert_to_tensor([[1.0 / math.sqrt(std)] for std in _STD], kernel.dtype)
        kernel.assign(kernel * factors)


def _local(file: str) -> Iterator[Path]:
    """Where the file may lie on this machine: a mirror that is a folder, Keras' cache."""
    mirror = get("HEADSTART_WEIGHTS_MIRROR") or ""
    if mirror.startswith("file://"):
        yield Path(urllib.request.url2pathname(urllib.parse.urlparse(mirror).path)) / file
    elif mirror and "://" not in mirror:
        yield Path(mirror).expanduser() / file
    home = os.environ.get("KERAS_HOME")
    yield (Path(home) if home else Path.home() / ".keras") / "models" / file


def _obtain(row: Mapping[str, Any], target: Path, name: str, say: Say) -> str:
    """Copy or download the file, and say from where."""
    for path in _local(row["file"]):
        if path.is_file():
            shutil.copyfile(path, target)
            return str(path)
    mirror = get("HEADSTART_WEIGHTS_MIRROR") or ""
    if mirror.startswith(("http://", "https://")):
        address = f"{mirror.rstrip('/')}/{row['file']}"
    elif mirror:
        raise _nowhere(row, name, f"the mirror `{mirror}` does not hold `{row['file']}`")
    else:
        address = row["url"]
    say.line("fetch", f"{address}, about {size(row['bytes'])}")
    try:
        _download(address, target)
    except (OSError, ValueError) as err:
        raise _nowhere(row, name, f"{address}: {err}") from err
    if not mirror and _official(target, row["md5"]) is False:
        raise _nowhere(row, name, f"what {address} sent is not the file that Keras pins (MD5 differs)")
    return str(address)


def _download(address: str, target: Path) -> None:
    request = urllib.request.Request(address, headers={"User-Agent": "headstart"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer, target.open("wb") as out:
        if address.startswith("https://") and not answer.url.startswith("https://"):
            raise ValueError("the server leads away from https")
        shutil.copyfileobj(answer, out)


def _official(path: Path, md5: str) -> bool | None:
    """Whether the file is the one Keras pins; None where Keras pins none."""
    if not md5:
        return None
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == md5


def _nowhere(row: Mapping[str, Any], name: str, why: str) -> SetupError:
    return SetupError(
        f"the weights of `{name}` cannot be had: {why}",
        hint=(
            f"put `{row['file']}` into a folder and set HEADSTART_WEIGHTS_MIRROR to it (or to an http(s) address); "
            f"or into ~/.keras/models; or run `headstart backbones pull {name}` with a network"
        ),
    )


PLUGIN = KerasApplications()
