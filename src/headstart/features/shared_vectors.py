"""Vectors that machines share through a bucket: looked up before a pass, put there after it.

Below the address of a pass's key lies a block a pass: `SHA-256.rows` with keys and vectors, then `SHA-256.keys`, which
tells readers what is in it. A block whose bytes have another digest is removed, and its pictures go through again.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.errors import HeadstartError
from headstart.core.settings import read_setting
from headstart.core.storage.row_cache import KEY_BYTES

if TYPE_CHECKING:
    from headstart.core.console import Console
    from headstart.core.storage.row_cache import RowStore

_BLOCK_ROWS = 4096
_IN_FLIGHT = 8
_KEYS, _ROWS = ".keys", ".rows"


class SharedVectors:
    """The blocks of one key below `HEADSTART_SHARED_CACHE`."""

    def __init__(self, address: str, cache: RowStore, console: Console) -> None:
        self.address, self._cache, self._console = address, cache, console

    def fetch_rows(self, keys: np.ndarray) -> int:
        """Bring what the local cache lacks of keys (M, 32) uint8, and give how many rows came.

        Raises:
            SetupError: The bucket is not there, may not be read, or does not answer.
        """
        from headstart.core.storage.locations.uploads import list_below

        names = sorted(name.removesuffix(_KEYS) for name in list_below(self.address) if name.endswith(_KEYS))
        with ThreadPoolExecutor(_IN_FLIGHT) as pool:
            block_keys = list(pool.map(self._fetch_keys, names))
        missing, count = _list_missing(self._cache, keys), 0
        for name, held in zip(names, block_keys, strict=True):
            if missing.isdisjoint(map(bytes, held)):
                continue
            if (content := self._fetch_block(name)) is not None:
                self._cache.add_rows(*content)
                still_missing = _list_missing(self._cache, keys)
                count += len(missing) - len(still_missing)
                missing = still_missing
        return count

    def send_rows(self, keys: np.ndarray) -> None:
        """Put the rows of keys (M, 32) uint8 there; where the store refuses, say so: the pass itself is done."""
        from headstart.core.storage.locations.uploads import upload_bytes

        try:
            for start in range(0, len(keys), _BLOCK_ROWS):
                part = keys[start : start + _BLOCK_ROWS]
                content = self._pack(part)
                name = f"{self.address}/{hashlib.sha256(content).hexdigest()}"
                upload_bytes(content, f"{name}{_ROWS}")
                upload_bytes(part.tobytes(), f"{name}{_KEYS}")
        except HeadstartError as err:
            self._console.print_warning(f"vectors are not shared: {err.what} ({err.hint})")

    def _pack(self, keys: np.ndarray) -> bytes:
        positions = self._cache.find_rows(keys)
        columns = [self._cache.map_column(name)[positions] for name in sorted(self._cache.columns)]
        return b"".join([keys.tobytes(), *(np.ascontiguousarray(values).tobytes() for values in columns)])

    def _fetch_keys(self, name: str) -> np.ndarray:
        from headstart.core.storage.locations.uploads import find_bytes

        content = find_bytes(f"{self.address}/{name}{_KEYS}") or b""
        return np.frombuffer(content[: len(content) // KEY_BYTES * KEY_BYTES], np.uint8).reshape(-1, KEY_BYTES)

    def _fetch_block(self, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
        """Keys and columns of a block; None where it is damaged, which removes it."""
        from headstart.core.storage.locations.uploads import delete_objects, find_bytes

        content = find_bytes(f"{self.address}/{name}{_ROWS}")
        if content is None or hashlib.sha256(content).hexdigest() != name:
            self._console.print_warning(f"a block of shared vectors is damaged and made again: {self.address}/{name}")
            try:
                delete_objects(self.address, [f"{name}{_KEYS}", f"{name}{_ROWS}"])
            except HeadstartError as err:
                self._console.print_warning(f"it could not be removed: {err.what}")
            return None
        return self._unpack(content)

    def _unpack(self, content: bytes) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        types, widths = self._cache.types, self._cache.columns
        row_bytes = KEY_BYTES + sum(widths[name] * types[name].itemsize for name in widths)
        count = len(content) // row_bytes
        keys = np.frombuffer(content, np.uint8, count * KEY_BYTES).reshape(count, KEY_BYTES)
        columns, offset = dict[str, np.ndarray](), count * KEY_BYTES
        for name in sorted(widths):
            values = np.frombuffer(content, types[name], count * widths[name], offset)
            columns[name], offset = values.reshape(count, widths[name]), offset + values.nbytes
        return keys, columns


def find_shared_vectors(place: str, cache: RowStore, console: Console) -> SharedVectors | None:
    """The shared blocks of a place in the cache, such as `vectors/…`; None where no shared cache is set.

    Raises:
        UsageError: `HEADSTART_SHARED_CACHE` is no address that can be written.
    """
    root: Any = read_setting("HEADSTART_SHARED_CACHE")
    if root is None:
        return None
    from headstart.core.storage.locations.uploads import require_writable

    return SharedVectors(f"{require_writable(root, 'HEADSTART_SHARED_CACHE')}/{place}", cache, console)


def _list_missing(cache: RowStore, keys: np.ndarray) -> set[bytes]:
    return set(map(bytes, keys[cache.find_rows(keys) < 0]))
