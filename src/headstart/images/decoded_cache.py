"""Decoded pictures of a data set, as one trunk's input wants them, at hand for many passes.

A few are kept in memory; many lie in one mapped file of the cache, so that 20,000 (3 GB at 224 px) take no memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headstart.core.console import Console, format_bytes
from headstart.core.errors import SetupError
from headstart.core.settings import count_threads
from headstart.core.storage.cache import Store
from headstart.core.storage.files import count_free_bytes, translate_disk_errors
from headstart.core.types import Dataset, InputSpec
from headstart.images import preprocessing

IN_MEMORY = 300_000_000  # bytes
SPARE = 200_000_000  # bytes of the disk that are left free
_BATCH = 64
_FILE = "pictures.npy"


def load_decoded(data: Dataset, rows: np.ndarray, spec: InputSpec, *, store: Store, console: Console) -> np.ndarray:
    """Rows (M,) of a data set as (M, *spec.shape) of `spec.dtype`, not to be written to.

    Raises:
        DataError: A file vanished, changed or cannot be decoded any more.
        SetupError: The disk has no room for them.
    """
    rows, spec = np.asarray(rows, np.int64), data.adapt_input(spec)
    shape, dtype = (len(rows), *spec.shape), np.dtype(spec.dtype)
    size_bytes = math.prod(shape) * dtype.itemsize
    if size_bytes <= IN_MEMORY:
        pixels = np.empty(shape, dtype)
        at = 0
        for part in _iterate_decoded(data, rows, spec, console):
            pixels[at : at + len(part)] = part
            at += len(part)
        pixels.flags.writeable = False
        return pixels

    def write(folder: Path) -> None:
        require_room(folder, size_bytes, f"{len(rows):,} decoded pictures")
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        # Written, not mapped: a full disk is an error.
        with translate_disk_errors(folder), (folder / _FILE).open("wb") as out:
            np.lib.format.write_array_header_1_0(out, header)
            for part in _iterate_decoded(data, rows, spec, console):
                out.write(part.data)

    digests = [data.digests[row] for row in rows.tolist()]
    key = {"pixels": preprocessing.decoder_revision(), "input": spec, "pictures": digests}
    return np.asarray(np.load(store.make_entry("pictures", key, write) / _FILE, mmap_mode="r"))


def _iterate_decoded(data: Dataset, rows: np.ndarray, spec: InputSpec, console: Console) -> Iterator[np.ndarray]:
    batches = preprocessing.decode_batches(
        data.root, data.uris, rows, spec, batch=_BATCH, threads=count_threads(), digests=data.digests
    )
    with console.show_progress("decode", len(rows)) as progress:
        for batch_rows, part in batches:
            yield part
            progress.count_done(len(batch_rows))


def require_room(folder: Path, needed_bytes: int, name: str) -> None:
    """Refuse to begin what the disk has no room for (SetupError); `name` is in words, plural."""
    free = count_free_bytes(folder)
    if needed_bytes + SPARE > free:
        raise SetupError(
            f"{name} need {format_bytes(needed_bytes)} of disk and {format_bytes(SPARE)} are to stay free, but "
            f"{format_bytes(free)} are free",
            where=str(folder),
            hint="free some space, or set HEADSTART_CACHE to a folder on a larger disk",
        )
