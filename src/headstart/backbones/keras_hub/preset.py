"""A KerasHub preset in a folder, opened by KerasHub once `preset_files` has looked into all of it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.backbones.keras_hub.preset_files import CONFIG, list_files, read_json
from headstart.core import extras
from headstart.core.errors import DataError, SetupError
from headstart.core.types import InputSpec

_SIDE_PX = 224


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedPreset:
    """An opened preset.

    Attributes:
        backbone: `keras_hub.models.Backbone` in float32.
        scaling: How it is known how pictures go in, one clause; `guess` where that is one.
        notes: What of the preset's own preprocessing is only nearly followed.
        task: Settings of the preset's own classifier.
    """

    backbone: Any
    input: InputSpec
    scaling: str
    guess: bool
    notes: tuple[str, ...]
    task: Mapping[str, Any]


def load_keras_hub() -> Any:
    """The module `keras_hub`; `SetupError` where it is not installed, or cannot be loaded."""
    require_installed()
    from headstart.networks.framework_state import silence_frameworks

    try:
        with silence_frameworks():  # TensorFlow, which it loads whatever backend Keras has
            import keras_hub
    except ImportError as err:
        hint = extras.format_install_command("hub")
        raise SetupError(f"KerasHub, which opens this backbone, cannot be loaded: {err}", hint=hint) from err
    return keras_hub


def require_installed() -> None:
    """Refuse at once, with a `SetupError`, what only KerasHub can open, where it is not installed; it is not loaded."""
    if extras.list_missing_packages("hub"):
        hint = extras.format_install_command("hub")
        raise SetupError("KerasHub, which opens this backbone, is not installed", hint=hint)


def open_preset(folder: Path, side: int = 0) -> OpenedPreset:
    """Open a preset; `SetupError` without KerasHub, `DataError` where it cannot be read or takes no pictures.

    `side` are the pixels of its pictures, where they are to be others than those that it was saved with.
    """
    list_files(folder)
    wanted_shape = {"image_shape": (side, side, 3)} if side else {}
    with convert_errors(folder):
        backbone = load_keras_hub().models.Backbone.from_preset(str(folder), dtype="float32", **wanted_shape)
    converter, scaling = _find_converter(folder)
    symbolic = getattr(backbone, "vision_encoder", backbone).input
    inputs = list(symbolic.values()) if isinstance(symbolic, dict) else [symbolic]
    shape = tuple(inputs[0].shape[1:])
    if len(inputs) != 1 or len(shape) != 3 or shape[-1] != 3:
        what = f"`{type(backbone).__name__}` takes no RGB pictures: it is no backbone for them"
        raise DataError(what, where=str(folder))
    spec, notes = _make_input_spec(converter, shape, quiet=bool(side))
    task = read_json(folder / "task.json").get("config", {}) if (folder / "task.json").is_file() else {}
    return OpenedPreset(
        backbone=backbone,
        input=spec,
        scaling=scaling,
        guess=converter is None,
        notes=notes,
        task=task if isinstance(task, dict) else {},
    )


@contextlib.contextmanager
def convert_errors(folder: Path) -> Iterator[None]:
    """What KerasHub raises while it reads a preset becomes a `DataError` of the folder; its warnings are not shown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dealings with Keras and NumPy
            yield
    except (ValueError, TypeError, OSError, KeyError, AttributeError, ImportError, RuntimeError) as err:
        why = str(err).strip().partition("\n")[0]
        what = f"KerasHub cannot read `{folder.name}`: {type(err).__name__}: {why}"
        raise DataError(what, where=str(folder), hint="is it whole, and of the installed KerasHub?") from err


def _find_converter(folder: Path) -> tuple[Any, str]:
    """The preset's own image converter, and from where it is known; None where it has none."""
    for name in ("image_converter.json", "preprocessor.json"):
        if (folder / name).is_file():
            content = read_json(folder / name)
            inner = content if name == "image_converter.json" else content.get("config", {}).get("image_converter")
            if isinstance(inner, dict):
                import keras

                with convert_errors(folder):
                    return keras.saving.deserialize_keras_object(inner), f"in the preset's {name}"
    if "registered_name" not in read_json(folder / CONFIG):  # timm or transformers: KerasHub's converters know
        with convert_errors(folder):
            converter = load_keras_hub().layers.ImageConverter.from_preset(str(folder))
        return converter, "by KerasHub's converter of the preset"
    return None, "the preset says nothing of it"


def _make_input_spec(converter: Any, shape: tuple[Any, ...], *, quiet: bool) -> tuple[InputSpec, tuple[str, ...]]:
    """How pictures go in: KerasHub's `x * scale + offset` is our `(x - mean) / std`; `quiet` says nothing of sides."""
    network_side = shape[0] if shape[0] and shape[0] == shape[1] else 0
    if shape[0] != shape[1]:
        raise DataError(f"the preset takes pictures of {shape[0]} x {shape[1]}, not square ones")
    if converter is None:
        return InputSpec(size_px=network_side or _SIDE_PX, crop_fraction=1.0, mean=(127.5,) * 3, std=(127.5,) * 3), ()
    notes = []
    own = converter.image_size or (0, 0)
    side = network_side or (own[0] if own[0] == own[1] else min(own)) or _SIDE_PX
    if network_side and own[0] and network_side != own[0] and not quiet:
        sides = f"its preprocessor gives {own[0]} px and its network takes {network_side} px"
        notes.append(f"{sides}: {network_side} px are given")
    interpolation = converter.interpolation
    if interpolation not in ("bilinear", "bicubic"):
        notes.append(f"its preprocessor resizes by `{interpolation}`: bicubic is used")
    if converter.pad_to_aspect_ratio:
        notes.append("its preprocessor pads pictures to a square: the middle is cut out instead")
    squash = not (converter.crop_to_aspect_ratio or converter.pad_to_aspect_ratio)
    scale, offset = _require_three(converter.scale, 1.0), _require_three(converter.offset, 0.0)
    mean: Any = tuple(-o / s for o, s in zip(offset, scale, strict=True))
    std: Any = tuple(1.0 / s for s in scale)
    return InputSpec(
        size_px=side,
        resize="squash" if squash else "crop",
        interpolation=interpolation if interpolation in ("bilinear", "bicubic") else "bicubic",
        crop_fraction=1.0,
        mean=mean,
        std=std,
    ), tuple(notes)


def _require_three(value: Any, default: float) -> tuple[float, ...]:
    value = default if value is None else value
    numbers = tuple(map(float, value)) if hasattr(value, "__len__") else (float(value),) * 3
    if len(numbers) != 3 or (default and 0.0 in numbers):
        raise DataError(f"the preset scales pictures by `{value}`, which are not three numbers")
    return numbers
