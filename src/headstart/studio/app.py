"""The studio: a page for people who do not program, over the command line and the run folders; no logic of its own.

Every action is a command line that runs in a child process and can be copied; every result is read from a run folder or
from what the command printed.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from headstart.core.errors import HeadstartError
from headstart.serving.server import ListenAddress, bind_socket
from headstart.studio.state import STATIC, Studio

_STATUS = {"UsageError": 422, "DataError": 404, "BusyError": 409}


def make_application(studio: Studio, *, token: str, port: int, code: str = "") -> Any:
    """The ASGI application behind its checks."""
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError
    from fastapi.staticfiles import StaticFiles

    from headstart.studio import label_routes, routes, run_routes
    from headstart.studio.access_control import SessionMiddleware

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with studio.tasks.run_queue():
            yield

    app = FastAPI(title="headstart studio", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.studio = studio
    app.include_router(run_routes.router)  # first: `/api/tasks/…` is no kind of run
    app.include_router(label_routes.router)
    app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=STATIC, packages=[("headstart.serving", "static")]), name="static")
    app.add_exception_handler(HeadstartError, _handle_error)
    app.add_exception_handler(RequestValidationError, _handle_invalid_request)
    return SessionMiddleware(app, token=token, port=port, code=code)


async def _handle_error(_: Any, err: Any) -> Any:
    return _make_error_response(_STATUS.get(type(err).__name__, 409), type(err).__name__, err.what, err.where, err.hint)


async def _handle_invalid_request(_: Any, err: Any) -> Any:
    problems = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in err.errors())
    return _make_error_response(422, "UsageError", problems, None, "reload the page")


def _make_error_response(status: int, kind: str, what: str, where: str | None, hint: str | None) -> Any:
    from fastapi.responses import JSONResponse

    return JSONResponse({"error": {"type": kind, "what": what, "where": where, "hint": hint}}, status)


def bind_loopback(port: int) -> socket.socket:
    """A socket on loopback; raises `SetupError` where the port is taken or not permitted."""
    return bind_socket(ListenAddress(port=port))


def run_studio(studio: Studio, listening: socket.socket, token: str, code: str = "") -> None:
    """Answer until Ctrl-C; open streams are cut after a second, children go on. The `code` lets in once."""
    import uvicorn

    from headstart.serving.http.connection import BoundedConnection

    app = make_application(studio, token=token, port=listening.getsockname()[1], code=code)
    switched_off: Any = {"access_log": False, "server_header": False, "proxy_headers": False, "ws": "none"}
    config = uvicorn.Config(
        app, http=BoundedConnection, log_level="warning", timeout_graceful_shutdown=1, **switched_off
    )
    uvicorn.Server(config).run(sockets=[listening])
