"""Archives and arrays are read within bounds, checked on what they state before anything of them is unpacked.

Two megabytes can unpack to more than any memory holds, and a header of 100 bytes can state terabytes. What a file says
of its members is added up first; more than it says is never unpacked, and an array has as many bytes as its shape says.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from headstart.core.errors import DataError
from headstart.core.storage.files import format_printable

if TYPE_CHECKING:
    import numpy as np

MEMBERS = 100_000  # a file may have
GROWTH, GROWN_BYTES = 200, 500_000_000  # it may unpack to so many times its size, or to so much


def count_allowed_bytes(path: Path) -> int:
    """Bytes that the content of a file may have together, once unpacked."""
    return max(GROWN_BYTES, GROWTH * path.stat().st_size)


def require_bounded(path: Path, member_bytes: Iterable[int], name: str = "") -> None:
    """Refuse a file whose members, by what it says of them, are too many or too large together.

    Args:
        path: The file that they are packed in.
        member_bytes: Bytes of each member once unpacked; not looked at beyond the bound.
        name: By which the user knows it, where that is not the file's own.

    Raises:
        DataError: It is beyond the bounds; nothing was unpacked.
    """
    allowed_bytes, total_bytes = count_allowed_bytes(path), 0
    for count, size_bytes in enumerate(member_bytes, 1):
        total_bytes += size_bytes
        if count > MEMBERS or total_bytes > allowed_bytes or size_bytes < 0:
            excess = (
                f"{MEMBERS:,} members" if count > MEMBERS else f"the {allowed_bytes:,} bytes that one of its size may"
            )
            problem = f"`{format_printable(name or path.name)}` unpacks to more than {excess}"
            raise DataError(f"{problem}; nothing was unpacked", where=format_printable(str(path)))


def require_bounded_zip(archive: zipfile.ZipFile, path: Path) -> None:
    """As `require_bounded` for an opened zip, of which no member is read yet."""
    require_bounded(path, (info.file_size for info in archive.infolist()))


def require_whole_array(handle: IO[bytes], size_bytes: int) -> None:
    """Refuse a `.npy` stream of so many bytes whose header states another number of values.

    Raises:
        ValueError: It does, or it is no `.npy`, or holds objects.
    """
    from numpy.lib import format as npy

    read_header = npy.read_array_header_1_0 if npy.read_magic(handle) == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(handle)
    if dtype.hasobject:
        raise ValueError("the array holds Python objects, which are never opened")
    stated_bytes, array_bytes = math.prod(shape) * dtype.itemsize, size_bytes - handle.tell()
    if stated_bytes != array_bytes:
        raise ValueError(f"the array states {stated_bytes:,} bytes, and {array_bytes:,} follow")


def load_array(path: Path, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    """The array of a `.npy` file; raises ValueError where it is not as large as it says, or no plain numbers."""
    import numpy as np

    with path.open("rb") as handle:
        require_whole_array(handle, path.stat().st_size)
    array: np.ndarray = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    return array


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Name -> array of a `.npz` file.

    Raises:
        DataError: It unpacks to too much.
        ValueError: An array of it is not as large as it says.
        zipfile.BadZipFile: It is no whole zip.
    """
    import numpy as np

    with zipfile.ZipFile(path) as archive:
        require_bounded_zip(archive, path)
        for info in archive.infolist():
            with archive.open(info) as member:
                require_whole_array(member, info.file_size)
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


def load_tensors(path: Path) -> dict[str, np.ndarray]:
    """Name -> array of a safetensors file; raises DataError where it is damaged or forged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors: dict[str, Any] = load_file(path)
    except (SafetensorError, KeyError, TypeError, ValueError) as err:
        raise DataError(f"`{path.name}` is no whole safetensors file: {err}", where=str(path)) from err
    return tensors
