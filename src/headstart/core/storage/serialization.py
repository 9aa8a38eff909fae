"""Values to disk and back: one JSON file, and one `.npy` file for each array; nothing is pickled.

`save_value(value, folder)` writes `value.json` with arrays replaced by `{"npy": "<path of the field>.npy"}`;
`load_value(Type, folder)` rebuilds the value from its type hints. NaN is null in float fields. The fields of a field
marked `inline` stand among those of its owner.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import math
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from headstart.core.errors import DataError
from headstart.core.storage.files import read_json, write_bytes, write_json
from headstart.core.storage.unpacking import load_array

T = TypeVar("T")


def as_json(value: Any) -> Any:
    """A value as plain JSON, arrays as lists, NaN as null: for `--json` and for pages."""
    if isinstance(value, np.ndarray):
        return as_json(value.tolist())
    return _to_json(value, None, "")


def save_value(value: Any, folder: Path, name: str = "value") -> None:
    """Write a value into a folder, atomically file by file, the JSON last."""
    write_json(folder / f"{name}.json", _to_json(value, folder, name))


def load_value(kind: type[T], folder: Path, name: str = "value") -> T:
    """Read a value of a type back from a folder; arrays are memory-mapped, read-only."""
    value: T = _from_json(read_json(folder / f"{name}.json"), kind, folder)
    return value


def find_value(kind: type[T], folder: Path, name: str = "value") -> T | None:
    """As `load_value`, but None where nothing was saved yet; raises DataError where it is damaged."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    with refuse_damage(path):
        return load_value(kind, folder, name)


@contextlib.contextmanager
def refuse_damage(path: Path) -> Iterator[None]:
    """Turn what reading a damaged or forged file of a run raises, and taking it apart, into a DataError."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as err:
        hint = "run the command that made the run again: what is cached is not done again"
        raise DataError(f"what the run holds is damaged: {err!r}", where=str(path), hint=hint) from err


def _to_json(value: Any, folder: Path | None, where: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        content = dict[str, Any]()
        for f in dataclasses.fields(value):
            part = _to_json(getattr(value, f.name), folder, f"{where}.{f.name}")
            content |= part if f.metadata.get("inline") else {f.name: part}
        return content
    if isinstance(value, np.ndarray):
        return as_json(value) if folder is None else _save_array(value, folder, where)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(k): _to_json(v, folder, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(v, folder, f"{where}.{i}") for i, v in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} at {where} cannot be saved")


def _save_array(array: np.ndarray, folder: Path, where: str) -> dict[str, str]:
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in where) + ".npy"
    write_bytes(folder / name, array_bytes(array))
    return {"npy": name}


def array_bytes(array: np.ndarray) -> bytes:
    """An array as a `.npy` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


@functools.cache
def _type_hints(kind: type) -> dict[str, Any]:
    names = vars(sys.modules[kind.__module__])  # numpy may be imported there for type checkers alone
    return typing.get_type_hints(kind, names | {"np": np})


def _choose_kind(kinds: list[Any], content: Any) -> Any:
    """Of several dataclasses the one with most of the content's fields."""
    if len(kinds) == 1:
        return kinds[0]
    return max(kinds, key=lambda kind: len({f.name for f in dataclasses.fields(kind)} & content.keys()))


def _from_json(content: Any, kind: Any, folder: Path) -> Any:
    if isinstance(content, dict) and content.keys() == {"npy"}:
        if Path(content["npy"]).name != content["npy"]:
            raise ValueError(f"`{content['npy']}` is not the name of a file beside it")
        return load_array(folder / content["npy"], mmap_mode="r")
    if dataclasses.is_dataclass(kind):
        hints, names = _type_hints(typing.cast(type, kind)), {f.name for f in dataclasses.fields(kind)}
        inline = dict.fromkeys((f.name for f in dataclasses.fields(kind) if f.metadata.get("inline")), content)
        parts = {name: part for name, part in (content | inline).items() if name in names}
        return typing.cast(Any, kind)(**{name: _from_json(part, hints[name], folder) for name, part in parts.items()})
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        kinds = [a for a in args if a is not type(None)]
        return None if content is None else _from_json(content, _choose_kind(kinds, content), folder)
    container = list if origin in (tuple, list) else dict
    if (kind in (int, bool, str) and type(content) is not kind) or (origin and not isinstance(content, container)):
        raise TypeError(f"{str(content)[:50]!r} is no {kind}")
    if origin is tuple:
        inner = [args[0]] * len(content) if args[-1] is Ellipsis else args
        return tuple(_from_json(c, a, folder) for c, a in zip(content, inner, strict=True))
    if container is dict and origin:
        return {k: _from_json(v, args[1], folder) for k, v in content.items()}
    if kind is float:
        return math.nan if content is None else float(content)
    return content


def format_yaml(value: Mapping[str, Any]) -> str:
    """A value of plain texts, numbers, lists and dicts as YAML in block form: its own order, UTF-8, a text one line."""
    from yaml import safe_dump

    return str(safe_dump(value, sort_keys=False, allow_unicode=True, width=math.inf))
