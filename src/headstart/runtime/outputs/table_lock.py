"""The note beside an unfinished table, in the hand of one process."""

from __future__ import annotations

from pathlib import Path

from headstart.core.errors import SetupError


class TableLock:
    """Keeps two processes from going on with one table, or raises `SetupError`; of no avail on Windows."""

    def __init__(self, path: Path, note: Path) -> None:
        self._handle = note.open("rb") if note.exists() else None
        if self._handle is None:
            return
        try:
            import fcntl

            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._handle.close()
            raise SetupError(f"another process is writing `{path}`", where="--out", hint="wait for it") from None
        except (ImportError, OSError):
            return  # Windows, or a disk without locks

    def close(self) -> None:
        """Let go."""
        if self._handle is not None:
            self._handle.close()
