"""The content-addressed cache: `<root>/<kind>/<digest>/…`, named by the digest of what the entry depends on.

An entry is made in a temporary folder, sealed with its files' digests in `seal.json`, and renamed into place, so that
it is there whole or not at all. A damaged entry is removed and reported, and the caller makes it again; a copy of a
user's own file is left until a whole one takes its place. What cannot be read is an error, not damage.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.errors import SetupError
from headstart.core.settings import cache_folder
from headstart.core.storage.files import explain_disk_error, read_json, translate_disk_errors, write_json
from headstart.core.storage.hashing import compute_digest, file_digest

if TYPE_CHECKING:
    from headstart.core.console import Console

SEAL = "seal.json"
_OF_USERS = ("added",)  # kinds whose content no package and no computation can bring back


class Store:
    """A local folder of sealed entries; `report` is called with a sentence when a damaged one is met."""

    def __init__(self, root: Path, report: Callable[[str], None] = lambda sentence: None) -> None:
        self.root = Path(root)
        self.report = report

    def entry_path(self, kind: str, key: Any) -> Path:
        """Where the entry for a key lies or would lie."""
        return self.root / kind / (key if isinstance(key, str) and len(key) == 64 else compute_digest(key))

    def find_entry(self, kind: str, key: Any) -> Path | None:
        """The entry's folder if it is there and whole, else None.

        Raises:
            SetupError: It cannot be read, whatever is in it: a missing permission, a lock, too many open files.
        """
        folder = self.entry_path(kind, key)
        if not folder.is_dir():
            return None
        if self._is_whole(folder):
            return folder
        if kind in _OF_USERS:
            self.report(f"the copy {folder.name[:12]} of a file of your own is damaged; it is left as it is")
            return None
        self.report(f"the cached {kind} entry {folder.name[:12]} is damaged; it is removed and made again")
        shutil.rmtree(folder, ignore_errors=True)
        return None

    def use_entry(self, kind: str, key: Any) -> Path | None:
        """As `find`, and the entry counts as used now, which `backbones prune` looks at."""
        folder = self.find_entry(kind, key)
        if folder is not None:
            with contextlib.suppress(OSError):
                os.utime(folder / SEAL)
        return folder

    def make_entry(self, kind: str, key: Any, write: Callable[[Path], None]) -> Path:
        """The entry for a key, made by `write(folder)` when it is missing or damaged.

        Raises:
            SetupError: The disk is full, read-only or not permitted, or the entry that is there cannot be read.
        """
        entry = self.use_entry(kind, key)
        if entry is not None:
            return entry
        folder = self.entry_path(kind, key)
        with translate_disk_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".tmp-"))
            try:
                with translate_disk_errors(folder):  # before the draft makes room again
                    write(draft)
                files = sorted(p for p in draft.rglob("*") if p.is_file())
                write_json(draft / SEAL, {p.relative_to(draft).as_posix(): file_digest(p) for p in files})
                self._place_entry(draft, folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        return folder

    def _place_entry(self, draft: Path, folder: Path) -> None:
        """Rename into place; when another process was faster, its entry stands, unless it is damaged."""
        try:
            os.replace(draft, folder)  # noqa: PTH105
        except OSError:
            if not folder.is_dir():
                raise
            if not self._is_whole(folder):
                aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".tmp-"))
                os.replace(folder, aside / "damaged")  # noqa: PTH105
                os.replace(draft, folder)  # noqa: PTH105
                shutil.rmtree(aside, ignore_errors=True)

    def _is_whole(self, folder: Path) -> bool:
        try:
            seal = read_json(folder / SEAL)
            files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
            visible = {path.as_posix() for path in files if not any(part.startswith(".") for part in path.parts)}
            is_complete = bool(seal) and visible <= {SEAL, *seal}  # an emptied seal vouches for nothing
            return is_complete and all(file_digest(folder / name) == value for name, value in seal.items())
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError, AttributeError, TypeError):
            return False  # of the last three: the seal itself is damaged
        except OSError as err:
            what = f"the cached entry `{folder}` cannot be read"
            other_error = SetupError(f"{what}: {err.strerror or err}", where=str(folder))
            raise explain_disk_error(err, what) or other_error from err


def default_store(console: Console) -> Store:
    """The cache of this machine; damage is told on the console."""
    return Store(cache_folder(), report=console.print_warning)
