"""Weights are data: files of kinds that hold numbers alone, told by their names and their first bytes."""

from __future__ import annotations

from headstart.core.errors import DataError

_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill", ".npy", ".npz")
_BEGINS = {".safetensors": None, ".h5": b"\x89HDF\r\n\x1a\n", ".json": b"{", ".xml": b"<", ".bin": b""}


def require_numbers(name: str, head: bytes, where: str) -> None:
    """Refuse a file that is not of a kind that holds numbers alone, by its name and its first 16 bytes.

    Raises:
        DataError: It is a pickle, or not what its name says, or of a kind that is not read.
    """
    suffix = f".{name.rpartition('.')[2].lower()}"
    protocol = len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5
    if suffix in _PICKLES or protocol or head.startswith(b"PK\x03\x04"):
        raise DataError(
            f"`{name}` is a pickle or may hold one, which could run anything; nothing was opened", where=where
        )
    if suffix not in _BEGINS:
        raise DataError(f"`{name}` is of a kind that is not taken: {', '.join(_BEGINS)} are", where=where)
    begins = _BEGINS[suffix]
    right = head[8:9] == b"{" if begins is None else head.startswith(begins)
    if not right:
        raise DataError(f"`{name}` does not begin as a {suffix} file does", where=where)
