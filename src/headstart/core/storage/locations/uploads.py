"""Objects written to `s3://`, `gs://` and `az://`, and folders brought back, each file checked by its SHA-256.

The digest travels with an object as its metadata, whatever the store's ETag means. Small files are one request each,
many in flight; a large one goes in parts and is seen at its address once it is there whole. A folder's upload that
fails removes what it put, or names what it could not remove.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from headstart.core.console import Console, Progress, format_bytes
from headstart.core.errors import DataError, HeadstartError, SetupError, UsageError
from headstart.core.storage.files import count_free_bytes, format_printable, translate_disk_errors
from headstart.core.storage.hashing import file_digest
from headstart.core.storage.locations import object_store

WRITABLE = ("s3", "gs", "az")
_DRAFT = ".tmp-"
_PART_BYTES = 16_000_000  # a larger file goes in parts of so many, a few at the same time
_PARTS_IN_FLIGHT = 4
_FILES_IN_FLIGHT = 16
_RIGHTS = {
    "s3": "the credentials need s3:PutObject, s3:GetObject, s3:DeleteObject and s3:ListBucket there",
    "gs": "the account needs the role Storage Object User (roles/storage.objectUser) there",
    "az": "the account needs the role Storage Blob Data Contributor there",
}
_MAKE_BUCKET = "make it first, or check the spelling and the endpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFacts:
    """What a listing says of an object."""

    size_bytes: int
    e_tag: str  # changes with the content; empty where the store gives none


@dataclass(frozen=True, slots=True, kw_only=True)
class TextObject:
    """A small object and its version, by which only this very one is replaced."""

    text: str
    version: str  # as the store names it, as JSON


def require_writable(address: str, where: str = "--out") -> str:
    """An address that can be written, without a slash at its end.

    Raises:
        UsageError: It is none, or of a web server.
        SetupError: obstore is not installed, or `HEADSTART_OFFLINE` is set.
    """
    if address.partition("://")[0] not in WRITABLE:
        hint = ", ".join(f"{scheme}://BUCKET/FOLDER" for scheme in WRITABLE)
        raise UsageError(f"nothing can be written to `{format_printable(address)}`", where=where, hint=hint)
    return object_store.require_address(address, where)


def list_below(address: str) -> dict[str, ObjectFacts]:
    """Name below an address -> facts, of all objects there; empty where there are none.

    Raises:
        SetupError: There is no such bucket, it may not be listed, or the store does not answer.
    """
    import obstore

    base, prefix = object_store.split_address(address)
    facts = dict[str, ObjectFacts]()
    with translate_errors(address, "listing"):
        for part in obstore.list(object_store.open_store(base, prefix), prefix=prefix or None, chunk_size=1000):
            for entry in part:
                if name := entry["path"][len(prefix) :].lstrip("/"):
                    facts[name] = ObjectFacts(size_bytes=entry["size"], e_tag=entry["e_tag"] or "")
    return facts


def exists_below(address: str) -> bool:
    """Whether any object lies below an address; raises SetupError as `list_below`."""
    import obstore

    base, prefix = object_store.split_address(address)
    with translate_errors(address, "listing"):
        parts = obstore.list(object_store.open_store(base, prefix), prefix=prefix or None, chunk_size=1)
        return any(len(part) for part in parts)


def upload_file(path: Path, address: str) -> None:
    """Put a file at an address; it is seen there whole or not at all.

    Raises:
        SetupError: There is no such bucket, it may not be written, or the store does not answer.
    """
    is_large = path.stat().st_size > _PART_BYTES
    if not is_large:
        upload_bytes(path.read_bytes(), address)  # read once, for a file may grow
        return
    _put(path, address, file_digest(path), is_large=True)


def upload_bytes(content: bytes, address: str) -> None:
    """Put bytes at an address; raises SetupError as `upload_file`."""
    _put(content, address, hashlib.sha256(content).hexdigest(), is_large=len(content) > _PART_BYTES)


def _put(content: Any, address: str, digest: str, *, is_large: bool) -> None:
    import obstore

    base, name = object_store.split_address(address)
    with translate_errors(address, "writing"):
        obstore.put(
            object_store.open_store(base, name),
            name,
            content,
            attributes={"sha256": digest},
            use_multipart=is_large,
            chunk_size=_PART_BYTES,
            max_concurrency=_PARTS_IN_FLIGHT,
        )


def is_uploaded(path: Path, address: str, facts: ObjectFacts | None) -> bool:
    """Whether what lies at an address has a file's size and SHA-256; `facts` as a listing gave them."""
    import obstore

    if facts is None or facts.size_bytes != path.stat().st_size:
        return False
    if facts.e_tag.strip('"') == _compute_md5(path):
        return True
    base, name = object_store.split_address(address)
    with translate_errors(address, "reading"):
        answer = obstore.get(object_store.open_store(base, name), name, options={"head": True})
    return dict(answer.attributes).get("sha256") == file_digest(path)


def upload_folder(folder: Path, address: str, console: Console, *, is_shared: bool = False) -> int:
    """Put all files below a folder below an address; equal ones that are there stay. Gives the bytes that were sent.

    Raises:
        SetupError: As `upload_file`; what this call had put is removed, or named in `problems`. It stays where the
            address `is_shared`: somebody else may have found it there meanwhile.
    """
    files = {path.relative_to(folder).as_posix(): path for path in list_files(folder)}
    there = list_below(address)
    sent = list[str]()

    def send(name: str) -> int:
        path = files[name]
        if is_uploaded(path, f"{address}/{name}", there.get(name)):
            progress.count_done(path.stat().st_size, cached=True)
            return 0
        upload_file(path, f"{address}/{name}")
        sent.append(name)
        progress.count_done(path.stat().st_size)
        return path.stat().st_size

    total_bytes = sum(path.stat().st_size for path in files.values())
    with console.show_progress("upload", total_bytes, "bytes") as progress:
        try:
            return sum(_run_in_flight(send, files))
        except BaseException as err:
            if not is_shared:
                _withdraw(address, [name for name in sent if name not in there], err)
            raise


def download_folder(address: str, folder: Path, console: Console) -> int:
    """Bring all objects below an address into a folder; equal files that are there stay. Gives the bytes that came.

    Raises:
        DataError: There is nothing below the address, or an object is damaged.
        SetupError: As `list_below`; or the disk has no room.
    """
    there = list_below(address)
    if not there:
        shown = format_printable(address)
        raise DataError(f"there is nothing below `{shown}`", where=shown, hint="check the spelling")
    total_bytes = sum(facts.size_bytes for facts in there.values())
    with translate_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with console.show_progress("download", total_bytes, "bytes") as progress:
        return sum(_run_in_flight(lambda name: fetch_object(address, name, there[name], folder, progress), there))


def download_file(address: str, folder: Path, name: str) -> None:
    """Bring an object into a folder under a name; raises DataError where it is not there, or is damaged."""
    path = _require_inside(folder, name, address)
    for _ in range(2):
        if _get_file(address, path):
            return
    shown = format_printable(address)
    hint = "remove it there and run the command that wrote it again"
    raise DataError(f"the object `{shown}` is damaged: it has another SHA-256", where=shown, hint=hint)


def fetch_object(address: str, name: str, facts: ObjectFacts, folder: Path, progress: Progress) -> int:
    """Bring one listed object into a folder, under its name below the address, unless an equal file is there."""
    path = _require_inside(folder, name, address)
    if path.is_file() and is_uploaded(path, f"{address}/{name}", facts):
        progress.count_done(facts.size_bytes, cached=True)
        return 0
    if facts.size_bytes > count_free_bytes(folder):
        problem = f"`{format_printable(f'{address}/{name}')}` has {format_bytes(facts.size_bytes)}"
        raise SetupError(f"{problem}, more than the disk has room for", where=str(folder), hint="use a larger disk")
    download_file(f"{address}/{name}", folder, name)
    progress.count_done(facts.size_bytes)
    return facts.size_bytes


def delete_below(address: str) -> int:
    """Remove all objects below an address, and give their number.

    Raises:
        SetupError: They may not be removed, or the store does not answer.
    """
    return delete_objects(address, list_below(address))


def delete_objects(address: str, names: Iterable[str]) -> int:
    """Remove objects below an address by their names; what is not there is no error."""
    import obstore

    def delete(name: str) -> int:
        base, path = object_store.split_address(f"{address}/{name}")
        with translate_errors(address, "removing"):
            try:
                obstore.delete(object_store.open_store(base, path), path)
            except FileNotFoundError as err:
                if _lacks_bucket(err):
                    raise
        return 1

    return sum(_run_in_flight(delete, names))


def write_text_object(address: str, text: str, only_if_new: bool = False) -> bool:
    """Put a small text at an address; with `only_if_new` gives False, and writes nothing, where something is there.

    Raises:
        SetupError: As `upload_file`.
    """
    if _put_text(address, text, "create" if only_if_new else None) is not None:
        return True
    return read_text_object(address) == text  # the answer to a first try may have been lost


def replace_text_object(address: str, text: str, version: str) -> bool:
    """Put a small text in the place of one version; gives False where another is there by now."""
    return _put_text(address, text, json.loads(version)) is not None or read_text_object(address) == text


def read_text_object(address: str) -> str | None:
    """The text at an address; None where there is none. Raises SetupError as `list_below`."""
    content = find_text_object(address)
    return None if content is None else content.text


def find_text_object(address: str) -> TextObject | None:
    """As `read_text_object`, with the version."""
    answer = _find_object(address)
    if answer is None:
        return None
    content, facts = answer
    version = {key: facts[key] for key in ("e_tag", "version") if facts.get(key)}
    return TextObject(text=content.decode("utf-8", "replace"), version=json.dumps(version))


def find_bytes(address: str) -> bytes | None:
    """The bytes at an address; None where there is no object. Raises SetupError as `list_below`."""
    answer = _find_object(address)
    return None if answer is None else answer[0]


def _find_object(address: str) -> tuple[bytes, Any] | None:
    import obstore

    base, path = object_store.split_address(address)
    with translate_errors(address, "reading"):
        try:
            answer = obstore.get(object_store.open_store(base, path), path)
            return bytes(answer.bytes()), answer.meta
        except FileNotFoundError as err:
            if _lacks_bucket(err):
                raise
            return None


def list_files(folder: Path) -> list[Path]:
    """All files below a folder but for drafts that were left half written, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(_DRAFT))


@contextlib.contextmanager
def translate_errors(address: str, verb: str) -> Iterator[None]:
    """Errors of obstore in our words, without addresses that are signed; `verb` is what was done, as `writing`."""
    try:
        yield
    except Exception as err:
        if not type(err).__module__.startswith("obstore") and not isinstance(err, FileNotFoundError | PermissionError):
            raise
        if isinstance(err, OSError) and err.filename is not None:
            raise  # of a file on this machine
        _raise_store_error(err, address, verb)


def _raise_store_error(err: Exception, address: str, verb: str) -> NoReturn:
    kind, shown, base = object_store.find_error_kind(err), format_printable(address), address.partition("://")[0]
    bucket = object_store.split_address(address)[0]
    if kind == "missing" and (verb != "reading" or _lacks_bucket(err)):
        raise SetupError(f"there is no bucket `{bucket}`", where=shown, hint=_MAKE_BUCKET) from None
    if kind == "missing":
        raise DataError(f"there is no object `{shown}`", where=shown, hint="check the spelling") from None
    if kind == "permission":
        hint = f"{_RIGHTS[base]}; {object_store.format_credentials(bucket)}"
        raise SetupError(f"{verb} `{shown}` is not permitted", where=shown, hint=hint) from None
    raise object_store.make_store_error(kind, err, address, f"{verb} `{shown}` failed") from None


def _lacks_bucket(err: Exception) -> bool:
    return any(code in str(err) for code in ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not"))


def _run_in_flight(act: Callable[[str], int], names: Iterable[str]) -> list[int]:
    """Act on names, many at the same time; what has not begun when one fails does not begin."""
    with ThreadPoolExecutor(_FILES_IN_FLIGHT) as pool:
        futures = [pool.submit(act, name) for name in names]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _withdraw(address: str, names: list[str], err: BaseException) -> None:
    """Remove what a failed upload put; where that fails too, the error lists it."""
    try:
        if names:
            delete_objects(address, names)
    except HeadstartError:
        if isinstance(err, HeadstartError):
            err.hint = f"{err.hint}; {len(names)} objects are left below {address}: remove them"
            err.problems = [(f"{address}/{name}", "left", "it could not be removed") for name in names]


def _put_text(address: str, text: str, mode: Any) -> str | None:
    """The version of what was put; None where a condition did not hold."""
    import obstore
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    base, path = object_store.split_address(address)
    content = text.encode("utf-8", "backslashreplace")
    with translate_errors(address, "writing"):
        try:
            attributes: Any = {"sha256": hashlib.sha256(content).hexdigest()}
            answer = obstore.put(
                object_store.open_store(base, path),
                path,
                content,
                attributes=attributes,
                mode=mode,
                use_multipart=False,
            )
        except (AlreadyExistsError, PreconditionError):
            return None
    return json.dumps({key: value for key, value in answer.items() if value})


def _get_file(address: str, path: Path) -> bool:
    """Bring an object into a file, seen whole or not at all; False where it is not what was written there."""
    import obstore

    base, name = object_store.split_address(address)
    draft = path.parent / f"{_DRAFT}{secrets.token_hex(8)}"
    with translate_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            digest = hashlib.sha256()
            with translate_errors(address, "reading"), draft.open("wb") as out:
                answer = obstore.get(object_store.open_store(base, name), name)
                for part in answer.stream(min_chunk_size=1_000_000):
                    digest.update(part)
                    out.write(part)
            is_whole = draft.stat().st_size == answer.meta["size"]
            if not is_whole or dict(answer.attributes).get("sha256", digest.hexdigest()) != digest.hexdigest():
                return False
            os.replace(draft, path)  # noqa: PTH105
            return True
        finally:
            draft.unlink(missing_ok=True)


def _require_inside(folder: Path, name: str, address: str) -> Path:
    """Where a name below an address goes; refuses one that leads out of the folder."""
    if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or Path(name).is_absolute():
        shown = format_printable(f"{address}/{name}")
        raise DataError(f"the name of the object `{shown}` leads out of its folder", where=shown)
    return folder / name


def _compute_md5(path: Path) -> str:
    """The ETag that most stores give a small object."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
