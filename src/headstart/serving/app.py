"""The application put together: routes over one desk, behind the guard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headstart import __version__
from headstart.serving.http.access_log import request_id
from headstart.serving.http.middleware import AccessMiddleware, Keys, format_refusal
from headstart.serving.inference.prediction_service import PredictionService
from headstart.serving.request_limits import Refused
from headstart.serving.routes import health, open_inference_v2, page, v1

_KEEP_S = 60  # seconds between two writings of what was counted


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceApp:
    """Who may come in.

    Attributes:
        keys: Keys that are taken.
        hosts: Host names under which the service may be called; empty allows all.
    """

    keys: Keys
    hosts: tuple[str, ...]


def application(desk: PredictionService, door: ServiceApp, *, watch_s: float = 2.0) -> AccessMiddleware:
    """The prediction service.

    Args:
        desk: What it works with.
        door: Who may ask.
        watch_s: Seconds between two looks for changed run folders; 0 never looks.
    """

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        desk.shelf.start()
        beside = [asyncio.create_task(desk.shelf.keep(_KEEP_S))]
        if watch_s:
            beside.append(asyncio.create_task(desk.shelf.watch(watch_s)))
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
            await desk.shelf.stop()

    routers = (v1.router(desk), open_inference_v2.router(desk), health.router(desk), page.router())
    made = put_together("headstart serve", routers, life)
    return AccessMiddleware(
        made, keys=door.keys, hosts=door.hosts, log=desk.log, metrics=desk.metrics, direct=v1.direct(desk)
    )


def put_together(title: str, routers: Iterable[APIRouter], life: Callable[[FastAPI], Any] | None = None) -> FastAPI:
    """An application of some routes, with the house's errors and without pages that need a network.

    Args:
        title: In its OpenAPI document.
        routers: The routes.
        life: What happens before the first request and after the last.
    """
    app = FastAPI(title=title, version=__version__, docs_url=None, redoc_url=None, lifespan=life)
    for one in routers:
        app.include_router(one)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _unknown)
    return app


async def _refused(request: Request, err: Exception) -> Response:
    assert isinstance(err, Refused)
    body = format_refusal(err, request.url.path, request_id.get())
    return JSONResponse(body, err.status, headers=err.headers)


async def _unknown(request: Request, err: Exception) -> Response:
    """No such route, or not by this method."""
    assert isinstance(err, HTTPException)
    what = {404: "there is nothing at this address", 405: "this address takes another method"}
    told = Refused(err.status_code, what.get(err.status_code, str(err.detail)), headers=err.headers)
    return await _refused(request, told)
