"""SIGTERM and limits of time as an orderly stop: locks are released, what is done stays, the same job goes on from it.

A platform that takes a machine back sends SIGTERM, waits some seconds and kills. Unlike Ctrl-C, which means "hand over
the best so far", SIGTERM decides nothing: the run ends later as it would have ended unbroken.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

from headstart.core.errors import UsageError

TERMINATED = 128 + signal.SIGTERM  # exit code, as a shell reports it
GRACE_S = 20.0  # from the signal to a hard stop where a long computation does not return; Vertex AI waits 30 s
_LONGEST_WAIT_S = 86_400.0  # of a condition: some systems take no more


class Terminated(SystemExit):
    """The process was asked to stop, or a limit was reached; not an `Exception`, so nothing takes it for a failure."""

    def __init__(self, limit: str = "") -> None:
        super().__init__(TERMINATED)
        self.limit = limit  # the limit in words; empty for SIGTERM


@contextlib.contextmanager
def stop_orderly(*, left_s: float | None = None, limit: str = "", grace_s: float = GRACE_S) -> Iterator[None]:
    """Raise `Terminated` in the block on SIGTERM, or when `left_s` seconds have passed, which `limit` names.

    Outside the main thread, which alone may handle signals, the block runs as it is; with a limit that is a UsageError.
    """
    if threading.current_thread() is not threading.main_thread():
        if left_s is not None:
            raise UsageError(
                f"{limit} can be kept in the main thread alone", hint="run the job in a process of its own"
            )
        yield
        return
    stop = _Stop(limit, grace_s)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    earlier_fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=stop.await_signal, args=(reading,), name="hard stop", daemon=True).start()
    previous = signal.getsignal(signal.SIGTERM)
    try:  # from here on any line may raise
        signal.signal(signal.SIGTERM, stop.raise_terminated)
        if left_s is not None:
            threading.Thread(target=stop.await_limit, args=(left_s,), name="limit", daemon=True).start()
        yield
    finally:
        stop.is_raised = True  # the handler does nothing more
        with stop.lock:
            stop.over.set()
        signal.set_wakeup_fd(earlier_fd)
        signal.signal(signal.SIGTERM, previous)
        os.close(writing)  # ends the thread, which closes the other end


class _Stop:
    """What the handler and the two threads share."""

    def __init__(self, limit: str, grace_s: float) -> None:
        self.over, self.lock = threading.Event(), threading.Lock()
        self.limit, self.grace_s = limit, grace_s
        self.is_limit_reached = False
        self.is_raised = False

    def raise_terminated(self, number: int, frame: object) -> None:
        """Handle SIGTERM: the first is raised, more of them change nothing while the block winds up."""
        if not self.is_raised:
            self.is_raised = True
            raise Terminated(self.limit if self.is_limit_reached else "")

    def await_signal(self, reading: int) -> None:
        """End the process hard where the block does not end in time: C code lets no handler run."""
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            while numbers := pipe.read(64):
                if signal.SIGTERM in numbers and not self.over.wait(self.grace_s):
                    os._exit(1 if self.is_limit_reached else TERMINATED)

    def await_limit(self, left_s: float) -> None:
        """Act as SIGTERM does when the time is up."""
        end = time.monotonic() + left_s
        while (rest_s := end - time.monotonic()) > 0:
            if self.over.wait(min(rest_s, _LONGEST_WAIT_S)):
                return
        with self.lock:  # the handler is there until it is over
            if self.over.is_set():
                return
            self.is_limit_reached = True
            if hasattr(signal, "pthread_kill"):  # a real signal ends a wait in the system too
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            else:
                signal.raise_signal(signal.SIGTERM)
