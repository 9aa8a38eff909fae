"""Who may write a run in a bucket: a small object that its owner renews, and that nobody else replaces meanwhile.

No two clocks are compared: who wants a lease that is there watches whether it is renewed. One that was not for so long
is over and taken by a conditional request, of which the store lets one win. A process that was killed on this very
machine is seen at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.core.console import Console
from headstart.core.errors import BusyError, HeadstartError
from headstart.core.storage.files import format_printable
from headstart.core.storage.locations.uploads import (
    TextObject,
    delete_objects,
    find_text_object,
    replace_text_object,
    write_text_object,
)

LEASE = ".headstart/lease.json"
RENEW_S, LEASE_S = 8.0, 30.0  # an owner renews it so often; unchanged for so long, it is over
_WATCH_S = 1.0


class Lease:
    """The right to write below an address, as long as it is renewed."""

    def __init__(self, address: str, token: str, version: str) -> None:
        self.address, self._token, self._version = address, token, version
        self._renewed, self._lock = time.monotonic(), threading.Lock()

    def require(self) -> None:
        """Renew it where that is due; raises BusyError where another process has taken it."""
        with self._lock:
            if time.monotonic() - self._renewed > RENEW_S:
                self._renew()

    def _renew(self) -> None:
        place = f"{self.address}/{LEASE}"
        is_ours = replace_text_object(place, _format_lease(self._token), self._version)
        lease = find_text_object(place)
        if not is_ours and lease is not None and _parse(lease.text).get("token") == self._token:
            # an earlier renewal came through, its answer did not
            is_ours = replace_text_object(place, _format_lease(self._token), lease.version)
            lease = find_text_object(place)
        if not is_ours or lease is None or _parse(lease.text).get("token") != self._token:
            raise make_busy_error(self.address)
        self._version, self._renewed = lease.version, time.monotonic()

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew it while the block runs, and give it back at its end."""
        is_over = threading.Event()

        def work() -> None:
            while not is_over.wait(RENEW_S / 2):
                with contextlib.suppress(HeadstartError):  # who sends next is told
                    self.require()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            self.release()

    def release(self) -> None:
        """Give it back, if it is still this one's."""
        lease = find_text_object(f"{self.address}/{LEASE}")
        if lease is not None and _parse(lease.text).get("token") == self._token:
            delete_objects(self.address, [LEASE])


def take_lease(address: str, console: Console) -> Lease:
    """The lease of an address, once nobody else has it.

    Raises:
        BusyError: Another process renews it.
        SetupError: The bucket is not there, may not be written, or does not answer.
    """
    token, place = secrets.token_hex(8), f"{address}/{LEASE}"
    while not write_text_object(place, _format_lease(token), only_if_new=True):
        earlier = find_text_object(place)
        if earlier is None:
            continue  # released this moment
        if not _is_over(earlier):
            _watch(address, earlier, console)
        if replace_text_object(place, _format_lease(token), earlier.version):
            break
    lease = find_text_object(place)
    if lease is None or _parse(lease.text).get("token") != token:
        raise make_busy_error(address)
    return Lease(address, token, lease.version)


def _format_owner(address: str) -> str:
    lease = find_text_object(f"{address}/{LEASE}")
    entry = _parse(lease.text) if lease else {}
    return f" (process {entry.get('pid')} on {format_printable(str(entry.get('host')))})" if entry else ""


def _is_over(lease: TextObject) -> bool:
    entry = _parse(lease.text)
    return not entry or (entry.get("machine") == _name_machine() != "" and not _runs(entry.get("pid")))


def _watch(address: str, lease: TextObject, console: Console) -> None:
    """Return when a lease was not renewed for so long that it is over; raises BusyError once it is."""
    owner, end = _format_owner(address), time.monotonic() + LEASE_S
    console.print_line("wait", f"the run at {address} had a writer{owner}: watching for {LEASE_S:.0f} s if it lives")
    while time.monotonic() < end:
        time.sleep(min(_WATCH_S, LEASE_S / 4))
        now = find_text_object(f"{address}/{LEASE}")
        if now is None:
            return
        if now.text != lease.text:
            raise make_busy_error(address)


def make_busy_error(address: str) -> BusyError:
    """The error of a run that another process writes, with who it is."""
    what = f"another process is writing the run `{format_printable(address)}`{_format_owner(address)}"
    return BusyError(what, where=address, hint="wait for it, or choose another address with `--out`")


def _format_lease(token: str) -> str:
    entry = {"token": token, "pid": os.getpid(), "host": socket.gethostname(), "machine": _name_machine()}
    return json.dumps({**entry, "written": time.time()})


def _parse(text: str) -> dict[str, Any]:
    try:
        entry = json.loads(text)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _name_machine() -> str:
    """This machine since it was started, and what its process numbers count in; empty where that cannot be told."""
    if not sys.platform.startswith("linux"):
        return ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115
    return ""


def _runs(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, TypeError, ValueError):
        return True
    return True
