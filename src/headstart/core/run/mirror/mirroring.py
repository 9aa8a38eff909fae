"""Bring a run from its address, send what changes while it is at work, and leave it there whole.

What is sent is a snapshot: hard links of all files, taken while none changed. So at the address no file is without the
decision that led to it, and any process on any machine goes on from there as from a local folder after a kill.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from headstart.core.console import Console, format_bytes
from headstart.core.errors import BusyError, DataError, HeadstartError, SetupError
from headstart.core.run.mirror.lease import Lease, take_lease
from headstart.core.run.mirror.run_index import (
    INDEX,
    VERSIONS,
    IndexEntry,
    RunIndex,
    choose_object,
    find_index,
    replace_index,
    require_run_or_nothing,
)
from headstart.core.storage.files import format_printable, translate_disk_errors, write_text
from headstart.core.storage.hashing import file_digest
from headstart.core.storage.locations.uploads import (
    delete_objects,
    download_file,
    list_below,
    list_files,
    upload_file,
)

EVERY_S = 5.0
_MACHINE_FILES = (".lock", ".owner.json", ".local.json")  # of this machine alone
_TRIES = 20  # snapshots while files change
_IN_FLIGHT = 8
_Stat = tuple[int, int, int]  # size, time of change, inode


class Mirror:
    """A local run folder and the address that has its state; `send_changes` may be called from any thread."""

    def __init__(self, address: str, local: Path, lease: Lease, index: RunIndex, console: Console) -> None:
        self.address, self.local, self.sent_bytes = address, local, 0
        self._lease, self._index, self._console = lease, index, console
        self._digests: dict[str, tuple[_Stat, str]] = {}
        self._lock = threading.Lock()

    def send_changes(self) -> bool:
        """Send what changed since the last time; False where the files did not come to rest for it.

        Raises:
            BusyError: Another process writes the run.
            SetupError: The store refuses or does not answer.
        """
        with self._lock:
            self._lease.require()
            staging = _staging_folder(self.local)
            shutil.rmtree(staging, ignore_errors=True)
            try:
                files = self._take_snapshot(staging)
                if files is None:
                    return False
                entries = self._send_files(files, staging)
                if entries != self._index.files:
                    self._put_index(entries)
                return True
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def finish(self) -> None:
        """Send what is left, each file under its plain name."""
        for _ in range(_TRIES):
            if self.send_changes():
                break
        else:
            what = f"files of the run `{self.local}` change all the time: not all of them are at `{self.address}`"
            raise SetupError(what, hint="run the same command again: it goes on from what is there")
        with self._lock:
            self._lease.require()
            moved = {name: entry for name, entry in self._index.files.items() if entry.object != name}
            for name in moved:
                upload_file(self.local / name, f"{self.address}/{name}")  # which no index names
            plain = {
                name: IndexEntry(sha256=entry.sha256, size_bytes=entry.size_bytes, object=name)
                for name, entry in self._index.files.items()
            }
            if moved:
                self._put_index(plain)

    def remove_empty_index(self) -> None:
        """Where the run left no file, leave none there either."""
        with self._lock:
            if self._index.version and not self._index.files:
                delete_objects(self.address, [INDEX])

    def _take_snapshot(self, staging: Path) -> dict[str, _Stat] | None:
        """Names and facts of all files, with links to those that are new; None where they change all the time."""
        with translate_disk_errors(staging):
            for _ in range(_TRIES):
                with contextlib.suppress(FileNotFoundError):  # replaced or removed this moment
                    files = _read_stats(self.local)
                    for name in files:
                        if not self._is_known(name, files[name]):
                            _link(self.local / name, staging / name, files[name][0])
                    if _read_stats(self.local) == files:
                        return files
                shutil.rmtree(staging, ignore_errors=True)
        return None

    def _is_known(self, name: str, facts: _Stat) -> bool:
        entry = self._index.files.get(name)
        return entry is not None and self._digests.get(name) == (facts, entry.sha256)

    def _send_files(self, files: dict[str, _Stat], staging: Path) -> dict[str, IndexEntry]:
        def send(name: str) -> IndexEntry:
            entry = self._index.files.get(name)
            if entry is not None and self._is_known(name, files[name]):
                return entry
            digest, size_bytes = file_digest(staging / name), (staging / name).stat().st_size
            self._digests[name] = (files[name], digest)
            if entry is not None and entry.sha256 == digest:
                return entry
            self._lease.require()
            place = choose_object(name, digest, self._index)
            upload_file(staging / name, f"{self.address}/{place}")
            self.sent_bytes += size_bytes
            return IndexEntry(sha256=digest, size_bytes=size_bytes, object=place)

        with ThreadPoolExecutor(_IN_FLIGHT) as pool:
            return dict(zip(files, pool.map(send, files), strict=True))

    def _put_index(self, entries: dict[str, IndexEntry]) -> None:
        """Replace the index, then remove objects that it names no more."""
        earlier = {entry.object for entry in self._index.files.values()}
        self._index = replace_index(self.address, entries, self._index)
        write_text(_marker_file(self.local), self._index.digest)
        if surplus := earlier - {entry.object for entry in entries.values()}:
            delete_objects(self.address, surplus)

    def remove_surplus(self) -> None:
        """Remove versions that a killed writer left and no index names."""
        named = {entry.object for entry in self._index.files.values()}
        surplus = [name for name in list_below(f"{self.address}/{VERSIONS}") if f"{VERSIONS}/{name}" not in named]
        delete_objects(f"{self.address}/{VERSIONS}", surplus)


@contextlib.contextmanager
def mirror_run(address: str, local: Path, console: Console, every_s: float | None = None) -> Iterator[Mirror]:
    """Own the run at an address while the block works in a local folder, which begins as the run is there.

    What changes is sent every few seconds and at the end, also of a block that fails. What a store refuses meanwhile
    is told and tried again; at the end it is an error.

    Raises:
        BusyError: Another process writes the run.
        UsageError: Somebody else's objects lie at the address.
        DataError: What lies there is damaged.
        SetupError: The bucket is not there, may not be written, or does not answer.
    """
    if find_index(address) is None:
        require_run_or_nothing(address)  # before the lease lies there
    lease = take_lease(address, console)
    with lease.renewed():
        mirror = Mirror(address, local, lease, bring_run(address, local, console), console)
        mirror.remove_surplus()
        with _send_regularly(mirror, console, EVERY_S if every_s is None else every_s):
            yield mirror
        mirror.finish()
        console.print_line("upload", f"{format_bytes(mirror.sent_bytes)} to {address}")


@contextlib.contextmanager
def _send_regularly(mirror: Mirror, console: Console, every_s: float) -> Iterator[None]:
    is_over, told = threading.Event(), set[str]()

    def work() -> None:
        while not is_over.wait(every_s):
            try:
                mirror.send_changes()
            except HeadstartError as err:
                if err.what not in told:
                    console.print_warning(f"{err.what}; the run goes on in {mirror.local}")
                told.add(err.what)
                if isinstance(err, BusyError):
                    return  # the end of the block says it again

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        is_over.set()
        thread.join()
        with contextlib.suppress(HeadstartError):  # what ended the block matters more
            mirror.send_changes()
            mirror.remove_empty_index()
        raise
    finally:
        is_over.set()
        thread.join()


def bring_run(address: str, local: Path, console: Console) -> RunIndex:
    """Make a local folder what the index at an address says; a folder that is ahead of this very index stays.

    Raises:
        DataError: An object is damaged or missing.
    """
    index = find_index(address)
    with translate_disk_errors(local):
        local.mkdir(parents=True, exist_ok=True)
    if index is None:
        require_run_or_nothing(address)
        index = RunIndex(files={})
    marker = _marker_file(local)
    if marker.is_file() and marker.read_text(encoding="utf-8") == index.digest:
        return index
    _bring_files(address, local, index, console)
    write_text(marker, index.digest)
    return index


def _bring_files(address: str, local: Path, index: RunIndex, console: Console) -> None:
    for path in list_files(local):
        name = path.relative_to(local).as_posix()
        if name not in index.files and name not in _MACHINE_FILES:
            path.unlink()
    for folder in sorted((path for path in local.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):  # of those that hold something
            folder.rmdir()

    def bring(name: str) -> int:
        entry, path = index.files[name], local / name
        if path.is_file() and path.stat().st_size == entry.size_bytes and file_digest(path) == entry.sha256:
            return 0
        download_file(f"{address}/{entry.object}", local, name)
        if file_digest(path) != entry.sha256:
            path.unlink()
            shown = format_printable(f"{address}/{entry.object}")
            hint = "choose another address with `--out`: what is cached is not done again"
            raise DataError(f"the object `{shown}` is damaged: it has another SHA-256", where=shown, hint=hint)
        return entry.size_bytes

    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        count_bytes = sum(pool.map(bring, index.files))
    if count_bytes:
        console.print_line("download", f"{format_bytes(count_bytes)} from {address}")


def _read_stats(folder: Path) -> dict[str, _Stat]:
    stats = dict[str, _Stat]()
    for path in list_files(folder):
        name = path.relative_to(folder).as_posix()
        if name not in _MACHINE_FILES:
            facts = path.stat()
            stats[name] = (facts.st_size, facts.st_mtime_ns, facts.st_ino)
    return stats


def _link(path: Path, link: Path, size_bytes: int) -> None:
    """A file as it is now: a link where files are replaced as a whole, a copy of what is appended to."""
    link.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        link.write_bytes(path.read_bytes()[:size_bytes])
        return
    try:
        os.link(path, link)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copyfile(path, link)


def _staging_folder(local: Path) -> Path:
    return local.with_name(f".{local.name}.sending")


def _marker_file(local: Path) -> Path:
    return local.with_name(f".{local.name}.index")
