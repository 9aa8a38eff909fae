"""The head's input: features of several backbones and depths side by side, in memory or, when large, in a file."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.storage.files import translate_disk_errors
from headstart.core.types import Embeddings, Feature
from headstart.features.embeddings import columns

IN_MEMORY_BYTES = 500_000_000
_CHUNK_ROWS = 8_192


def names(features: Sequence[Feature]) -> tuple[str, ...]:
    """`backbone@depth` of each."""
    return tuple(f"{f.backbone}@{f.depth}" for f in features)


def title(features: Sequence[Feature]) -> str:
    """The same for people, each backbone named once: `a@stage4+stage5, b@last`."""
    depths: dict[str, list[str]] = {}
    for feature in features:
        depths.setdefault(feature.backbone, []).append(feature.depth)
    return ", ".join(f"{backbone}@{'+'.join(found)}" for backbone, found in depths.items())


def flops(embeddings: Sequence[Embeddings], features: Sequence[Feature]) -> int:
    """Operations for one picture through all trunks that the features need."""
    needed = {f.backbone for f in features}
    return sum(e.spec.flops for e in embeddings if e.spec.name in needed)


def _let_go(array: np.ndarray) -> None:
    """Unmap the pages of a mapped file that were read; the next read maps them again. Others are left alone."""
    source: Any = array
    while isinstance(source, np.ndarray):
        source = source.base
    if isinstance(source, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        source.madvise(mmap.MADV_DONTNEED)


@contextmanager
def columns_of_all(
    embeddings: Sequence[Embeddings], features: Sequence[Feature], rows: np.ndarray, scratch: Path
) -> Iterator[np.ndarray]:
    """(M, D) float32 of any number of rows; above 500 MB in a file that vanishes with the block.

    Args:
        embeddings: That hold the features.
        features: In this order.
        rows: (M,) int64 rows of the data set.
        scratch: Folder for the file.

    Raises:
        SetupError: The disk is full.
    """
    width = sum(f.dim for f in features)
    if len(rows) * width * 4 <= IN_MEMORY_BYTES:
        yield columns(embeddings, features, rows)
        return
    with (
        translate_disk_errors(scratch),
        tempfile.NamedTemporaryFile(dir=scratch, prefix=".tmp-", suffix=".f32") as file,
    ):
        for chunk in chunks(rows):
            file.write(columns(embeddings, features, chunk).tobytes())
            for each in embeddings:
                for vectors in each.vectors.values():
                    _let_go(vectors)
        file.flush()
        yield np.memmap(file.name, np.float32, "r", shape=(len(rows), width)).view(np.ndarray)


def chunks(of: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of an array, as many at a time as memory holds easily."""
    for at in range(0, len(of), _CHUNK_ROWS):
        yield of[at : at + _CHUNK_ROWS]
