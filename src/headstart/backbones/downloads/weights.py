"""Where a weights file comes from (a mirror, Keras' own cache, its publisher's address), and that it is the right one.

A file over the network must have the checksum that its publisher pins, or else the SHA-256 recorded at first use. A
file that the user laid down by hand is taken with a warning when it is not the pinned one. Nothing gets its final name
before all of this holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from headstart.backbones.downloads import mirror, resumable
from headstart.core.console import Console, format_bytes
from headstart.core.errors import DataError, SetupError
from headstart.core.settings import read_setting
from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json, translate_disk_errors, write_json
from headstart.core.storage.hashing import file_digest
from headstart.networks.formats.safe_formats import require_weights

PARTIAL = "partial"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """A weights file as its publisher names it.

    Attributes:
        name: Of the backbone, `source:preset`.
        bytes: About how many; 0 where nothing tells.
        md5: Pinned by the publisher; empty where none is. `sha256` comes before it.
        raw: Numbers alone, which another file tells the form of: nothing can be seen by its beginning.
        token: Of the user, for `url` alone; empty for none.
    """

    name: str
    file: str
    url: str
    bytes: int
    md5: str
    sha256: str = ""
    publisher: str = "Keras"
    raw: bool = False
    token: str = field(default="", repr=False)

    @property
    def pin_kind(self) -> str:
        """What is pinned, in a word; empty where nothing is."""
        return "SHA-256" if self.sha256 else "MD5" if self.md5 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsOrigin:
    """Where a file came from, its SHA-256, and whether it is the pinned one (None where none is pinned)."""

    address: str
    sha256: str
    as_pinned: bool | None

    @property
    def public_address(self) -> str:
        """Where it came from, without a path of this machine: what may be written down and travel."""
        return self.address if "://" in self.address else "a folder"


def local_copies(file: str) -> Iterator[Path]:
    """Where the file may lie on this machine: a mirror that is a folder, Keras' cache."""
    folder = mirror.find_mirror_folder()
    if folder is not None:
        yield folder / file
    home = os.environ.get("KERAS_HOME")
    yield (Path(home) if home else Path.home() / ".keras") / "models" / file


@contextlib.contextmanager
def take_turn(weights_file: WeightsFile, store: Store, console: Console) -> Iterator[None]:
    """Let one process at a time download a file; the next waits, says so, and then finds it in the store.

    Raises:
        SetupError: No address can be asked for it, or the cache cannot be written.
    """
    if any(path.is_file() for path in local_copies(weights_file.file)):
        yield  # a copy on this machine needs no turn
        return
    import filelock

    path = store.root / PARTIAL / f"{_hash_text(choose_address(weights_file))}{_LOCK}"
    with translate_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            console.print_line("fetch", f"{weights_file.file}: another process fetches it; waiting")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_in_use(path: Path) -> bool:
    """Whether a file in `partial` belongs to a running download, or is a lock, which is never free to go."""
    lock = path.with_name(path.name.partition(".")[0] + _LOCK)
    if path == lock:
        return True
    return lock.is_file() and is_locked(lock)


def is_locked(lock: Path) -> bool:
    """Whether a process holds a lock's file."""
    import filelock

    try:
        with filelock.FileLock(lock).acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True


def fetch_weights(weights_file: WeightsFile, target: Path, store: Store, console: Console) -> WeightsOrigin:
    """The file at `target` (on the store's disk), whole and checked.

    Raises:
        SetupError: It is in none of the places, what came is not the right file, or the disk refuses.
    """
    for path in local_copies(weights_file.file):
        if path.is_file():
            return _copy_local_file(weights_file, path, target, store, console)
    address = choose_address(weights_file)
    public_address = resumable.hide_credentials(address)
    size = f", about {format_bytes(weights_file.bytes)}" if weights_file.bytes else ""
    console.print_line("fetch", public_address + size)
    sha256 = _download_checked(weights_file, address, target, store, console)
    return WeightsOrigin(address=public_address, sha256=sha256, as_pinned=True if weights_file.pin_kind else None)


def _copy_local_file(
    weights_file: WeightsFile, path: Path, target: Path, store: Store, console: Console
) -> WeightsOrigin:
    draft = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(path, draft)
        as_pinned = _has_pinned_checksum(weights_file, draft)
        if not as_pinned:
            _require_whole(weights_file, draft, str(path))
        if as_pinned is False:
            mismatch = _format_pin_mismatch(weights_file)
            if weights_file.sha256:
                raise make_missing_weights_error(weights_file, f"{path} {mismatch}")
            console.print_warning(f"{weights_file.file} from {path} {mismatch}; it is used as it is")
        sha256 = file_digest(draft)
        if as_pinned is None and (wrong := _record_digest(weights_file, sha256, store)):
            raise _make_changed_error(weights_file, str(path), wrong, store)
        os.replace(draft, target)  # noqa: PTH105
    finally:
        draft.unlink(missing_ok=True)
    return WeightsOrigin(address=str(path), sha256=sha256, as_pinned=as_pinned)


def _require_whole(weights_file: WeightsFile, path: Path, origin: str) -> None:
    if weights_file.raw:
        return
    try:
        require_weights(weights_file.file, path, origin)
    except DataError as err:
        raise make_missing_weights_error(weights_file, f"what {origin} gives is no weights file: {err.what}") from err


def choose_address(weights_file: WeightsFile) -> str:
    """Where a file would be fetched from; `SetupError` where no address can be asked for it."""
    base = read_setting("HEADSTART_WEIGHTS_MIRROR") or ""
    if not base:
        return weights_file.url
    mirror.require_readable(weights_file.file)
    if mirror.find_mirror_folder() is not None:
        raise make_missing_weights_error(weights_file, mirror.explain_missing_file(f"`{weights_file.file}`"))
    try:
        return resumable.join_address(base, weights_file.file)
    except ValueError as err:
        why = f"the mirror `{resumable.hide_credentials(base)}` is no address: {err}"
        raise make_missing_weights_error(weights_file, why) from err


def _download_checked(weights_file: WeightsFile, address: str, target: Path, store: Store, console: Console) -> str:
    """Download, check, and only then give the file its name; a joined file that is wrong is fetched once more whole."""
    part = store.root / PARTIAL / f"{_hash_text(address)}.part"
    token = weights_file.token if address == weights_file.url else ""
    origin = resumable.hide_credentials(address)
    for last in (False, True):
        try:
            joined = resumable.download_file(address, part, console, pinned=bool(weights_file.pin_kind), token=token)
        except (OSError, ValueError, http.client.HTTPException) as err:
            raise make_missing_weights_error(weights_file, f"{origin}: {err or type(err).__name__}") from err
        sha256 = file_digest(part)
        error = _find_download_error(weights_file, part, sha256, origin, store)
        if error is None:
            break
        resumable.discard_part(part)
        if last or not joined:
            raise error
        console.print_line("fetch", f"the joined parts of {weights_file.file} are not the right file; starting over")
    os.replace(part, target)  # noqa: PTH105
    resumable.discard_part(part)
    return sha256


def _find_download_error(
    weights_file: WeightsFile, part: Path, sha256: str, origin: str, store: Store
) -> SetupError | None:
    """Why what came is not the file: by the pinned checksum, or without one by its kind and its recorded digest."""
    if weights_file.pin_kind:
        if _has_pinned_checksum(weights_file, part):
            return None
        return make_missing_weights_error(weights_file, f"what {origin} sent {_format_pin_mismatch(weights_file)}")
    try:
        _require_whole(weights_file, part, origin)
    except SetupError as err:
        return err
    recorded = _record_digest(weights_file, sha256, store)
    return _make_changed_error(weights_file, origin, recorded, store) if recorded else None


def _has_pinned_checksum(weights_file: WeightsFile, path: Path) -> bool | None:
    """Whether the file is the one that its publisher pins; None where none is pinned."""
    if weights_file.sha256:
        return file_digest(path) == weights_file.sha256
    if not weights_file.md5:
        return None
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest() == weights_file.md5


def _format_pin_mismatch(weights_file: WeightsFile) -> str:
    return f"is not the file that {weights_file.publisher} pins ({weights_file.pin_kind} differs)"


def _record_digest(weights_file: WeightsFile, sha256: str, store: Store) -> str:
    path = recorded_digest_file(weights_file.file, store)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        recorded = str(read_json(path)["sha256"])
        return "" if recorded == sha256 else recorded
    write_json(path, {"file": weights_file.file, "sha256": sha256})
    return ""


def recorded_digest_file(file: str, store: Store) -> Path:
    """Where the digest of a file that nobody pins is recorded."""
    return store.root / "recorded" / f"{_hash_text(file)}.json"


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _make_changed_error(weights_file: WeightsFile, origin: str, recorded: str, store: Store) -> SetupError:
    return SetupError(
        f"`{weights_file.file}` is not the file that was first used here: its SHA-256 is not the recorded `{recorded}`",
        where=origin,
        hint=f"find out why it changed; to take the new one, delete `{recorded_digest_file(weights_file.file, store)}`",
    )


def make_missing_weights_error(weights_file: WeightsFile, why: str) -> SetupError:
    """The weights cannot be had: why, and the three ways to them."""
    beside = "or into ~/.keras/models; " if weights_file.publisher == "Keras" else ""
    return SetupError(
        f"the weights of `{weights_file.name}` cannot be had: {why}",
        hint=(
            f"put `{weights_file.file}` into a folder and set HEADSTART_WEIGHTS_MIRROR to it (or to an http(s) "
            f"address); {beside}or run `headstart backbones pull {weights_file.name}` with a network"
        ),
    )
