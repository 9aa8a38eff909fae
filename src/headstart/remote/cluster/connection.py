"""A Ray cluster for the time of a run: one that is there, or one that is started on this machine and ends with it.

Telemetry is off, logs of workers stay in Ray's own folder, and the process's handler of SIGTERM stays as it was.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from headstart.core import extras
from headstart.core.errors import SetupError, UsageError
from headstart.core.settings import count_cores
from headstart.remote.cluster.options import read_options
from headstart.remote.cluster.ray_workers import RayWorkers

if TYPE_CHECKING:
    from headstart.core.console import Console
    from headstart.remote.cluster.options import ClusterOptions

_ANSWER_S = 5.0  # for a head to take a connection
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # lines of its daemons on standard output: what matters is told here
}


def load_ray() -> Any:
    """The module `ray`, its telemetry off; SetupError without the extra."""
    extras.require_extra("ray", "fanning out over a cluster")
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    return ray


def choose_workers(target: str, options: Mapping[str, str], console: Console) -> AbstractContextManager[Any]:
    """The workers of a job's target: those of a cluster for `ray`, None for any other."""
    return connect_workers(read_options(options), console) if target == "ray" else nullcontext()


@contextmanager
def connect_workers(options: ClusterOptions, console: Console) -> Iterator[RayWorkers]:
    """Workers of a cluster; a process that is connected already stays so.

    Raises:
        SetupError: Ray is missing, the cluster does not answer, or it runs another Ray or Python.
        UsageError: The address is none.
    """
    ray = load_ray()
    is_connected = ray.is_initialized()
    if not is_connected:
        _connect(ray, options)
    try:
        workers = RayWorkers(ray, options, console)
        console.print_line("ray", workers.describe())
        yield workers
    finally:
        if not is_connected:
            ray.shutdown()


def require_answer(address: str) -> None:
    """Refuse an address at which no head takes connections."""
    if address in ("", "auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if address.startswith("ray://") or not host or not port.isdigit():
        hint = "write HOST:PORT of the head, on a machine of the cluster; `ray start --address=HOST:PORT` makes it one"
        raise UsageError(f"`{address}` is no address of a cluster", where="--on-option address", hint=hint)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as err:
        what = f"the Ray cluster `{address}` does not answer: {err}"
        hint = f"`ray status --address={address}` tells whether it runs; without an address one is started here"
        raise SetupError(what, where="--on-option address", hint=hint) from err


def _connect(ray: Any, options: ClusterOptions) -> None:
    require_answer(options.address)
    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if is_main else None
    try:
        if options.address in ("", "local"):
            ray.init(address="local", num_cpus=count_cores(), include_dashboard=False, **quiet)
        else:
            ray.init(address=options.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as err:
        raise _explain_failure(options.address, str(err)) from err
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)


def _explain_failure(address: str, message: str) -> SetupError:
    first = " ".join(message.split())[:300]
    where = "--on-option address"
    if "ersion mismatch" in message:
        hint = "install the same Ray and Python on this machine and in the cluster"
        return SetupError(f"the Ray cluster `{address}` runs other versions: {first}", where=where, hint=hint)
    if address in ("", "local"):
        return SetupError(
            f"a local Ray cluster cannot be started: {first}", hint="leave out --on ray: all is done here"
        )
    hint = f"`ray start --address={address}` makes this machine one of the cluster"
    return SetupError(f"the Ray cluster `{address}` cannot be joined: {first}", where=where, hint=hint)
