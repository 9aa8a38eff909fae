"""The files of a KerasHub preset, looked into before anything is opened.

Its JSON names classes that KerasHub would import and call: only those of Keras and KerasHub are let through, none that
runs what it is given (Lambda and its like), no pickle, no weights that lie elsewhere.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from headstart.core.errors import DataError
from headstart.core.storage.files import format_printable
from headstart.networks.formats.safe_formats import PICKLES, require_weights, runs_code

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
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,150}\.(?:h5|safetensors)")
_MAX_JSON_BYTES = 50_000_000


def list_files(folder: Path) -> dict[str, Path]:
    """Name -> file of everything that belongs to a preset, each looked into; nothing is opened by KerasHub.

    `DataError` where a file is missing, may be a pickle, is another kind than its name says, names code that is not
    Keras' or KerasHub's, or lies elsewhere.
    """
    refused = next((path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _REFUSED), None)
    if refused is not None:
        why = "a file of its kind may be a pickle, which runs code when it is opened"
        hint = "a preset is JSON, .h5 or .safetensors: take such files away, or save it with save_to_preset"
        raise DataError(f"`{format_printable(refused.name)}` is refused: {why}", where=str(refused), hint=hint)
    if not (folder / CONFIG).is_file():
        raise DataError(f"`{folder}` is no preset: it has no `{CONFIG}`", where=str(folder), hint="save_to_preset")
    names = (*SMALL, *(f"{TOKENIZER}/{name}" for name in ASSETS))
    files = {name: folder / name for name in names if (folder / name).is_file()}
    for name, path in files.items():
        if path.suffix == ".json" and not name.startswith(TOKENIZER):
            require_plain(path)
    files |= {name: folder / name for name in list_weights(folder)}
    for name, path in files.items():
        if not path.is_file():
            raise DataError(f"`{folder.name}` lacks `{name}`", where=str(folder), hint="copy the preset again")
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"`{name}` of `{folder.name}` leads out of its folder", where=str(path))
        if path.suffix in (".h5", ".safetensors"):
            require_weights(name, path, str(path))
    return files


def list_weights(folder: Path) -> tuple[str, ...]:
    """Names of the files with weights, of several the list of them first; `DataError` where none are whole."""
    for single, index in WAYS:
        if (folder / single).is_file():
            return (single,)
        if (folder / index).is_file():
            return (index, *list_shards(folder / index))
    raise DataError(f"`{folder.name}` has no weights: `{WEIGHTS}`, `{SHARDS}` or `{TENSORS}`", where=str(folder))


def list_shards(index: Path) -> tuple[str, ...]:
    """The files that a list of weights names, sorted; `DataError` where it is no list, or a name leads elsewhere."""
    content = read_json(index)
    by_weight = content.get("weight_map")
    if not isinstance(by_weight, dict):
        raise DataError(f"`{index.name}` says not where the weights are", where=str(index))
    names = {name for entry in by_weight.values() for name in (entry if isinstance(entry, list) else [entry])}
    wrong = [name for name in names if not isinstance(name, str) or not _SHARD.fullmatch(name)]
    if wrong:
        what = f"`{index.name}` names `{format_printable(str(wrong[0])[:100])}`, which is no file beside it"
        raise DataError(what, where=str(index))
    return tuple(sorted(names))


def require_plain(path: Path) -> None:
    """Refuse a JSON file that names code which is not Keras' or KerasHub's, with a `DataError`."""
    foreign = _find_foreign_class(read_json(path))
    if foreign:
        what = f"`{path.name}` names `{format_printable(foreign[:100])}`, which is not of Keras or KerasHub"
        hint = "save the preset with KerasHub's own classes"
        raise DataError(f"{what} and would be run", where=str(path), hint=hint)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of somebody else's; `DataError` where it is none."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise ValueError("it is too large")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise DataError(f"`{path.name}` cannot be read: {err}", where=str(path)) from err
    if not isinstance(content, dict):
        raise DataError(f"`{path.name}` is no description", where=str(path))
    return content


def _find_foreign_class(content: Any) -> str:
    """The first class or function that is not Keras' or KerasHub's, as `module.name`; empty where there is none."""
    if isinstance(content, list):
        return next((foreign for item in content if (foreign := _find_foreign_class(item))), "")
    if not isinstance(content, dict):
        return ""
    class_name = content.get("class_name")
    if class_name is not None and ("config" in content or "registered_name" in content):
        module, registered = content.get("module"), content.get("registered_name")
        package = str(module or "").partition(".")[0]
        owner = str(registered or "").partition(">")[0] if ">" in str(registered or "") else ""
        is_known = package == "" or package in _PACKAGES or (package == "builtins" and class_name == "function")
        if runs_code(class_name) or not is_known or (owner and owner not in _PACKAGES):
            return f"{module or owner}.{class_name}"
    return next((foreign for item in content.values() if (foreign := _find_foreign_class(item))), "")
