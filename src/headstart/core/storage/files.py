"""Writing that cannot be seen half done, and errors of the disk told in plain words."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.core.errors import DataError, HeadstartError, SetupError, UsageError

_DRAFT = ".tmp-"
_DISK_WORDS = (os.strerror(errno.ENOSPC), os.strerror(errno.EFBIG), "iostream error")  # the last is C++'s
_NO_ROOM = 1_000_000  # bytes: the disk is full
_Facts = dict[int, tuple[str, str]]
_SPACE = "free some space (`headstart doctor` shows the cache)"
_PLACE = "choose another place with `--out` or `HEADSTART_CACHE`"
_FACTS: _Facts = {
    errno.ENOSPC: ("no space is left on the disk", _SPACE),
    errno.EFBIG: ("a file may not become so large", _SPACE),
    errno.EDQUOT: ("the disk quota is used up", _SPACE),
    errno.EROFS: ("the file system is read-only", _PLACE),
    errno.EACCES: ("it is not permitted", _PLACE),
    errno.EPERM: ("it is not permitted", _PLACE),
    errno.ENOTDIR: ("a part of the path is a file", _PLACE),
    errno.ENAMETOOLONG: ("the name is too long", "use a shorter one"),
    errno.ELOOP: ("its links lead in a circle", _PLACE),
    errno.EIO: ("the disk gives errors", "copy what you need to another disk"),
}
# Only where a place to write to was asked for: elsewhere these are bugs.
_PLACES: _Facts = {
    errno.ENOENT: ("there is no folder for it", _PLACE),
    errno.EEXIST: ("a file is in its place", _PLACE),
    errno.EISDIR: ("it is a folder, not a file", _PLACE),
}


def explain_disk_error(err: OSError, what: str, *, place: bool = False) -> SetupError | None:
    """What the machine lacks, in plain words; None for an error that is no fact of disk, place or permission.

    `what` cannot be done, with the path; `place` means one to be written to, where a missing folder is a fact too.
    """
    facts = _FACTS | _PLACES if place else _FACTS
    if err.errno not in facts:
        return None
    why, hint = facts[err.errno]
    return SetupError(f"{what}: {why}", where=str(err.filename) if err.filename else None, hint=hint)


@contextlib.contextmanager
def translate_disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, a wrong or read-only place and a missing permission into a SetupError that names the path.

    An error of another file, such as one that is read in the block, is told as that file's. Writers of other libraries
    raise kinds of their own: with less than 1 MB free, while what was written is still there, the disk is the cause.
    """
    try:
        yield
    except HeadstartError:
        raise
    except OSError as err:
        error_path = Path(os.fsdecode(err.filename)) if isinstance(err.filename, str | bytes | os.PathLike) else None
        ours = error_path is None or _lie_together(path, error_path)
        what = f"cannot write `{path}`" if ours else f"cannot use `{error_path}`"
        fact = explain_disk_error(err, what, place=ours and error_path is not None)
        if fact is None:
            raise
        fact.where = fact.where or str(path)
        raise fact from err
    except Exception as err:
        if count_free_bytes(path) > _NO_ROOM and not any(word in str(err) for word in _DISK_WORDS):
            raise
        why, hint = _FACTS[errno.ENOSPC]
        raise SetupError(f"cannot write `{path}`: {why}", where=str(path), hint=hint) from err


def count_free_bytes(path: Path) -> int:
    """Bytes that may still be written where a file or folder lies or will lie."""
    existing = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    return shutil.disk_usage(existing).free


def _lie_together(path: Path, other: Path) -> bool:
    path, other = path.absolute(), other.absolute()
    is_draft = other.name.startswith(_DRAFT) and other.parent == path.parent
    return path.is_relative_to(other) or other.is_relative_to(path) or is_draft


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically, with any new file's mode; raises SetupError on a full, read-only or forbidden disk."""
    with translate_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        name = path.parent / f"{_DRAFT}{secrets.token_hex(8)}"
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            os.replace(name, path)  # noqa: PTH105
        except BaseException:
            with contextlib.suppress(OSError):
                name.unlink()
            raise


def list_visible_names(folder: Path) -> set[str]:
    """Names in a folder that are not hidden; none where there is none. Raises SetupError if it cannot be read."""
    with translate_disk_errors(folder):
        entries = folder.iterdir() if folder.is_dir() else ()
        return {entry.name for entry in entries if not entry.name.startswith(".")}


def remove_drafts(folder: Path) -> None:
    """Remove the drafts that killed processes left in a folder and in those below; no other may be writing there."""
    for draft in sorted(folder.rglob(f"{_DRAFT}*")):
        if draft.is_file():
            draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; lone surrogates (undecodable file names) become backslash escapes."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, two spaces deep, ASCII (undecodable file names survive as escapes)."""
    written = io.BytesIO()  # of millions of texts the parts alone would take a gigabyte
    for part in json.JSONEncoder(indent=2, allow_nan=False).iterencode(content):
        written.write(part.encode("ascii"))
    written.write(b"\n")
    write_bytes(path, written.getbuffer())


def read_json(path: Path) -> Any:
    """Read a JSON file; ValueError where it is none, or too deep to be one of ours."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as err:
        raise ValueError("it is nested too deeply") from err


def require_format(version: int, newest: int, owner: str) -> None:
    """Refuse what a newer headstart wrote, by a DataError."""
    if version > newest:
        what = f"{owner} has format {version}; this version reads up to {newest}"
        raise DataError(what, hint="install the version of headstart that wrote it, or a newer one")


def format_printable(name: str) -> str:
    """A file name that any terminal can print: line breaks, controls and undecodable bytes as escapes."""
    safe = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in safe)


def make_portable_name(name: str) -> str:
    """A name as every system takes it: what Windows refuses in names of files becomes `_`, dots at the end too."""
    replaced = "".join("_" if char in '<>:"/\\|?*' or ord(char) < 32 else char for char in name)
    stripped = replaced.rstrip(". ")
    return stripped + "_" * (len(replaced) - len(stripped))


def require_place(path: Path, where: str) -> None:
    """Refuse early a file to write whose folder is not there or takes none; `where` is the option that names it.

    Raises:
        UsageError: The folder is not there.
        SetupError: It may not be written.
    """
    folder, name = path.absolute().parent, format_printable(str(path.parent))
    if not folder.is_dir():
        raise UsageError(f"there is no folder `{name}`", where=where, hint="make it first")
    if not os.access(folder, os.W_OK):
        raise SetupError(f"the folder `{name}` may not be written", where=where, hint="name a file in another folder")
