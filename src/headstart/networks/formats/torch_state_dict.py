"""PyTorch's state-dict files without PyTorch, and without running anything they say.

The legacy stream is read: pickled magic, protocol, system facts, the dict, storage keys, then raw storages. The
unpickler knows ordered dicts, tensors and typed storages; any other global is refused by name before it could be
called. Shapes, strides and offsets are checked against the storage they point into.
"""

from __future__ import annotations

import io
import math

# The one place where pickle is imported: `Unpickler` is subclassed so that it can only make ordered dicts and arrays.
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from headstart.core.errors import DataError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {"Double": "<f8", "Float": "<f4", "Half": "<f2", "Long": "<i8", "Int": "<i4", "Short": "<i2"}
_DTYPES |= {"Char": "i1", "Byte": "u1", "Bool": "?"}
_BROKEN = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError),
    *(LookupError, OverflowError, MemoryError, RecursionError, ImportError),
)


@dataclass(frozen=True, slots=True)
class _Kind:
    dtype: np.dtype[Any]


@dataclass(slots=True)
class _Storage:
    """Numbers in a row; filled once their place in the file is reached."""

    dtype: np.dtype[Any]
    count: int
    values: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def to_array(self) -> np.ndarray:
        values = self.storage.values
        if values is None:
            raise ValueError("a tensor without a storage")
        if min((0, self.offset, *self.shape, *self.strides)) < 0 or len(self.shape) != len(self.strides):
            raise ValueError("a tensor with a negative or missing size")
        count = math.prod(self.shape)
        reach = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)) + 1
        if count and (reach > values.size or count > values.size):
            raise ValueError("a tensor that reaches beyond its storage")
        if not count:
            return np.empty(self.shape, values.dtype)
        steps = tuple(step * values.itemsize for step in self.strides)
        view = np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps, writeable=False)
        return view.copy()


def _rebuild_tensor(storage: Any, offset: int, shape: Any, strides: Any, *ignored: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    **{("torch", f"{name}Storage"): _Kind(np.dtype(code)) for name, code in _DTYPES.items()},
}


class _Reader(pickle.Unpickler):
    """Makes dicts, lists, numbers, strings and tensors; nothing else exists for it."""

    def __init__(self, stream: BinaryIO, storages: dict[str, _Storage]) -> None:
        super().__init__(stream)
        self.storages = storages

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(f"the file asks for `{module}.{name}`, which weights do not need; it was not run") from None

    def persistent_load(self, pid: Any) -> _Storage:
        word, kind, key, _location, count, *view = pid
        if word != "storage" or not isinstance(kind, _Kind) or any(view) or not isinstance(count, int) or count < 0:
            raise ValueError("a storage of an unknown kind")
        return self.storages.setdefault(str(key), _Storage(kind.dtype, count))


def parse_state_dict(content: bytes, *, where: str) -> dict[str, np.ndarray]:
    """Name -> array of a file that `torch.save(state_dict)` wrote in the legacy layout; `where` names it in errors.

    Raises:
        DataError: It is truncated, no such file, or asks for more than tensors and ordered dicts; then nothing was run.
    """
    try:
        tensors = _parse_stream(content)
        is_named = isinstance(tensors, dict) and all(isinstance(name, str) for name in tensors)
        if not is_named or not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
            raise ValueError("it holds something else than named tensors")
        return {name: tensor.to_array() for name, tensor in tensors.items()}
    except DataError as err:
        raise DataError(err.what, where=where, hint=err.hint) from None
    except _BROKEN as err:
        what = f"the file is no PyTorch state dict, or is cut off: {err}"
        raise DataError(what, where=where, hint="fetch it again") from err


def _parse_stream(content: bytes) -> Any:
    stream, storages = io.BytesIO(content), dict[str, _Storage]()
    header = [_Reader(stream, storages).load() for _ in range(3)]
    if header[:2] != [_MAGIC, _PROTOCOL] or not isinstance(header[2], dict) or not header[2].get("little_endian"):
        raise ValueError("not a little-endian legacy stream")
    tensors = _Reader(stream, storages).load()
    for key in _Reader(stream, {}).load():
        storage = storages[str(key)]
        count = int.from_bytes(stream.read(8), "little", signed=True)
        if count != storage.count:
            raise ValueError(f"storage {key} has {count} numbers, expected {storage.count}")
        numbers = stream.read(count * storage.dtype.itemsize)
        if len(numbers) != count * storage.dtype.itemsize:
            raise EOFError("the last storage is cut off")
        storage.values = np.frombuffer(numbers, storage.dtype)
    return tensors
