"""A `.keras` file that somebody else made: looked into before Keras opens it, then laid flat.

A Lambda layer holds Python code, which would run as soon as the file is opened: it is refused by name unless the user
trusts the file. Models inside models are laid flat, so that every layer can be seen, cut behind and trained.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.storage.unpacking import require_bounded_zip
from headstart.networks import openvino_engine
from headstart.networks.blocks import list_tensors
from headstart.networks.cut_points import Node
from headstart.networks.formats.safe_formats import (
    HEAD_BYTES,
    leads_elsewhere,
    may_be_pickle,
    require_plain_hdf5,
    runs_code,
)

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_LIGHT = {"Softmax", "Activation", "Dropout", "Flatten", "Reshape", "Identity", "ConvertToTensor", "SpatialDropout2D"}
_ACTIVE = {"ReLU", "Activation", "PReLU", "LeakyReLU", "ELU", "Relu", "Relu6", "Silu", "Gelu"}
_ARITHMETIC = {"Rescaling", "Normalization", "Add", "Subtract", "Multiply", "Divide", "TrueDivide"}
_AGAIN = "copy or save it again: model.save('NAME.keras')"


def require_safe(path: Path, *, trust: bool) -> str:
    """Look into the file without Keras; the name of a layer that runs code in a trusted file, else empty.

    Raises:
        DataError: It is no whole `.keras` file, or holds a pickle, or Python code and is not trusted.
    """
    try:
        with zipfile.ZipFile(path) as file:
            inside = file.namelist()
            require_bounded_zip(file, path)
            _require_plain(file, path)
            missing = [name for name in (_CONFIG, _WEIGHTS) if name not in inside]
            if missing:
                raise DataError(f"`{path.name}` is no `.keras` file: it has no `{missing[0]}`", where=str(path))
            broken = file.testzip()
            config = json.loads(file.read(_CONFIG)) if broken is None else {}
            if broken is None:
                with file.open(_WEIGHTS) as weights:
                    require_plain_hdf5(weights, path, f"{path.name}: {_WEIGHTS}")
            code = _find_code_layer(config)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RecursionError, zlib.error) as err:
        raise DataError(f"`{path.name}` is no whole `.keras` file: {err}", where=str(path), hint=_AGAIN) from err
    if broken is not None:
        raise DataError(f"`{path.name}` is damaged at `{broken}`", where=str(path), hint=_AGAIN)
    if code and not trust:
        problem = f"the layer `{code}` of `{path.name}` is a Lambda or its like"
        hint = "write the layer without Lambda; or, if you made the file yourself, give `--trust`"
        raise DataError(f"{problem}: code that would run when the file is opened", where=str(path), hint=hint)
    return code


def _require_plain(file: zipfile.ZipFile, path: Path) -> None:
    for name in file.namelist():
        if leads_elsewhere(name):
            problem = f"the member `{name}` of `{path.name}` leads elsewhere"
            raise DataError(f"{problem}; nothing was opened", where=str(path))
        with file.open(name) as member:
            head = member.read(HEAD_BYTES)
        if may_be_pickle(name, head):
            problem = f"`{path.name}` holds the pickle `{name}`, which could run anything"
            raise DataError(f"{problem}; nothing was opened", where=str(path))


def _find_code_layer(config: Any) -> str:
    if isinstance(config, list):
        return next((name for part in config if (name := _find_code_layer(part))), "")
    if not isinstance(config, dict):
        return ""
    if runs_code(config.get("class_name")):
        inner = config.get("config")
        return str(inner.get("name", "lambda") if isinstance(inner, dict) else "lambda")
    return next((name for part in config.values() if (name := _find_code_layer(part))), "")


def load_archive(path: Path, *, trust: bool = False) -> Any:
    """The `keras.Model` of a file.

    Raises:
        DataError: As `require_safe`, or Keras cannot read it, or it is no model from one picture.
    """
    require_safe(path, trust=trust)
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=not trust)
        inputs = model.inputs
    except Exception as err:  # Keras raises what its layers raise
        why = str(err).strip().partition("\n")[0]
        hint = "layers of your own cannot be read; save the model with Keras' layers alone, or as ONNX or SavedModel"
        raise DataError(f"Keras cannot read `{path.name}`: {why}", where=str(path), hint=hint) from err
    shapes = [tuple(tensor.shape) for tensor in inputs or ()]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][3] not in (3, None):
        raise DataError(f"`{path.name}` does not take one batch of RGB pictures: its inputs are {shapes}")
    return model


def export_frozen(path: Path, target: Path) -> None:
    """Write a trusted file with code as OpenVINO IR, so that it never runs again; SetupError where it cannot be."""
    model = load_archive(path, trust=True)
    try:
        with openvino_engine.without_telemetry():
            model.export(str(target), format="openvino", verbose=False)
    except (ImportError, NotImplementedError, RuntimeError, ValueError, TypeError) as err:
        raise SetupError(f"Keras cannot export `{path.name}` to OpenVINO: {err}", where=str(path)) from err


def find_side_px(model: Any) -> int:
    """Side of the pictures that the file takes, 0 where it leaves that open; DataError where they are not square."""
    _, height, width, _ = model.inputs[0].shape
    if height != width:
        raise DataError(f"the file takes pictures of {height} x {width}, not square ones")
    return height or 0


def flatten_model(model: Any, size_px: int, preprocess: Callable[[Any], Any] = lambda pictures: pictures) -> Any:
    """The network without models inside, `preprocess` in front; UsageError where it does not take this size."""
    import keras

    _make_names_unique(model, set())
    pictures = keras.Input((size_px, size_px, 3), name="pictures")
    try:
        flat = keras.Model(pictures, model.call(preprocess(pictures)))
    except (ValueError, TypeError) as err:
        why = str(err).strip().partition("\n")[0]
        raise UsageError(f"the file does not take pictures of {size_px} px: {why}", where="--size") from err
    while any(isinstance(layer, keras.Model) for layer in flat.operations):
        new_input = keras.Input((size_px, size_px, 3), name="pictures")
        flat = keras.models.clone_model(
            flat, input_tensors=new_input, clone_function=lambda layer: layer, call_function=_call_through
        )
    copy = keras.models.clone_model(flat)
    for trained, weight in zip(flat.weights, copy.weights, strict=True):
        weight.assign(trained)
    return copy


def _call_through(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """A model inside gives its layers instead of itself."""
    import keras

    return layer.call(*args, **kwargs) if isinstance(layer, keras.Model) else layer(*args, **kwargs)


def _make_names_unique(model: Any, used_names: set[str]) -> None:
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            if not hasattr(layer, "inputs") or layer.inputs is None:
                raise SetupError(f"the model inside, `{layer.name}`, is written in Python: its layers cannot be seen")
            _make_names_unique(layer, used_names)
        elif layer.name in used_names:
            layer.name = f"{model.name}_{layer.name}"
        used_names.add(layer.name)


def list_nodes(model: Any) -> tuple[list[Node], dict[str, int]]:
    """The graph of a flat model for `headstart.networks.cut_points`, and its outputs: name -> position."""
    nodes: list[Node] = []
    place: dict[int, int] = {}
    for layer in model.operations:
        inputs = list_tensors(layer.input) if type(layer).__name__ != "InputLayer" else []
        parents = tuple(dict.fromkeys(place[id(tensor)] for tensor in inputs if id(tensor) in place))
        outputs = list_tensors(layer.output)
        place |= {id(tensor): len(nodes) for tensor in outputs}
        kind = type(layer).__name__
        shape = tuple(outputs[0].shape[1:]) if len(outputs) == 1 and kind != "ConvertToTensor" else ()
        usable = len(shape) in (1, 2, 3) and None not in shape
        places = [shape[:2], *(nodes[at].shape[:2] for at in parents)]
        dense = (kind == "Dense" and len(shape) == 1) or (kind == "Conv2D" and places == [(1, 1)] * 2)
        nodes.append(
            Node(
                name=layer.name,
                parents=parents,
                shape=shape if usable else (),
                dense=dense and len(parents) == 1,
                light=kind in _LIGHT and len(parents) == 1,
                active=kind in _ACTIVE,
            )
        )
    ends = [place[id(tensor)] for tensor in model.outputs]
    return nodes, {nodes[at].name.removeprefix("pool_"): at for at in ends}


def find_first_arithmetic(model: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """(a, b) of `a x + b` that a flat model does to values before anything else; None where it does nothing."""
    import keras

    end, does = None, False
    for operation in model.operations[1:]:
        kind = type(operation).__name__
        if kind not in (*_ARITHMETIC, "ConvertToTensor") or isinstance(operation.input, list | tuple):
            break
        end, does = operation.output, does or kind in _ARITHMETIC
    if not does:
        return None
    part, blank = keras.Model(model.inputs, end), np.zeros((1, *model.inputs[0].shape[1:]), np.float32)
    zero, one = (np.asarray(part.predict_on_batch(values), np.float64) for values in (blank, blank + 1))
    return one - zero, zero


def find_first_kernel(model: Any) -> np.ndarray | None:
    """(filters, n) of the first convolution; None where there is none."""
    for layer in model.layers:
        if type(layer).__name__ == "Conv2D":
            values = np.asarray(layer.kernel)
            return values.reshape(math.prod(values.shape[:-1]), -1).T
    return None
