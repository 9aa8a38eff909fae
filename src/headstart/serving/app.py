"""The application: routes over one service, behind the checks of every request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headstart import __version__
from headstart.serving.hosting import Hosting
from headstart.serving.http.middleware import AccessMiddleware, format_refusal
from headstart.serving.inference.model_registry import ASK_BUCKET_S
from headstart.serving.inference.prediction_service import PredictionService
from headstart.serving.request_limits import Refusal
from headstart.serving.routes import health, hosted, open_inference_v2, page, v1

_WRITE_USAGE_S = 60  # seconds between two writings of what was counted


def make_application(
    service: PredictionService,
    keys: tuple[str, ...],
    hosts: tuple[str, ...],
    *,
    hosting: Hosting | None = None,
    watch_s: float = 2.0,
) -> AccessMiddleware:
    """The prediction service; it looks for changed run folders every `watch_s` seconds, at 0 never."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.registry.start_workers()
        tasks = [asyncio.create_task(service.registry.write_usage_forever(_WRITE_USAGE_S))]
        if watch_s:
            tasks.append(asyncio.create_task(service.registry.watch_places(watch_s)))
            tasks.append(asyncio.create_task(service.registry.watch_places(ASK_BUCKET_S, remote=True)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await service.registry.stop_workers()

    app = FastAPI(title="headstart serve", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    for routes in (v1, open_inference_v2, health):
        app.include_router(routes.make_router(service))
    if hosting is not None:
        app.include_router(hosted.make_router(service, hosting))
    app.include_router(page.make_router())
    app.add_exception_handler(Refusal, _handle_refusal)
    app.add_exception_handler(HTTPException, _handle_http_error)
    return AccessMiddleware(
        app, keys=keys, hosts=hosts, log=service.log, metrics=service.metrics, direct=v1.make_direct_routes(service)
    )


async def _handle_refusal(request: Request, err: Exception) -> Response:
    assert isinstance(err, Refusal)
    return JSONResponse(format_refusal(err, request.url.path), err.status, headers=err.headers)


async def _handle_http_error(request: Request, err: Exception) -> Response:
    assert isinstance(err, HTTPException)
    sentences = {404: "there is nothing at this address", 405: "this address takes another method"}
    refusal = Refusal(err.status_code, sentences.get(err.status_code, str(err.detail)), headers=err.headers)
    return await _handle_refusal(request, refusal)
