"""Tables whose pictures are no files of their own, written once into the cache as files and a table of their paths.

Such are tables in memory (of pandas, Polars or Arrow, or a mapping of columns; none of these libraries is imported),
arrays of pictures, and files of columns that hold pictures as bytes. The entry is named by the digest of the content,
so that the same table is the same data set, and its run can be resumed.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import DataError
from headstart.core.job import Job
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.core.storage.hashing import file_digest
from headstart.data.reading.label_tables import choose_columns
from headstart.data.reading.label_texts import format_value

KIND, TABLE = "tables", "table.jsonl"
_ARRAYS = "uint8 of (N, height, width) or (N, height, width, 3), uint16 or float32 of (N, height, width)"


def unpack_table(files: Sequence[Path], rows: Iterable[Mapping[str, Any]]) -> Path:
    """The table, with a file for each picture beside it, of rows that come from files.

    Raises:
        SetupError: The disk of the cache has no room.
    """

    def write_entry(folder: Path) -> None:
        with (folder / TABLE).open("w", encoding="utf-8", errors="surrogateescape") as handle:
            for row in rows:
                line, pictures = _format_row(row)
                handle.write(line)
                for name, picture in pictures.items():
                    (folder / name).write_bytes(picture)

    key = {"files": [file_digest(file) for file in files]}
    return Store(cache_folder()).make_entry(KIND, key, write_entry) / TABLE


def find_order(data: Any, labels: Any, job: Job) -> tuple[str, ...]:
    """The grades, from the lowest, of labels that are an ordered categorical column of pandas; empty of all others.

    `data` and `labels` are as of `write_memory_data`; `job` may name columns.
    """
    column = labels
    if labels is None and hasattr(data, "dtypes") and not isinstance(data, np.ndarray):
        with suppress(DataError, KeyError):  # told by the reader, or several columns
            column = data[choose_columns(Path("table"), list(map(str, data.columns)), job)["target"]]
    kind: Any = getattr(column, "dtype", None)
    return tuple(map(format_value, kind.categories)) if getattr(kind, "ordered", False) else ()


def is_in_memory(data: Any) -> bool:
    """Whether data is no location."""
    return not isinstance(data, str) and not hasattr(data, "__fspath__")


def write_memory_data(data: Any, labels: Any, store: Store) -> tuple[Path, bool]:
    """The table's file in the cache, and whether the pictures lie beside it too, as those do that came as bytes.

    Args:
        data: A table, whose pictures are paths or bytes; or an array of pictures, N along its first axis.
        labels: N labels of an array of pictures, lists of labels, or a matrix (N, C) of 0 and 1; None for a table.
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
    lines = list[str]()
    for row in zip(*columns.values(), strict=True):
        line, pictures_of_row = _format_row(dict(zip(names, row, strict=True)))
        lines.append(line)
        pictures |= pictures_of_row
    content = "".join(lines).encode("utf-8", "surrogateescape")

    def write_entry(folder: Path) -> None:
        (folder / TABLE).write_bytes(content)
        for name, picture in pictures.items():
            (folder / name).write_bytes(picture)

    return store.make_entry(KIND, hashlib.sha256(content).hexdigest(), write_entry) / TABLE, bool(pictures)


def write_memory_target(target: Any, store: Store) -> Any:
    """Where pictures of a new domain lie: of an array (N, …) a folder in the cache, of a table its file there."""
    if target is None or not is_in_memory(target):
        return target
    if isinstance(target, np.ndarray):
        return write_memory_data(target, [None] * len(target), store)[0].parent
    return write_memory_data(target, None, store)[0]


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
    if getattr(labels, "ndim", 1) == 2:
        return _read_indicators(labels, count)
    values = [] if labels is None else labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if len(values) != count:
        raise DataError(f"{count:,} pictures have {len(values):,} labels", hint="pass as many labels as pictures")
    return values


def _read_indicators(labels: Any, count: int) -> list[Any]:
    """Lists of labels from a matrix (N, C) of 0 and 1, whose columns are named, or numbered from 0."""
    table = np.asarray(labels)
    names = list(map(str, getattr(labels, "columns", range(table.shape[1]))))
    if len(table) != count or not np.isin(table, (0, 1)).all():
        what = f"labels of shape {table.shape} for {count:,} pictures are no matrix of 0 and 1 with a row a picture"
        raise DataError(what, hint="pass a label for each picture, a list of labels, or such a matrix")
    return [[name for name, value in zip(names, row, strict=True) if value] for row in table]


def _to_plain(value: Any) -> Any:
    """A cell as JSON knows it: arrays and sets become lists."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return value.tolist() if hasattr(value, "tolist") else str(value)


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


def _format_row(row: Mapping[str, Any]) -> tuple[str, dict[str, bytes]]:
    """A row as a line of JSON, and by the names of their files the pictures that it holds as bytes."""
    cells, pictures = dict[str, Any](), dict[str, bytes]()
    for column, value in row.items():
        content = value.get("bytes") if isinstance(value, Mapping) else value
        if isinstance(content, bytes):
            cells[column] = f"{hashlib.sha256(content).hexdigest()}.picture"
            pictures[cells[column]] = content
        else:
            cells[column] = value.get("path") if isinstance(value, Mapping) and "path" in value else value
    return f"{json.dumps(cells, default=_to_plain)}\n", pictures
