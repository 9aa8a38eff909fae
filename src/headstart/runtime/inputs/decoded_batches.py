"""Files in, decoded batches out: the reading half of a prediction, streamed and in order.

Threads decode the next batches while the engines work on the last. A file that cannot be read keeps its place with the
reason, and never stops the stream.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headstart.core.settings import INFERENCE_BATCH
from headstart.core.types import InputSpec
from headstart.images.file_formats import HEAD_BYTES, PictureError, detect_format, has_picture_suffix, is_bare_name
from headstart.images.preprocessing import decode_picture, read_bytes

FILES_AHEAD = 2 * INFERENCE_BATCH  # files decoded beside those in the engines


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """A picture that comes under a name of its own: of an archive, over a wire, or a file that a table names."""

    name: str
    content: bytes | str | Path | PictureError  # of the picture file, or where it lies, or why it could not be had

    def __str__(self) -> str:
        return self.name

    def read_bytes(self) -> bytes:
        """Raises `PictureError` where they could not be had."""
        if isinstance(self.content, PictureError):
            raise self.content
        return self.content if isinstance(self.content, bytes) else read_bytes(os.fspath(self.content))


Source = Path | Content


@dataclass(slots=True)
class Chunk:
    """B files on their way through the trunks."""

    files: list[Source]
    pictures: list[np.ndarray]  # (B, H, W, 3) of its `dtype` for each input; zeros where the file could not be read
    errors: dict[int, str] = field(default_factory=dict)  # position -> why the file could not be read
    features: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)  # (backbone, depth) -> (B, D) float32


def decode_chunks(files: Iterable[Source], inputs: Sequence[InputSpec], *, threads: int, batch: int) -> Iterator[Chunk]:
    """Decode files in parallel and hand them out in order; at most `FILES_AHEAD` files wait."""
    source, waiting = iter(files), deque[tuple[Chunk, list[Future[None]]]]()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        while files_of_chunk := list(itertools.islice(source, batch)):
            count = len(files_of_chunk)
            pictures = [np.zeros((count, *spec.shape), dtype=spec.dtype) for spec in inputs]
            chunk = Chunk(files_of_chunk, pictures)
            waiting.append((chunk, [pool.submit(_decode_file, chunk, at, inputs) for at in range(len(files_of_chunk))]))
            if len(waiting) * batch > FILES_AHEAD:
                yield _await_chunk(*waiting.popleft())
        while waiting:
            yield _await_chunk(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_file(chunk: Chunk, at: int, inputs: Sequence[InputSpec]) -> None:
    try:
        source = chunk.files[at]
        content = source.read_bytes() if isinstance(source, Content) else read_bytes(os.fspath(source))
        for pictures, spec in zip(chunk.pictures, inputs, strict=True):
            pictures[at] = decode_picture(content, spec)
    except PictureError as err:
        chunk.errors[at] = f"{err.reason.replace('_', ' ')}: {err.detail}"


def _await_chunk(chunk: Chunk, jobs: list[Future[None]]) -> Chunk:
    for job in jobs:
        job.result()
    return chunk


def list_entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies directly in a folder, sorted by the bytes of its name; raises `OSError`."""
    with os.scandir(folder) as listing:
        return sorted(listing, key=lambda entry: os.fsencode(entry.name))


def walk_paths(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are named; a folder's pictures, told by their suffix (DICOM may lack it), sorted, sub-folders too.

    A named file is handed on whatever its suffix, and a folder that cannot be listed too: its row says so. Links to
    folders are not followed inside a folder, so a loop of links ends.
    """
    for path in paths:
        yield from _walk_folder(path) if path.is_dir() else (path,)


def _walk_folder(folder: Path) -> Iterator[Path]:
    try:
        entries = list_entries(folder)
    except OSError:
        yield folder
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk_folder(Path(entry.path))
        elif has_picture_suffix(entry.name) or _is_bare_dicom(entry):
            yield Path(entry.path)


def _is_bare_dicom(entry: os.DirEntry[str]) -> bool:
    """Whether a file without a suffix is DICOM."""
    if not is_bare_name(entry.name):
        return False
    try:
        with open(entry.path, "rb") as handle:  # noqa: PTH123
            return "DICOM" in detect_format(handle.read(HEAD_BYTES)).names
    except (OSError, PictureError):
        return False
