"""An array that lies in a file without a name: as large as the disk allows, gone with the array."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from headstart.core.storage.files import translate_disk_errors


def make_unlinked_array(shape: tuple[int, int], scratch: Path) -> np.ndarray:
    """A writable float32 array in a file that has no name and goes when the array goes.

    Args:
        shape: Of the array.
        scratch: Folder for the file; made where it is missing.

    Raises:
        SetupError: The disk is full, read-only or not permitted.
    """
    with translate_disk_errors(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=scratch) as holder:
            if hasattr(os, "posix_fallocate"):  # a full disk is an error here; later it would be the end of the process
                os.posix_fallocate(holder.fileno(), 0, shape[0] * shape[1] * 4)
            return np.memmap(holder, dtype=np.float32, mode="w+", shape=shape).view(np.ndarray)
