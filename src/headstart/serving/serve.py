"""`headstart serve` from its options to its end."""

from __future__ import annotations

import argparse
import contextlib
import threading
from typing import TYPE_CHECKING

from headstart.core.errors import UsageError, format_nearest
from headstart.core.job import parse_bytes, parse_duration_s
from headstart.serving import server
from headstart.serving.http.access_log import LOG_FORMATS, AccessLog

if TYPE_CHECKING:
    from headstart.serving.inference.prediction_service import PredictionService
    from headstart.serving.request_limits import Limits


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
    keys = server.read_keys(args.api_key_file)
    address = server.ListenAddress(
        host=args.host, port=args.port, allowed=tuple(args.allow_host), keys=keys, without_key=args.no_key
    )
    with contextlib.closing(server.bind_socket(address)) as listening:
        preparing = threading.Thread(target=_import_http_stack, daemon=True)
        preparing.start()
        service = _build_service(args, log, keyed=bool(keys))
        preparing.join()
        from headstart.serving.app import make_application

        app = make_application(service, keys, address.hosts)
        log.adopt_loggers()
        names = ", ".join(service.registry.models)
        ready_line = f"serve    {server.format_address(listening)}  {names}; Ctrl-C ends it"
        server.run_server(app, listening, "" if args.quiet else ready_line)


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

    if not args.max_megapixels > 0:
        raise UsageError(f"`{args.max_megapixels:g}` megapixels are none", where="--max-megapixels")
    return Limits(
        upload_bytes=int(parse_bytes(args.max_upload, where="--max-upload")),
        pixels=int(args.max_megapixels * 1e6),
        files=args.max_files,
        queue=args.queue,
        timeout_s=parse_duration_s(args.timeout, where="--timeout"),
    )


def _build_service(args: argparse.Namespace, log: AccessLog, *, keyed: bool) -> PredictionService:
    from headstart.runtime.usage_log import UsageCounter
    from headstart.serving.inference.model_registry import parse_model_names
    from headstart.serving.inference.prediction_service import PredictionService

    limits = _read_limits(args)
    registry = server.load_registry(parse_model_names(args.runs), log, limits)
    registry.usage = args.usage
    if args.usage is not None:
        for served in registry.models.values():
            UsageCounter.from_model(served.model)  # a damaged reference is an error before anyone asks
    return PredictionService(
        registry=registry, limits=limits, load=registry.load, metrics=registry.metrics, log=log, keyed=keyed
    )
