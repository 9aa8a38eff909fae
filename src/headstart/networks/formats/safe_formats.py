"""Weights are data: files of kinds that hold numbers alone, told by their names and their first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from headstart.core.errors import DataError
from headstart.core.storage.unpacking import MEMBERS, require_bounded

PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill", ".mar", ".npy", ".npz")
_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
HEAD_BYTES = 64  # of a file's beginning are enough for all that is told here
_HDF5 = b"\x89HDF\r\n\x1a\n"
_BEGINS = {".safetensors": None, ".h5": _HDF5, ".json": b"{", ".xml": b"<", ".bin": b"", ".onnx": b"\x08"}


def may_be_pickle(name: str, head: bytes = b"") -> bool:
    """Whether a file is a pickle, or a zip that may hold one, by its name or its first bytes."""
    protocol = len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5
    return name.lower().endswith(PICKLES) or protocol or head.startswith(b"PK\x03\x04")


def runs_code(kind: object) -> bool:
    """Whether a layer of this `class_name`, module in front or not, runs Python code or another framework's file."""
    return str(kind).rpartition(".")[2] in _CODE


def leads_elsewhere(name: str) -> bool:
    """Whether the name of a member of an archive is not one below the archive: absolute, upwards, or on a drive."""
    return name.startswith(("/", "\\")) or ":" in name or ".." in name.replace("\\", "/").split("/")


def require_numbers(name: str, head: bytes, where: str) -> None:
    """Refuse a file that is not of a kind that holds numbers alone, by its name and its first 16 bytes.

    Raises:
        DataError: It is a pickle, or not what its name says, or of a kind that is not read.
    """
    suffix = f".{name.rpartition('.')[2].lower()}"
    if may_be_pickle(name, head):
        raise DataError(
            f"`{name}` is a pickle or may hold one, which could run anything; nothing was opened", where=where
        )
    if suffix not in _BEGINS:
        raise DataError(f"`{name}` is of a kind that is not taken: {', '.join(_BEGINS)} are", where=where)
    begins = _BEGINS[suffix]
    right = head[8:9] == b"{" if begins is None else head.startswith(begins)
    if not right:
        raise DataError(f"`{name}` does not begin as a {suffix} file does", where=where)


def require_weights(name: str, path: Path, where: str) -> None:
    """As `require_numbers`; a DataError too where the file is not as it says itself, or would unpack to too much."""
    with path.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
    require_numbers(name, head, where)
    length = path.stat().st_size
    if (stated := _stated_bytes(name, head)) > length:
        raise DataError(f"`{name}` is cut off: it has {length:,} bytes of {stated:,}", where=where)
    if head.startswith(_HDF5):
        require_plain_hdf5(path, path, name)
    elif name.endswith(".safetensors"):
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy"):
                pass  # opening it checks every offset
        except SafetensorError as err:
            raise DataError(f"`{name}` is no whole safetensors file: {err}", where=where) from err


def require_plain_hdf5(source: Path | IO[bytes], packed: Path, name: str) -> None:
    """Refuse weights that unpack to too much, by the shapes they state, or that lie in other files.

    `packed` is the file that they come in, `source` itself or an archive.

    Raises:
        DataError: They do, or they are no HDF5.
    """
    import h5py

    def iterate_bytes(file: Any) -> Iterator[int]:
        links: list[tuple[str, Any]] = []
        file.visititems_links(lambda *link: links.append(link) if len(links) <= MEMBERS else True)
        for place, link in links:
            entry = file[place] if isinstance(link, h5py.HardLink) else None
            is_array = isinstance(entry, h5py.Dataset)
            if entry is None or (is_array and (entry.external or entry.is_virtual)):
                raise DataError(f"`{place}` of `{name}` lies elsewhere; nothing was read", where=str(packed))
            yield entry.nbytes if is_array else 0

    try:
        with h5py.File(source, "r") as file:
            require_bounded(packed, iterate_bytes(file), name)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as err:  # its library has no common class
        raise DataError(f"`{name}` is no whole HDF5 file: {err}", where=str(packed)) from err


def _stated_bytes(name: str, head: bytes) -> int:
    """How long an HDF5 or safetensors file says at its beginning to be, at least; 0 where it does not.

    HDF5: the end-of-file address of the superblock, versions 0 to 3 (HDF5 File Format Specification, II.A).
    """
    if not head.startswith(_HDF5):
        return 8 + int.from_bytes(head[:8], "little") if name.endswith(".safetensors") else 0
    version = head[8] if len(head) > 8 else 255
    width = head[13] if version < 2 else head[9] if version < 4 else 0
    at = {0: 24 + 2 * width, 1: 28 + 2 * width}.get(version, 12 + 2 * width)
    return int.from_bytes(head[at : at + width], "little") if width in (2, 4, 8) else 0
