"""Labelled pictures in memory, written once into the cache as a table that any reader of tables reads.

Tables are of pandas, Polars or Arrow, or a mapping of columns; none of these libraries is imported. The entry is named
by the digest of its content, so that the same table is the same data set, and its run can be resumed.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import DataError
from headstart.core.storage.cache import Store

KIND, TABLE = "tables", "table.jsonl"
_ARRAYS = "uint8 of (N, height, width) or (N, height, width, 3), uint16 or float32 of (N, height, width)"


def is_in_memory(data: Any) -> bool:
    """Whether data is no location."""
    return not isinstance(data, str) and not hasattr(data, "__fspath__")


def write_memory_data(data: Any, labels: Any, store: Store) -> tuple[Path, bool]:
    """The table's file in the cache, and whether the pictures lie beside it too, as those do that came as bytes.

    Args:
        data: A table, whose pictures are paths or bytes; or an array of pictures, N along its first axis.
        labels: N labels of an array of pictures; None for a table.
        store: The cache.

    Raises:
        DataError: It is none of these, or labels are missing or too many.
    """
    if isinstance(data, np.ndarray):
        columns = {"image": list(map(_encode_picture, data)), "label": _read_labels(labels, len(data))}
    else:
        columns = _read_columns(data)
        if labels is not None:
            columns["label"] = _read_labels(labels, len(next(iter(columns.values()), [])))
    names, pictures = list(columns), dict[str, bytes]()
    rows = (dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True))
    lines = [
        json.dumps({name: _name_bytes(value, pictures) for name, value in row.items()}, default=str) for row in rows
    ]
    content = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")

    def write_entry(folder: Path) -> None:
        (folder / TABLE).write_bytes(content)
        for name, picture in pictures.items():
            (folder / name).write_bytes(picture)

    return store.make_entry(KIND, hashlib.sha256(content).hexdigest(), write_entry) / TABLE, bool(pictures)


def _read_columns(data: Any) -> dict[str, list[Any]]:
    if isinstance(data, Mapping):
        return {str(name): list(values) for name, values in data.items()}
    if hasattr(data, "to_pydict"):  # Arrow
        return {str(name): values for name, values in data.to_pydict().items()}
    if hasattr(data, "columns") and hasattr(data, "__getitem__"):  # pandas, Polars
        return {str(name): data[name].to_list() for name in data.columns}
    what = f"a `{type(data).__name__}` is no data to learn from"
    raise DataError(
        what, hint="pass a folder, a table of pandas, Polars or Arrow, or an array of pictures and its labels"
    )


def _read_labels(labels: Any, count: int) -> list[Any]:
    values = [] if labels is None else labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if len(values) != count:
        raise DataError(f"{count:,} pictures have {len(values):,} labels", hint="pass as many labels as pictures")
    return values


def _encode_picture(picture: np.ndarray) -> bytes:
    """A picture file with the very same values."""
    from PIL import Image

    kind = {"uint8": "PNG", "uint16": "PNG", "float32": "TIFF"}.get(str(picture.dtype))
    is_grey = picture.ndim == 2
    if kind is None or not (is_grey or (picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3)):
        what = f"pictures of {picture.dtype} and shape {picture.shape} are not read from an array"
        raise DataError(what, hint=f"pass {_ARRAYS}")
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(content, kind)
    return content.getvalue()


def _name_bytes(value: Any, pictures: dict[str, bytes]) -> Any:
    """The name of a file for bytes, which alone or beside a path are a picture; any other value as it is."""
    content = value.get("bytes") if isinstance(value, Mapping) else value
    if isinstance(content, bytes):
        name = f"{hashlib.sha256(content).hexdigest()}.picture"
        pictures[name] = content
        return name
    return value["path"] if isinstance(value, Mapping) and value.get("path") else value
