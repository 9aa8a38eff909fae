"""`headstart serve` from its options to its end."""

from __future__ import annotations

import argparse
import contextlib
import threading
from typing import Any

from headstart.core.errors import UsageError, format_nearest
from headstart.core.job import parse_bytes, parse_duration_s
from headstart.serving import server
from headstart.serving.http.access_log import FORMS, Log


def serve(args: argparse.Namespace) -> None:
    """Serve until the process is told to stop.

    Raises:
        UsageError: An option is wrong, or other machines could ask without a key.
        DataError: A model is missing or damaged.
        SetupError: The address cannot be had, or the file for counts cannot be written.
    """
    log = Log("off" if args.quiet else _form(args.log))
    if args.usage is not None:
        from headstart.runtime.usage_log import require_log

        require_log(args.usage)
    keys = server.keys(args.api_key_file)
    place = server.Place(host=args.host, port=args.port, allowed=tuple(args.allow_host), keys=keys, open=args.no_key)
    with contextlib.closing(server.bound(place)) as listening:
        preparing = threading.Thread(target=_import_the_rest, daemon=True)
        preparing.start()
        desk = _desk(args, log, keyed=bool(keys))
        preparing.join()
        from headstart.serving.app import ServiceApp, application
        from headstart.serving.http.middleware import Keys

        app = application(desk, ServiceApp(keys=Keys.from_texts(keys), hosts=place.hosts))
        log.adopt()
        told = f"serve    {server.address(listening)}  {', '.join(desk.shelf.models)}; Ctrl-C ends it"
        server.run_server(app, listening, lambda: None if args.quiet else server.announce(told))


def _import_the_rest() -> None:
    """What the models do not need, imported while they are loaded."""
    import uvicorn  # noqa: F401

    import headstart.serving.app  # noqa: F401


def _form(text: str) -> str:
    if text not in FORMS:
        raise UsageError(
            f"there is no form `{text}`",
            where="--log",
            hint=format_nearest(text, FORMS) or f"known: {', '.join(FORMS)}",
        )
    return text


def _limits(args: argparse.Namespace) -> Any:
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


def _desk(args: argparse.Namespace, log: Log, *, keyed: bool) -> Any:
    from headstart.runtime.usage_log import UsageCounter
    from headstart.serving.inference.model_registry import named
    from headstart.serving.inference.prediction_service import PredictionService

    limits = _limits(args)
    shelf = server.shelf(named(args.runs), log, limits)
    shelf.usage = args.usage
    if args.usage is not None:
        for served in shelf.models.values():
            UsageCounter.from_model(served.model)  # a damaged reference is told before anyone asks
    return PredictionService(shelf=shelf, limits=limits, load=shelf.load, metrics=shelf.metrics, log=log, keyed=keyed)
