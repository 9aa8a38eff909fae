"""Look at many files in parallel: digest, facts, or the reason why a file is no picture.

Facts are cached under the digest of the bytes; a file that cannot be used is looked at anew each time.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core.console import Console, Progress
from headstart.core.settings import count_threads
from headstart.core.storage.cache import Store
from headstart.core.storage.locations import count_readers
from headstart.core.storage.row_cache import RowStore, parse_keys
from headstart.core.types import OWN_RANGES, PixelRanges, SkippedFile
from headstart.images import descriptors
from headstart.images.descriptors import describe_picture
from headstart.images.file_formats import HEAD_BYTES, PictureError, detect_format
from headstart.images.preprocessing import read_bytes

_CHUNK = 16  # files a task looks at
_BLOCK = 1024  # new facts that go to the cache together
_COLUMN = "facts"


@dataclass(frozen=True, slots=True, eq=False)
class FileInspection:
    """A usable picture: its SHA-256 hex digest and the (ROW_WIDTH,) float32 facts of `headstart.images.descriptors`."""

    uri: str
    digest: str
    file_bytes: int
    row: np.ndarray
    cached: bool


@dataclass(slots=True, eq=False)
class Inspections:
    """All files of a set, the usable ones column by column: objects for each of a million would take gigabytes."""

    uris: list[str]  # of N pictures, in the order of the files
    digests: list[str]
    file_bytes: np.ndarray  # (N,) int64
    rows: np.ndarray  # (N, ROW_WIDTH) float32
    skipped: list[SkippedFile]  # all other files

    def update(self, inspector: FileInspector, positions: np.ndarray, console: Console) -> None:
        """Look again at pictures (M,), in another way; what cannot be read now is skipped."""
        left = np.ones(len(self.uris), bool)
        with console.show_progress("read", len(positions), "files") as progress:
            uris = [self.uris[at] for at in positions.tolist()]
            for at, answer in zip(
                positions.tolist(), inspector.inspect_files(uris, count_threads(), progress), strict=True
            ):
                if isinstance(answer, SkippedFile):
                    self.skipped.append(answer)
                    left[at] = False
                else:
                    self.digests[at], self.file_bytes[at], self.rows[at] = answer.digest, answer.file_bytes, answer.row
        self.take(np.flatnonzero(left))

    def take(self, positions: np.ndarray) -> None:
        """Leave pictures (M,) alone, in their order; the caller says what becomes of the others."""
        if np.array_equal(positions, np.arange(len(self.uris))):
            return
        self.uris, self.digests = ([column[at] for at in positions] for column in (self.uris, self.digests))
        self.file_bytes, self.rows = self.file_bytes[positions], self.rows[positions]


class FileInspector:
    """Looks at files below a root and remembers their facts.

    `settings` are those of a job that the formats of the files look at.
    """

    def __init__(self, root: str, store: Store, ranges: PixelRanges = OWN_RANGES) -> None:
        self.root, self.ranges = root, ranges
        self.settings = set[str]()
        self._scratch = store.root / "scratch"
        self._known = RowStore(
            store.root / "facts" / descriptors.cache_key(ranges), {_COLUMN: descriptors.ROW_WIDTH}, report=store.report
        )

    def inspect_all(self, uris: list[str], console: Console) -> Inspections:
        """Look at all files."""
        used, digests, skipped = list[str](), list[str](), list[SkippedFile]()
        file_bytes = np.empty(len(uris), np.int64)
        rows = np.empty((len(uris), descriptors.ROW_WIDTH), np.float32)
        with console.show_progress("read", len(uris), "files") as progress:
            for answer in self.inspect_files(uris, count_threads(), progress):
                if isinstance(answer, SkippedFile):
                    skipped.append(answer)
                    continue
                file_bytes[len(used)], rows[len(used)] = answer.file_bytes, answer.row
                used.append(answer.uri)
                digests.append(answer.digest)
        return Inspections(used, digests, file_bytes[: len(used)], rows[: len(used)], skipped)

    def inspect_files(
        self, uris: list[str], threads: int, progress: Progress
    ) -> Iterator[FileInspection | SkippedFile]:
        """One answer a file, in order; new facts are cached even when the caller stops early."""
        new: list[FileInspection] = []
        try:
            for answer in self._inspect_in_parallel(uris, threads):
                progress.count_done(1, cached=isinstance(answer, FileInspection) and answer.cached)
                if isinstance(answer, FileInspection) and not answer.cached:
                    new.append(answer)
                    if len(new) >= _BLOCK:
                        self._cache_facts(new)
                yield answer
        finally:
            self._cache_facts(new)

    def _cache_facts(self, inspections: list[FileInspection]) -> None:
        if inspections:
            self._known.add_rows(
                parse_keys([inspection.digest for inspection in inspections]),
                {_COLUMN: np.stack([inspection.row for inspection in inspections])},
            )
            inspections.clear()

    def _inspect_in_parallel(self, uris: list[str], threads: int) -> Iterator[FileInspection | SkippedFile]:
        waiting: deque[Future[list[FileInspection | SkippedFile]]] = deque()
        readers = count_readers(self.root, threads)
        chunk = _CHUNK if readers == threads else 1  # each of many readers waits for its own file
        pool = ThreadPoolExecutor(readers, thread_name_prefix="look")
        try:
            for start in range(0, len(uris), chunk):
                waiting.append(pool.submit(self._inspect_chunk, uris[start : start + chunk]))
                if len(waiting) > 4 * readers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _inspect_chunk(self, uris: list[str]) -> list[FileInspection | SkippedFile]:
        return [self._inspect_file(uri) for uri in uris]

    def _inspect_file(self, uri: str) -> FileInspection | SkippedFile:
        try:
            content = read_bytes(os.path.join(self.root, uri))  # noqa: PTH118 - millions of calls
            self.settings |= detect_format(content[:HEAD_BYTES]).settings
            digest = hashlib.sha256(content).hexdigest()
            position = self._known.find_rows(parse_keys([digest]))
            if position[0] >= 0:
                row = self._known.take_rows(_COLUMN, position, self._scratch)[0]
                return FileInspection(uri, digest, len(content), np.array(row), True)
            return FileInspection(uri, digest, len(content), self._describe_row(content), False)
        except PictureError as err:
            return SkippedFile(uri=uri, reason=err.reason, detail=err.detail)

    def _describe_row(self, content: bytes) -> np.ndarray:
        return descriptors.to_row(describe_picture(content, self.ranges))


def lower_suffix(uri: str) -> str:
    """`.jpg` for `cat/A.JPG`; empty without one."""
    return Path(uri).suffix.lower()
