"""A KerasHub preset in a folder: looked into before anything is opened, then opened by KerasHub.

A preset is JSON and numbers. Its JSON names classes, which KerasHub would import and call: only those of Keras and
KerasHub are let through, no Lambda, no pickle, no weights that lie elsewhere. All of it is checked first.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.core.errors import DataError, SetupError
from headstart.core.files import show
from headstart.core.types import InputSpec
from headstart.kit.contents import PICKLES, require_weights

CONFIG, METADATA, WEIGHTS, SHARDS = "config.json", "metadata.json", "model.weights.h5", "model.weights.json"
TENSORS, TENSOR_SHARDS = "model.safetensors", "model.safetensors.index.json"
WAYS = ((WEIGHTS, SHARDS), (TENSORS, TENSOR_SHARDS))  # of keeping weights: one file, or a list of several
SMALL = (
    *(CONFIG, METADATA, "task.json", "preprocessor.json", "image_converter.json", "preprocessor_config.json"),
    *("tokenizer.json", "tokenizer_config.json"),
)
ASSETS = ("vocabulary.json", "merges.txt", "vocabulary.txt", "vocabulary.spm")
TOKENIZER = "assets/tokenizer"
_PACKAGES = ("keras", "keras_hub", "keras_nlp")
_REFUSED = (*PICKLES, ".bin", ".keras", ".py")
_CODE = ("Lambda", "__lambda__")
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,150}\.(?:h5|safetensors)")
_SIDE_PX = 224
_MOST_JSON = 50_000_000
NEEDS = 'pip install "headstart[hub]"'


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preset:
    """An opened preset.

    Attributes:
        backbone: `keras_hub.models.Backbone` in float32.
        kind: Name of its class.
        input: How pictures go in.
        told: How that is known, one clause.
        guess: The scaling is a guess.
        notes: What of the preset's own preprocessing is only nearly followed.
        task: Settings of the preset's own classifier.
    """

    backbone: Any
    kind: str
    input: InputSpec
    told: str
    guess: bool
    notes: tuple[str, ...]
    task: Mapping[str, Any]


def hub() -> Any:
    """The module `keras_hub`.

    Raises:
        SetupError: It is not installed, or cannot be loaded.
    """
    require_installed()
    try:
        import keras_hub
    except ImportError as err:
        raise SetupError(f"KerasHub, which opens this backbone, cannot be loaded: {err}", hint=NEEDS) from err
    return keras_hub


def require_installed() -> None:
    """Refuse at once what only KerasHub can open, where it is not installed; it is not loaded for that.

    Raises:
        SetupError: It is not installed.
    """
    try:
        found = importlib.util.find_spec("keras_hub")
    except ValueError:  # something has shut it out
        found = None
    if found is None:
        raise SetupError("KerasHub, which opens this backbone, is not installed", hint=NEEDS)


# ---------------------------------------------------------------- before anything is opened


def files_of(folder: Path) -> dict[str, Path]:
    """Name -> file of everything that belongs to a preset, each looked into; nothing is opened by KerasHub.

    Raises:
        DataError: A file is missing, holds a pickle or is another kind than its name says, names code that is not
            Keras' or KerasHub's, or lies elsewhere.
    """
    pickle = next((one for one in sorted(folder.rglob("*")) if one.suffix.lower() in _REFUSED), None)
    if pickle is not None:
        raise DataError(
            f"`{show(pickle.name)}` is refused: a file of its kind may be a pickle, which runs code when it is opened",
            where=str(pickle),
            hint="a preset is JSON, .h5 or .safetensors: take such files away, or save it with save_to_preset",
        )
    if not (folder / CONFIG).is_file():
        raise DataError(f"`{folder}` is no preset: it has no `{CONFIG}`", where=str(folder), hint="save_to_preset")
    found = {name: folder / name for name in SMALL if (folder / name).is_file()}
    places = [f"{TOKENIZER}/{name}" for name in ASSETS]
    found |= {name: folder / name for name in places if (folder / name).is_file()}
    for name, path in found.items():
        if path.suffix == ".json" and not name.startswith(TOKENIZER):
            require_plain(path)
    found |= {name: folder / name for name in weights_in(folder)}
    for name, path in found.items():
        if not path.is_file():
            raise DataError(f"`{folder.name}` lacks `{name}`", where=str(folder), hint="copy the preset again")
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"`{name}` of `{folder.name}` leads out of its folder", where=str(path))
        if path.suffix in (".h5", ".safetensors"):
            require_weights(name, path, str(path))
    return found


def weights_in(folder: Path) -> tuple[str, ...]:
    """Names of the files with weights, of several the list of them first.

    Raises:
        DataError: There are none, or the list leads elsewhere.
    """
    for whole, parts in WAYS:
        if (folder / whole).is_file():
            return (whole,)
        if (folder / parts).is_file():
            return (parts, *shards(folder / parts))
    raise DataError(f"`{folder.name}` has no weights: `{WEIGHTS}`, `{SHARDS}` or `{TENSORS}`", where=str(folder))


def shards(listed: Path) -> tuple[str, ...]:
    """The files that a list of weights names, sorted.

    Raises:
        DataError: It is no such list, or a name leads elsewhere.
    """
    content = _read(listed)
    by_weight = content.get("weight_map")
    if not isinstance(by_weight, dict):
        raise DataError(f"`{listed.name}` says not where the weights are", where=str(listed))
    named = {name for one in by_weight.values() for name in (one if isinstance(one, list) else [one])}
    wrong = [name for name in named if not isinstance(name, str) or not _SHARD.fullmatch(name)]
    if wrong:
        what = f"`{listed.name}` names `{show(str(wrong[0])[:100])}`, which is no file beside it"
        raise DataError(what, where=str(listed))
    return tuple(sorted(named))


def require_plain(path: Path) -> None:
    """Refuse a JSON file that names code which is not Keras' or KerasHub's.

    Raises:
        DataError: It does, or it is no JSON.
    """
    wrong = _foreign(_read(path))
    if wrong:
        raise DataError(
            f"`{path.name}` names `{show(wrong[:100])}`, which is not of Keras or KerasHub and would be run",
            where=str(path),
            hint="save the preset with KerasHub's own classes",
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ValueError("it is too large")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise DataError(f"`{path.name}` cannot be read: {err}", where=str(path)) from err
    if not isinstance(content, dict):
        raise DataError(f"`{path.name}` is no description", where=str(path))
    return content


def _foreign(content: Any) -> str:
    """The first class or function that is not Keras' or KerasHub's, as `module.name`; empty where there is none."""
    if isinstance(content, list):
        return next((found for one in content if (found := _foreign(one))), "")
    if not isinstance(content, dict):
        return ""
    kind = content.get("class_name")
    if kind is not None and ("config" in content or "registered_name" in content):
        module, registered = content.get("module"), content.get("registered_name")
        package = str(module or "").partition(".")[0]
        owner = str(registered or "").partition(">")[0] if ">" in str(registered or "") else ""
        plain = package == "" or package in _PACKAGES or (package == "builtins" and kind == "function")
        if kind in _CODE or not plain or (owner and owner not in _PACKAGES):
            return f"{module or owner}.{kind}"
    return next((found for one in content.values() if (found := _foreign(one))), "")


# ---------------------------------------------------------------- opening


def opened(folder: Path) -> Preset:
    """Open a preset whose files have passed `files_of`.

    Raises:
        SetupError: KerasHub is not installed.
        DataError: KerasHub cannot read it, or it takes no pictures.
    """
    files_of(folder)
    with reading(folder):
        made = hub().models.Backbone.from_preset(str(folder), dtype="float32")
    converter, told = _converter(folder, type(made))
    shape = getattr(getattr(made, "vision_encoder", made), "image_shape", None)
    if shape is None or len(shape) != 3 or shape[-1] != 3:
        raise DataError(f"`{type(made).__name__}` takes no RGB pictures: it is no backbone for them", where=str(folder))
    spec, notes = _input(converter, shape)
    task = _read(folder / "task.json").get("config", {}) if (folder / "task.json").is_file() else {}
    return Preset(
        backbone=made,
        kind=type(made).__name__,
        input=spec,
        told=told,
        guess=converter is None,
        notes=notes,
        task=task if isinstance(task, dict) else {},
    )


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """While KerasHub reads a preset: what it raises becomes a fact about the folder, and what it warns of is not told.

    Raises:
        DataError: It cannot read it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dealings with Keras and NumPy
            yield
    except (ValueError, TypeError, OSError, KeyError, AttributeError, ImportError, RuntimeError) as err:
        why = str(err).strip().partition("\n")[0]
        what = f"KerasHub cannot read `{folder.name}`: {type(err).__name__}: {why}"
        raise DataError(what, where=str(folder), hint="is it whole, and of the installed KerasHub?") from err


def tokenizer(folder: Path) -> Any:
    """The tokenizer of a CLIP or SigLIP preset, with the length and padding that its preprocessor uses.

    Returns:
        `keras_hub.tokenizers.Tokenizer`.

    Raises:
        SetupError: KerasHub is not installed.
        DataError: The preset has no tokenizer.
    """
    files_of(folder)
    with reading(folder):
        return hub().tokenizers.Tokenizer.from_preset(str(folder))


def _converter(folder: Path, kind: type) -> tuple[Any, str]:
    """The preset's own image converter, and from where it is known; None where it has none."""
    layers = hub().layers
    for name in ("image_converter.json", "preprocessor.json"):
        if (folder / name).is_file():
            content = _read(folder / name)
            inner = content if name == "image_converter.json" else content.get("config", {}).get("image_converter")
            if isinstance(inner, dict):
                import keras

                with reading(folder):
                    return keras.saving.deserialize_keras_object(inner), f"in the preset's {name}"
    if "registered_name" not in _read(folder / CONFIG):  # timm or transformers: KerasHub's converters know
        with reading(folder):
            return layers.ImageConverter.from_preset(str(folder)), "by KerasHub's converter of the preset"
    return None, "the preset says nothing of it"


def _input(converter: Any, shape: tuple[Any, ...]) -> tuple[InputSpec, tuple[str, ...]]:
    """How pictures go in: KerasHub's `x * scale + offset` is our `(x - mean) / std`."""
    fixed = shape[0] if shape[0] and shape[0] == shape[1] else 0
    if shape[0] != shape[1]:
        raise DataError(f"the preset takes pictures of {shape[0]} x {shape[1]}, not square ones")
    if converter is None:
        return InputSpec(size_px=fixed or _SIDE_PX, crop_fraction=1.0, mean=(127.5,) * 3, std=(127.5,) * 3), ()
    notes = []
    own = converter.image_size or (0, 0)
    side = fixed or (own[0] if own[0] == own[1] else min(own)) or _SIDE_PX
    if fixed and own[0] and fixed != own[0]:
        notes.append(f"its preprocessor gives {own[0]} px and its network takes {fixed} px: {fixed} px are given")
    way = converter.interpolation
    if way not in ("bilinear", "bicubic"):
        notes.append(f"its preprocessor resizes by `{way}`: bicubic is used")
    if converter.pad_to_aspect_ratio:
        notes.append("its preprocessor pads pictures to a square: the middle is cut out instead")
    squash = not (converter.crop_to_aspect_ratio or converter.pad_to_aspect_ratio)
    scale, offset = (_three(one, usual) for one, usual in ((converter.scale, 1.0), (converter.offset, 0.0)))
    return InputSpec(
        size_px=side,
        resize="squash" if squash else "crop",
        interpolation=way if way in ("bilinear", "bicubic") else "bicubic",
        crop_fraction=1.0,
        mean=_tuple(-o / s for o, s in zip(offset, scale, strict=True)),
        std=_tuple(1.0 / s for s in scale),
    ), tuple(notes)


def _three(given: Any, usual: float) -> tuple[float, ...]:
    if given is None:
        return (usual,) * 3
    found = tuple(map(float, given)) if hasattr(given, "__len__") else (float(given),) * 3
    if len(found) != 3 or (usual and 0.0 in found):
        raise DataError(f"the preset scales pictures by `{given}`, which are not three numbers")
    return found


def _tuple(values: Iterator[float]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third
