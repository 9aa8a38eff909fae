"""A cache of fixed-width rows under 32-byte keys: vectors of pictures by the SHA-256 of their bytes.

One folder holds, append-only: `<column>.f32` or `.f16` (raw rows), `keys.bin` (32 bytes a row) and `blocks.jsonl`
(first row, rows and SHA-256 of each block). The line is written last, after a sync, so a block is there whole or not at
all. Blocks are checked before their first use; a damaged one is struck out, and its rows are missing again.
Several processes may add to one folder: they take turns.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.storage.files import translate_disk_errors

KEY_BYTES = 32
_RAM_BYTES = 16_000_000
_CHUNK_ROWS = 4096
_KEY = "S32"  # without zeros at their end, which tells no two apart
_MERGED = 50_000  # new keys that are merged together


@dataclass(frozen=True, slots=True)
class _Block:
    start: int
    n: int
    sha256: str


class _KeyIndex:
    """The first row of each key: sorted arrays of 40 bytes a key, and a dict of the newest, which are merged in."""

    def __init__(self) -> None:
        self._keys, self._rows = np.empty(0, _KEY), np.empty(0, np.int64)
        self._new: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._keys) + len(self._new)

    def find_rows(self, keys: np.ndarray) -> np.ndarray:
        """(M,) int64 rows of keys (M, 32) uint8; -1 for what is not there."""
        texts = _join_bytes(keys)
        rows = np.full(len(texts), -1, np.int64)
        if len(self._keys):
            places = np.minimum(np.searchsorted(self._keys, texts), len(self._keys) - 1)
            rows = np.where(self._keys[places] == texts, self._rows[places], -1)
        if self._new:
            missing = np.flatnonzero(rows < 0)
            rows[missing] = [self._new.get(key, -1) for key in texts[missing].tolist()]
        return rows

    def add_keys(self, keys: np.ndarray, start: int) -> None:
        """Rows from `start` on have keys (M, 32) uint8; of a key that is there the first row stays."""
        new = np.flatnonzero(self.find_rows(keys) < 0)
        for row, key in zip(new.tolist(), _join_bytes(keys)[new].tolist(), strict=True):
            self._new.setdefault(key, start + row)
        if len(self._new) > _MERGED:
            self._merge()

    def forget_rows(self, start: int, stop: int) -> None:
        """Rows from `start` to before `stop` are there no more."""
        self._merge()
        left = (self._rows < start) | (self._rows >= stop)
        self._keys, self._rows = self._keys[left], self._rows[left]

    def _merge(self) -> None:
        keys, rows = np.array(list(self._new), _KEY), np.array(list(self._new.values()), np.int64)
        order = np.argsort(keys)
        places = np.searchsorted(self._keys, keys[order])
        self._keys = np.insert(self._keys, places, keys[order])
        self._rows = np.insert(self._rows, places, rows[order])
        self._new = {}


def _join_bytes(keys: np.ndarray) -> np.ndarray:
    """Keys (M, 32) uint8 as (M,) texts, which NumPy sorts."""
    return np.ascontiguousarray(keys).view(_KEY).reshape(len(keys))


class RowStore:
    """One folder of rows: `columns` and their widths, those of `half` in float16; `report` gets damage in words."""

    def __init__(
        self,
        folder: Path,
        columns: Mapping[str, int],
        *,
        half: Collection[str] = (),
        report: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.folder = Path(folder)
        self.columns = dict(columns)
        self.types = {name: np.dtype(np.float16 if name in half else np.float32) for name in columns}
        self.report = report
        self._lock = threading.RLock()
        self._turn: Any = None
        self._index = _KeyIndex()
        self._blocks: dict[int, _Block] = {}  # by first row
        self._starts = np.empty(0, np.int64)  # of the blocks, ascending
        self._sound: set[int] = set()
        self._read_to = 0
        self._read_new_blocks()

    # -- the index

    def _read_new_blocks(self) -> None:
        path, short = self.folder / "blocks.jsonl", []
        if not path.is_file():
            return
        with path.open("rb") as lines:
            lines.seek(self._read_to)
            finished = lines.read().rpartition(b"\n")[0]
        all_keys = self._map_file("keys.bin", np.uint8, KEY_BYTES)
        for line in finished.split(b"\n") if finished else ():
            block = self._parse_line(line)
            if block is not None and not self._index_block(block, all_keys):
                short.append(block)
            self._read_to += len(line) + 1
        self._starts = np.array(sorted(self._blocks), np.int64)
        if short:
            self._strike_out(short)

    def _parse_line(self, line: bytes) -> _Block | None:
        """The block that a line speaks of; a line that strikes one out is obeyed, a damaged one reported."""
        try:
            entry = json.loads(line) if line.strip() else {}
            if "sha256" in entry:
                return _Block(int(entry["start"]), int(entry["n"]), str(entry["sha256"]))
            if entry:
                self._forget_block(int(entry["struck_out"]))
        except (ValueError, KeyError, TypeError):
            self.report(f"a line of the cached rows {self.folder.name[:12]} is damaged; its rows are made again")
        return None

    def _index_block(self, block: _Block, all_keys: np.ndarray) -> bool:
        """Take a block's keys into the index; False when the file of keys ends before they do."""
        self._blocks[block.start] = block
        keys = all_keys[block.start : block.start + block.n]
        self._index.add_keys(keys, block.start)
        return len(keys) == block.n

    def _forget_block(self, start: int) -> None:
        block = self._blocks.pop(start, None)
        if block is not None:
            self._index.forget_rows(block.start, block.start + block.n)

    def _file_name(self, column: str) -> str:
        return f"{column}.f{8 * self.types[column].itemsize}"

    def _map_file(self, name: str, dtype: Any, width: int) -> np.ndarray:
        path = self.folder / name
        rows = path.stat().st_size // (width * np.dtype(dtype).itemsize) if path.is_file() else 0
        return np.memmap(path, dtype=dtype, mode="r", shape=(rows, width)) if rows else np.empty((0, width), dtype)

    # -- reading

    def __len__(self) -> int:
        return len(self._index)

    def find_rows(self, keys: np.ndarray) -> np.ndarray:
        """(M,) int64 positions of keys (M, 32) uint8, for `take_rows`; -1 for what is missing or damaged."""
        with self._lock:
            positions = self._index.find_rows(keys)
            if self._drop_damaged(positions):
                positions = self._index.find_rows(keys)  # points into checked blocks only, since damaged ones are gone
            return positions

    def count_missing(self, keys: np.ndarray) -> int:
        """How many of these keys, all different, have no row, by the index alone: no block is checked for it."""
        with self._lock:
            return int((self._index.find_rows(keys) < 0).sum())

    def _drop_damaged(self, positions: np.ndarray) -> bool:
        """Check the blocks that are pointed into; strike out damaged ones and say whether there were any."""
        pointed = np.unique(np.searchsorted(self._starts, positions[positions >= 0], side="right") - 1)
        unchecked = [self._blocks[start] for start in self._starts[pointed].tolist() if start not in self._sound]
        bad = [block for block in unchecked if self._digest_block(block) != block.sha256]
        self._sound |= {block.start for block in unchecked if block not in bad}
        if bad:
            self._strike_out(bad)
        return bool(bad)

    def _strike_out(self, bad: list[_Block]) -> None:
        rows = sum(block.n for block in bad)
        self.report(f"{rows:,} cached rows of {self.folder.name[:12]} are damaged; they are made again")
        with self._take_turn():
            self._write_lines([{"struck_out": block.start} for block in bad])
        self._read_new_blocks()

    def _digest_block(self, block: _Block) -> str:
        digest = hashlib.sha256()
        digest.update(self._map_file("keys.bin", np.uint8, KEY_BYTES)[block.start : block.start + block.n].data)
        for column in sorted(self.columns):
            digest.update(self.map_column(column)[block.start : block.start + block.n].data)
        return digest.hexdigest()

    def map_column(self, name: str) -> np.ndarray:
        """All rows of a column, mapped from its file, (R, D); only positions that `find` gave are worth reading."""
        return self._map_file(self._file_name(name), self.types[name], self.columns[name])

    def take_rows(self, column: str, positions: np.ndarray, scratch: Path) -> np.ndarray:
        """(M, D) float32 rows of a float32 column at (M,) positions of `find_rows`, not to be written to.

        Neighbours are a view of the file; others are gathered, in memory or, when large, in a nameless file in
        `scratch`.

        Raises:
            ValueError: A position is -1: the row is missing.
        """
        if len(positions) and positions.min() < 0:
            raise ValueError(f"{int((positions < 0).sum()):,} of the rows asked for are not cached")
        source = self.map_column(column)
        if len(positions) and np.array_equal(positions, np.arange(positions[0], positions[0] + len(positions))):
            return source[positions[0] : positions[0] + len(positions)].view(np.ndarray)
        shape = (len(positions), self.columns[column])
        is_small = shape[0] * shape[1] * 4 <= _RAM_BYTES
        out = np.empty(shape, np.float32) if is_small else make_unlinked_array(shape, scratch)
        for at in range(0, len(positions), _CHUNK_ROWS):
            out[at : at + _CHUNK_ROWS] = source[positions[at : at + _CHUNK_ROWS]]
            unmap_pages(source)
            unmap_pages(out)
        out.flags.writeable = False
        return out

    # -- writing

    def add_rows(self, keys: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        """Append one block; keys (M, 32) uint8 that are there already, in a sound block, are left out.

        `columns` holds (M, D) in the column's type, one entry for each column of the store.

        Raises:
            SetupError: The disk is full, read-only or not permitted.
            ValueError: A number is not finite; the caller knows whose it is.
        """
        if not all(np.isfinite(values).all() for values in columns.values()):
            raise ValueError("a row with a number that is not finite cannot be cached")
        with self._lock, self._take_turn():
            self._read_new_blocks()
            is_first = np.zeros(len(keys), dtype=bool)  # of equal keys
            is_first[np.unique(keys, axis=0, return_index=True)[1]] = True
            new = (self.find_rows(keys) < 0) & is_first
            if new.any():
                new_rows = {name: np.asarray(v, self.types[name])[new] for name, v in columns.items()}
                self._append_block(keys[new], new_rows)
                self._read_new_blocks()

    def _take_turn(self) -> Any:
        """The turn among processes: one lock a store, which its holder may take again while it has it."""
        import filelock

        with translate_disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._turn is None:
                self._turn = filelock.FileLock(self.folder / ".lock", thread_local=False)
            return self._turn

    def _append_block(self, keys: np.ndarray, columns: dict[str, np.ndarray]) -> None:
        """Write behind everything that is there, spoken of or not, so that no reader's view ever changes."""
        start = self._end_row()
        digest = hashlib.sha256(keys.tobytes())
        with translate_disk_errors(self.folder):
            for name in sorted(self.columns):
                content = np.ascontiguousarray(columns[name]).tobytes()
                digest.update(content)
                _write_at(self.folder / self._file_name(name), start * columns[name][0].nbytes, content)
            _write_at(self.folder / "keys.bin", start * KEY_BYTES, keys.tobytes())
        self._write_lines([{"start": start, "n": len(keys), "sha256": digest.hexdigest()}])
        self._sound.add(start)

    def _end_row(self) -> int:
        ends = [b.start + b.n for b in self._blocks.values()]
        widths = {self._file_name(name): self.columns[name] * kind.itemsize for name, kind in self.types.items()}
        for name, row_bytes in {**widths, "keys.bin": KEY_BYTES}.items():
            path = self.folder / name
            ends.append(-(-path.stat().st_size // row_bytes) if path.exists() else 0)
        return max(ends)

    def _write_lines(self, lines: list[dict[str, Any]]) -> None:
        """Append whole lines; what a kill left of an unfinished one is cut off first."""
        path = self.folder / "blocks.jsonl"
        with translate_disk_errors(self.folder):
            content = path.read_bytes() if path.exists() else b""
            finished = content.rpartition(b"\n")[0]
            added = b"".join(json.dumps(line).encode("ascii") + b"\n" for line in lines)
            _write_at(path, len(finished) + 1 if finished else 0, added, cut=True)


def _write_at(path: Path, offset: int, content: bytes, *, cut: bool = False) -> None:
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644), "r+b") as out:
        if cut:
            out.truncate(offset)
        out.seek(offset)
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def parse_keys(digests: list[str]) -> np.ndarray:
    """SHA-256 hex digests as (M, 32) uint8."""
    return np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, KEY_BYTES)


def unmap_pages(array: np.ndarray) -> None:
    """Unmap the pages of a mapped file that were read; the next read maps them again. Others are left alone."""
    source: Any = array
    while isinstance(source, np.ndarray):
        source = source.base
    if isinstance(source, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        source.madvise(mmap.MADV_DONTNEED)


def make_unlinked_array(shape: tuple[int, int], scratch: Path) -> np.ndarray:
    """A writable float32 array in a nameless file in `scratch` that goes with it; raises SetupError on a full disk."""
    with translate_disk_errors(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=scratch) as holder:
            if hasattr(os, "posix_fallocate"):  # a full disk is an error here; later it would be the end of the process
                os.posix_fallocate(holder.fileno(), 0, shape[0] * shape[1] * 4)
            return np.memmap(holder, dtype=np.float32, mode="w+", shape=shape).view(np.ndarray)
