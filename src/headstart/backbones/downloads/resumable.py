"""A download that may break off: bytes go into a kept `.part`, and the next try asks the server for the rest.

The rest is joined only when the server says that it is of the very same file (`Range` with `If-Range`, and a
`Content-Range` that fits). A file whose end cannot be known, by its length or a pinned checksum, is refused. Passwords
in addresses are sent and never shown.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headstart.core.console import Console, format_bytes, format_duration
from headstart.core.errors import SetupError
from headstart.core.settings import is_offline
from headstart.core.storage.files import read_json, translate_disk_errors, write_json

ATTEMPTS = 3
_TIMEOUT_S = 60
_SHORT_S = 10  # for a small answer: nobody is to wait long for a network that is not there
_BLOCK_BYTES = 1 << 18
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_GONE = (404, 410)  # answers that mean that there is no such file


class BrokenDownload(ConnectionError):
    """The connection ended before the file did; what came is kept."""


def hide_credentials(address: str) -> str:
    """An address without its user, password and query."""
    return re.sub(r"\?.*$", "?…", re.sub(r"(\w+://)[^/?#]*@", r"\1…@", address)) if "://" in address else address


def join_address(base: str, file: str) -> str:
    """The address of a file below another address, whose query stays behind."""
    parts = urllib.parse.urlsplit(base)
    path = f"{parts.path.rstrip('/')}/{urllib.parse.quote(file)}"
    return urllib.parse.urlunsplit(parts._replace(path=path))


def download_file(address: str, part: Path, console: Console, *, pinned: bool, token: str = "") -> bool:
    """Bring a file to its full length in `part`; whether parts of several tries were joined.

    Args:
        part: The file; facts of the unfinished download lie beside it in `<part>.json`.
        pinned: Whether a checksum tells afterwards if the file is right. Without one the server must send a length,
            and something that names the version (`ETag`, `Last-Modified`) for a download to be gone on with.
        token: Of the user, for this server alone; empty for none.

    Raises:
        BrokenDownload: The connection ended early, several times or without a byte of progress.
        ValueError: The server's answer cannot be used.
        OSError: The server cannot be reached or refuses.
        SetupError: The disk is full, read-only or not permitted.
    """
    joined = False
    for attempt in range(ATTEMPTS):
        bytes_before = _part_bytes(part)
        try:
            return _download_once(address, part, console, pinned=pinned, token=token) or joined
        except BrokenDownload:
            if attempt + 1 == ATTEMPTS or _part_bytes(part) <= bytes_before:
                raise
            joined = True
            console.print_line("fetch", f"broken off after {format_bytes(_part_bytes(part))}; asking for the rest")
    raise AssertionError("the last attempt returns or raises")


def download_small(address: str, *, most_bytes: int, token: str = "") -> tuple[bytes, Any]:
    """A small answer, whole in memory, and its headers; asked for once, with a short time-out.

    Raises:
        ValueError: The server's answer cannot be used, or is larger than `most_bytes`.
        OSError: The server cannot be reached, refuses, or breaks off (`BrokenDownload`).
    """
    content, until = bytearray(), time.monotonic() + 3 * _SHORT_S

    def keep(block: bytes) -> None:
        content.extend(block)
        if len(content) > most_bytes:
            raise ValueError(f"more than {format_bytes(most_bytes)} came")
        if time.monotonic() > until:
            raise BrokenDownload("it sends too slowly")

    with _open_request(address, 0, "", token, _SHORT_S) as answer:
        total = _read_headers(answer, pinned=True)["total"]
        _copy_blocks(answer, keep, lambda count: None)
        if total is not None and len(content) != total:
            raise BrokenDownload(f"broken off after {format_bytes(len(content))} of {format_bytes(total)}")
        return bytes(content), answer.headers


def require_network(address: str) -> None:
    """Refuse to ask another machine while `HEADSTART_OFFLINE` is set, by a `SetupError`."""
    host = urllib.parse.urlsplit(address).hostname
    if is_offline() and host not in _THIS_MACHINE:
        hint = "leave out --offline, or unset HEADSTART_OFFLINE; or HEADSTART_WEIGHTS_MIRROR=FOLDER with the files"
        raise SetupError(f"{host} is not asked: HEADSTART_OFFLINE is set", where=hide_credentials(address), hint=hint)


def explain_unreachable(address: str, timeout_s: float) -> str:
    """Why a file cannot be had, by asking for its headers alone; empty where it can.

    Raises:
        SetupError: Another machine may not be asked.
    """
    try:
        _open_request(address, 0, "", "", timeout_s, method="HEAD").close()
    except urllib.error.HTTPError as err:
        err.close()
        return f"{hide_credentials(address)} answers {err.code}" if err.code in _GONE else ""
    except (OSError, ValueError, http.client.HTTPException) as err:
        reason = getattr(err, "reason", None) or err
        host = urllib.parse.urlsplit(address).netloc.rpartition("@")[2]
        return f"{host} does not answer: {reason or type(err).__name__}"
    return ""


def discard_part(part: Path) -> None:
    """Throw an unfinished or wrong download away."""
    for path in (part, _note_file(part)):
        path.unlink(missing_ok=True)


def _part_bytes(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _note_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_progress(part: Path, pinned: bool) -> tuple[int, dict[str, Any]]:
    """Bytes that can be gone on from, and what was noted of the file; a part of an unknown file is thrown away."""
    try:
        note = read_json(_note_file(part))
        have = _part_bytes(part)
        if have and (note["validator"] or pinned) and (note["total"] is None or have <= note["total"]):
            return have, note
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with translate_disk_errors(part):
        discard_part(part)
    return 0, {"validator": "", "total": None}


def _download_once(address: str, part: Path, console: Console, *, pinned: bool, token: str) -> bool:
    have, note = _read_progress(part, pinned)
    if have and have == note["total"]:
        return True
    try:
        answer = _open_request(address, have, note["validator"], token)
    except urllib.error.HTTPError as err:
        err.close()
        if have and err.code == 416:  # nothing lies behind what we have: it is not a part of that file
            discard_part(part)
            return _download_once(address, part, console, pinned=pinned, token=token)
        raise
    with answer:
        if answer.status == 206 and not _is_the_rest(answer, have, note):
            discard_part(part)
            if have:
                return _download_once(address, part, console, pinned=pinned, token=token)
            raise ValueError("the server sends a part where the whole was asked for")
        joined = bool(answer.status == 206)
        if not joined:
            have, note = 0, _read_headers(answer, pinned)
            discard_part(part)
            write_json(_note_file(part), note)
        _append_answer(answer, part, have, note["total"], console)
    return joined


def _open_request(
    address: str, have: int, validator: str, token: str, timeout_s: float = _TIMEOUT_S, *, method: str = "GET"
) -> Any:
    require_network(address)
    parts = urllib.parse.urlsplit(address)
    login, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urllib.parse.urlunsplit(parts._replace(netloc=host)), method=method)
    request.add_header("User-Agent", "headstart")
    request.add_header("Accept-Encoding", "identity")
    if login:
        token = base64.b64encode(urllib.parse.unquote(login).encode()).decode("ascii")
    if token:  # not sent on to where a redirect leads
        request.add_unredirected_header("Authorization", f"{'Basic' if login else 'Bearer'} {token}")
    if have:
        request.add_header("Range", f"bytes={have}-")
        if validator:
            request.add_header("If-Range", validator)
    answer = urllib.request.urlopen(request, timeout=timeout_s)
    if parts.scheme == "https" and not answer.url.startswith("https://"):
        answer.close()
        raise ValueError("the server leads away from https")
    return answer


def _read_headers(answer: Any, pinned: bool) -> dict[str, Any]:
    if answer.status != 200:
        raise ValueError(f"the server answers {answer.status}")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise ValueError("the server sends the file compressed, though it was asked not to")
    length = answer.headers.get("Content-Length") or ""
    if not length.isdigit() and not pinned:
        raise ValueError("the server does not say how long the file is, and no checksum of it is known")
    tag = answer.headers.get("ETag") or ""
    strong = "" if tag.startswith("W/") else tag
    return {
        "validator": strong or answer.headers.get("Last-Modified") or "",
        "total": int(length) if length.isdigit() else None,
    }


def _is_the_rest(answer: Any, have: int, note: dict[str, Any]) -> bool:
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range") or "")
    if not match or not have:
        return False
    first, last, total = map(int, match.groups())
    return first == have and last == total - 1 and note["total"] in (None, total)


def _append_answer(answer: Any, part: Path, have: int, total: int | None, console: Console) -> None:
    started = time.monotonic()
    with (
        console.show_progress("fetch", total or 0, "bytes") as progress,
        translate_disk_errors(part),
        part.open("ab") as out,
    ):
        progress.count_done(have, cached=True)
        _copy_blocks(answer, out.write, progress.count_done)
        out.flush()
        os.fsync(out.fileno())
    received = _part_bytes(part)
    if total is not None and received < total:
        progress_text = f"{format_bytes(received)} of {format_bytes(total)}"
        raise BrokenDownload(f"broken off after {progress_text}; the same command goes on from there")
    if total is not None and received > total:
        discard_part(part)
        raise ValueError(f"{received:,} bytes came where {total:,} were announced")
    seconds = time.monotonic() - started
    resumed = f", of which {format_bytes(have)} were here" if have else ""
    rate = f"{format_bytes((received - have) / max(seconds, 1e-9))}/s"
    console.print_line("fetch", f"{format_bytes(received)}{resumed}, in {format_duration(seconds)}, {rate}")


def _copy_blocks(answer: Any, write: Callable[[bytes], Any], count: Callable[[int], None]) -> None:
    while True:
        try:
            block = answer.read1(_BLOCK_BYTES)  # what is there, without waiting for a full block
        except http.client.IncompleteRead as err:  # what came before the break is good
            write(err.partial)
            raise BrokenDownload("broken off; the same command goes on from there") from err
        except OSError as err:
            raise BrokenDownload(f"broken off: {err}; the same command goes on from there") from err
        if not block:
            return
        write(block)
        count(len(block))
