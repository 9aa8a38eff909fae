"""`headstart serve` as a process: its options, a socket, the models, uvicorn, and an end without a lost request."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core import settings
from headstart.core.console import Console
from headstart.core.errors import SetupError, UsageError, format_nearest
from headstart.core.job import format_flag
from headstart.core.quantities import parse_bytes, parse_duration_s
from headstart.serving.hosting import Hosting, bring_model, require_hosting
from headstart.serving.http.access_log import LOG_FORMATS, AccessLog

if TYPE_CHECKING:
    from headstart.serving.inference.prediction_service import PredictionService
    from headstart.serving.request_limits import Limits

GRACE_S = 30
_SHORTEST_KEY = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where a service listens and who may come."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0 takes any free one
    allowed: tuple[str, ...] = ()  # more host names under which it may be called
    keys: tuple[str, ...] = ()
    without_key: bool = False  # it may listen to other machines without a key

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names that are answered; empty for all, where others than this machine are meant to ask."""
        if not self.is_local and not self.allowed:
            return ()
        own_host = f"[{self.host}]" if ":" in self.host else self.host
        return ("localhost", "127.0.0.1", "[::1]", own_host, *(name.lower() for name in self.allowed))


def read_keys(file: Path | None) -> tuple[str, ...]:
    """The keys of a file, one a line, or the one of HEADSTART_API_KEY.

    Raises:
        UsageError: A key is too short to be one, or the file has none.
        SetupError: The file cannot be read.
    """
    if file is None:
        variable = settings.read_setting("HEADSTART_API_KEY")
        keys = [variable.strip()] if variable else []
    else:
        try:
            keys = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as err:
            why = "it is no UTF-8 text" if isinstance(err, UnicodeDecodeError) else err.strerror or err
            hint = f"openssl rand -hex 32 > {file}" if isinstance(err, FileNotFoundError) else None
            raise SetupError(f"the key file `{file}` cannot be read: {why}", where=str(file), hint=hint) from err
        if not keys:
            raise UsageError(f"the key file `{file}` has no key", hint=f"openssl rand -hex 32 > {file}")
    if short := [key for key in keys if len(key) < _SHORTEST_KEY]:
        problem = f"a key has {len(short[0])} characters; it must have {_SHORTEST_KEY} or more"
        raise UsageError(problem, hint="openssl rand -hex 32 makes one")
    return tuple(keys)


def bind_socket(address: ListenAddress) -> socket.socket:
    """A listening socket; raises `UsageError` (others could reach it without a key), `SetupError` (taken)."""
    if not address.is_local and not address.keys and not address.without_key:
        problem = f"`{address.host}` can be reached from other machines, and there is no key"
        hint = "name a key with --api-key-file, or say --no-key where something else guards the service"
        raise UsageError(problem, where="--host", hint=hint)
    listening = None
    try:
        family = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        if sys.platform != "win32":  # there it would share the port with a stranger
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.host, address.port))
        listening.listen(1024)
    except (OSError, OverflowError, UnicodeError) as err:
        if listening is not None:
            listening.close()
        why = getattr(err, "strerror", None) or str(err)
        problem = f"cannot listen at `{address.host}:{address.port}`: {why}"
        raise SetupError(problem, hint="--port 0 takes any free port") from err
    return listening


def format_address(listening: socket.socket) -> str:
    """The address of a socket as one types it."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run_server(app: Any, listening: socket.socket, ready_line: str) -> None:
    """Serve until SIGTERM or Ctrl-C; begun requests are answered first. Raises `SetupError`: it could not start."""
    import uvicorn

    from headstart.serving.http.connection import BoundedConnection

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and ready_line:
                print(ready_line, file=sys.stderr, flush=True)

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn raises the signal again after its end; for this process the end is what was asked for
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            handlers = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)

    config = uvicorn.Config(
        app,
        http=BoundedConnection,
        proxy_headers=False,  # nothing here depends on who asks, or how a proxy was asked
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        ws="none",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=2048,
    )
    server = Server(config)
    server.run(sockets=[listening])
    if not server.started:
        raise SetupError("the service could not be started", hint="the log says why")


def run_service(args: argparse.Namespace) -> None:
    """Serve until the process is told to stop.

    Raises:
        UsageError: An option is wrong, or other machines could ask without a key.
        DataError: A model is missing or damaged.
        SetupError: The address cannot be had, or the file for counts cannot be written.
    """
    log = AccessLog("off" if args.quiet else _require_log_format(args.log))
    if args.usage is not None:
        from headstart.runtime.usage_log import require_log

        require_log(args.usage)
    hosting = None if args.runs else require_hosting(os.environ)
    keys = () if hosting else read_keys(args.api_key_file)
    address = _read_address(args, hosting, keys)
    with contextlib.closing(bind_socket(address)) as listening:
        preparing = threading.Thread(target=_import_http_stack, daemon=True)
        preparing.start()
        service = _build_service(args, log, hosting, keyed=bool(keys))
        preparing.join()
        from headstart.serving.app import make_application

        app = make_application(service, keys, address.hosts, hosting=hosting)
        log.adopt_loggers()
        names = ", ".join(service.registry.models)
        ready_line = f"serve    {format_address(listening)}  {names}; Ctrl-C ends it"
        run_server(app, listening, "" if args.quiet else ready_line)


def _read_address(args: argparse.Namespace, hosting: Hosting | None, keys: tuple[str, ...]) -> ListenAddress:
    if hosting:  # reached through the platform alone, which says who may ask
        if args.api_key_file or (args.host, args.port) != ("127.0.0.1", 8000):
            who = "the platform chooses address and port, and says who may ask"
            Console().print_warning(f"--host, --port and --api-key-file have no effect in an endpoint: {who}")
        return ListenAddress(host="0.0.0.0", port=hosting.port, without_key=True)
    return ListenAddress(
        host=args.host, port=args.port, allowed=tuple(args.allow_host), keys=keys, without_key=args.no_key
    )


def _import_http_stack() -> None:
    """What the models do not need, imported while they are loaded."""
    import uvicorn  # noqa: F401

    import headstart.serving.app  # noqa: F401


def _require_log_format(text: str) -> str:
    if text not in LOG_FORMATS:
        hint = format_nearest(text, LOG_FORMATS) or f"known: {', '.join(LOG_FORMATS)}"
        raise UsageError(f"there is no form `{text}`", where="--log", hint=hint)
    return text


def _read_limits(args: argparse.Namespace) -> Limits:
    from headstart.serving.request_limits import Limits

    for name in ("max_megapixels", "max_total_megapixels"):
        if not getattr(args, name) > 0:
            raise UsageError(f"`{getattr(args, name):g}` megapixels are none", where=format_flag(name))
    return Limits(
        upload_bytes=int(parse_bytes(args.max_upload, where="--max-upload")),
        pixels=int(args.max_megapixels * 1e6),
        total_pixels=int(max(args.max_megapixels, args.max_total_megapixels) * 1e6),
        files=args.max_files,
        queue=args.queue,
        timeout_s=parse_duration_s(args.timeout, where="--timeout"),
    )


def _build_service(
    args: argparse.Namespace, log: AccessLog, hosting: Hosting | None, *, keyed: bool
) -> PredictionService:
    from headstart.runtime.usage_log import UsageCounter
    from headstart.serving.inference.model_registry import ModelRegistry, open_model, parse_model_names
    from headstart.serving.inference.prediction_service import PredictionService
    from headstart.serving.prometheus_metrics import Metrics
    from headstart.serving.request_limits import Load

    limits = _read_limits(args)
    places = {"model": str(bring_model(hosting))} if hosting else parse_model_names(args.runs)
    models = {name: open_model(name, place) for name, place in places.items()}
    load = Load(limits)
    metrics, pool = Metrics(load), ThreadPoolExecutor(settings.count_threads(), thread_name_prefix="decode")
    registry = ModelRegistry(models=models, pool=pool, load=load, metrics=metrics, log=log, usage=args.usage)
    if args.usage is not None:
        for served in models.values():
            UsageCounter.from_model(served.model)  # a damaged reference is an error before anyone asks
    return PredictionService(registry=registry, limits=limits, load=load, metrics=metrics, log=log, keyed=keyed)
