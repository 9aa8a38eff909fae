"""What a worker does of a pass: the pictures of a chunk through a trunk that came as files.

A worker needs neither the backbone's source nor a cache. The trunk is compiled once a process; a vector does not depend
on the number of threads.
"""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.core.errors import SetupError
from headstart.core.settings import INFERENCE_BATCH
from headstart.core.storage.files import translate_disk_errors
from headstart.core.storage.hashing import file_digest
from headstart.core.storage.locations.names import is_reachable
from headstart.core.types import InputSpec
from headstart.images.preprocessing import decode_batches
from headstart.networks.openvino_engine import Engine

if TYPE_CHECKING:
    from headstart.core.types import Dataset

_FILES = ("trunk.xml", "trunk.bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkFiles:
    """A trunk as OpenVINO reads it; equal where what it computes is equal.

    `contents` are the bytes (n,) uint8 of its files, `dtype` and `views` those of the pictures that it takes.
    """

    digest: str
    dtype: str
    views: int
    contents: tuple[np.ndarray, ...] = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkTrunk:
    """What all chunks of a pass share: the trunk, the folder or address of the pictures, and how they are seen."""

    trunk: TrunkFiles
    root: str
    input: InputSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkFiles:
    """The pictures of a chunk: paths below the root, and SHA-256 hex digests of their bytes."""

    uris: tuple[str, ...]
    digests: tuple[str, ...]


def read_trunk_files(folder: Path, *, dtype: str, views: int) -> TrunkFiles:
    """The trunk of a folder of the cache, to be sent."""
    contents = tuple(np.fromfile(folder / name, np.uint8) for name in _FILES)
    digest = "-".join(file_digest(folder / name) for name in _FILES)
    return TrunkFiles(digest=digest, dtype=dtype, views=views, contents=contents)


def take_files(data: Dataset, rows: np.ndarray) -> ChunkFiles:
    """What a worker needs to know of rows (m,) of a data set."""
    places = rows.tolist()
    return ChunkFiles(uris=tuple(data.uris[row] for row in places), digests=tuple(data.digests[row] for row in places))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadyTrunk:
    """A compiled trunk and what all chunks share."""

    engine: Engine
    shared: ChunkTrunk


def prepare_trunk(shared: ChunkTrunk, threads: int) -> ReadyTrunk:
    """Compile the trunk, once a process.

    Raises:
        SetupError: The pictures' folder is not there, the disk is full, or OpenVINO cannot compile the trunk.
    """
    if not is_reachable(shared.root):
        hint = "put the pictures where all machines see them under one path, or in an object store"
        raise SetupError(f"the folder of the pictures `{shared.root}` is not there", hint=hint)
    return ReadyTrunk(engine=_compile_trunk(shared.trunk, threads), shared=shared)


def embed_chunk(prepared: ReadyTrunk, part: ChunkFiles, threads: int) -> tuple[np.ndarray, ...]:
    """Vectors (m, D) float32 of the pictures of a chunk, one array a feature level.

    Raises:
        DataError: A picture changed since it was read.
    """
    shared = prepared.shared
    pictures = decode_batches(
        shared.root,
        part.uris,
        np.arange(len(part.uris)),
        shared.input,
        batch=INFERENCE_BATCH,
        threads=threads,
        digests=part.digests,
    )
    answers = [answer for _, answer in prepared.engine.run(pictures)]
    return tuple(np.concatenate(level) for level in zip(*answers, strict=True))


@functools.lru_cache(maxsize=1)
def _compile_trunk(trunk: TrunkFiles, threads: int) -> Engine:
    place = Path(tempfile.gettempdir())
    with translate_disk_errors(place), tempfile.TemporaryDirectory(dir=place) as name:
        for file, content in zip(_FILES, trunk.contents, strict=True):
            content.tofile(Path(name) / file)
        path = Path(name) / _FILES[0]
        return Engine(path, threads=threads, dtype=trunk.dtype, views=trunk.views, mapped=False)
