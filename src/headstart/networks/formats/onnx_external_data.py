"""Which files an ONNX file keeps its weights in, read from its bytes; nothing else of it is looked at.

ONNX is a protobuf message: model field 7 is the graph, graph field 5 a tensor, tensor field 13 a pair of texts of which
`location` names a file beside it (onnx.proto3; https://onnx.ai/onnx/repo-docs/ExternalData.html).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from headstart.core.errors import DataError
from headstart.core.storage.files import format_printable
from headstart.networks.formats.safe_formats import leads_elsewhere, may_be_pickle

_EXTERNAL = 13  # of a tensor
# where tensors may lie: kind of message -> its fields, and the kind of message that each holds
_HOLDS: dict[str, tuple[tuple[int, str], ...]] = {
    "model": ((7, "graph"), (20, "training"), (25, "function")),
    "training": ((1, "graph"), (2, "graph")),
    "function": ((7, "node"), (11, "attribute")),
    "graph": ((1, "node"), (5, "tensor"), (15, "sparse")),
    "node": ((5, "attribute"),),
    "attribute": ((5, "tensor"), (6, "graph"), (10, "tensor"), (11, "graph"), (22, "sparse"), (23, "sparse")),
    "sparse": ((1, "tensor"), (2, "tensor")),
}
_DEEPEST = 64  # messages within messages
_WIDTHS = {1: 8, 5: 4}  # of the wire types with a fixed width
_MOST = 64  # files

Span = tuple[int, int]


def list_external_files(path: Path) -> tuple[str, ...]:
    """Names of the files that hold weights of an ONNX file, as paths below its folder, sorted.

    Raises:
        DataError: It is no ONNX file, is cut off, or names a file that lies elsewhere or may be a pickle.
    """
    try:
        with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
            names = sorted(set(_iterate_locations(content)))
    except (ValueError, IndexError, UnicodeDecodeError) as err:
        raise DataError(f"`{path.name}` is no whole ONNX file: {err}", where=str(path)) from err
    for name in names:
        outside = leads_elsewhere(name) or not name.isprintable() or not name.strip()
        if outside or may_be_pickle(name):
            problem = "leads elsewhere" if outside else "may be a pickle"
            what = f"`{path.name}` keeps weights in `{format_printable(name)}`, which {problem}"
            raise DataError(what, where=str(path))
    if len(names) > _MOST:
        raise DataError(f"`{path.name}` keeps its weights in {len(names)} files; up to {_MOST} are fetched")
    return tuple(names)


def _iterate_locations(content: mmap.mmap) -> Iterator[str]:
    for tensor in _iterate_tensors(content, (0, len(content)), "model"):
        for pair in _iterate_fields(content, tensor, _EXTERNAL):
            key, value = (_read_text(content, pair, field) for field in (1, 2))
            if key == "location":
                yield value.removeprefix("./")


def _iterate_tensors(content: mmap.mmap, span: Span, kind: str, depth: int = 0) -> Iterator[Span]:
    if depth > _DEEPEST:
        raise ValueError("its graphs lie too deep within each other")
    if kind == "tensor":
        yield span
    for field, inner_kind in _HOLDS.get(kind, ()):
        for message in _iterate_fields(content, span, field):
            yield from _iterate_tensors(content, message, inner_kind, depth + 1)


def _read_text(content: mmap.mmap, span: Span, field: int) -> str:
    texts = [content[start:end].decode() for start, end in _iterate_fields(content, span, field)]
    return texts[-1] if texts else ""


def _iterate_fields(content: mmap.mmap, span: Span, field: int) -> Iterator[Span]:
    """Where the parts of a message lie that belong to one field."""
    at, end = span
    while at < end:
        tag, at = _read_varint(content, at, end)
        kind, start = tag & 7, at
        if kind == 0:
            _, at = _read_varint(content, at, end)
        elif kind == 2:
            length, start = _read_varint(content, at, end)
            at = start + length
        elif kind in _WIDTHS:
            at += _WIDTHS[kind]
        else:
            raise ValueError("it holds what protobuf does not have")
        if at > end:
            raise ValueError("it is cut off")
        if kind == 2 and tag >> 3 == field:
            yield start, at


def _read_varint(content: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A number in base 128, low digits first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError("it is cut off")
        digit = content[at]
        at += 1
        value |= (digit & 127) << shift
        if digit < 128:
            return value, at
    raise ValueError("it holds a number without an end")
