"""The studio: a page for people who do not program, over the command line and the run folders; no logic of its own.

Every action is a command line that runs in a child process and can be copied; every result is read from a run folder or
from what the command printed. What the studio needs beside the runs lies in `.studio` of their folder.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.core.errors import BusyError, HeadstartError
from headstart.core.storage.files import disk_errors
from headstart.serving.server import Place, bound
from headstart.studio.image_folders import Places
from headstart.studio.run_browser import RunBrowser
from headstart.studio.task_runner import TaskRunner

STATIC = Path(__file__).resolve().parent / "static"
_STATUS = {"UsageError": 422, "DataError": 404, "BusyError": 409}


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """All that the routes need.

    Attributes:
        home: What lies beside the runs.
        runs: The run folders.
        looks: Folders of audits, laid out as runs.
        desk: Child processes.
        places: Where pictures may come from.
    """

    home: Path
    runs: RunBrowser
    looks: RunBrowser
    desk: TaskRunner
    places: Places

    def shelf(self, name: str) -> RunBrowser:
        """`runs` or `looks`."""
        return self.looks if name == "looks" else self.runs


def studio(runs: Path, root: Path) -> Studio:
    """A studio on a folder of runs.

    Args:
        runs: Holds the run folders; made when missing.
        root: Nothing above it is browsed.

    Raises:
        SetupError: The folder cannot be written.
    """
    runs = runs.resolve()
    home = runs / ".studio"
    with disk_errors(home):
        for folder in ("tasks", "looks", "uploads", "tries"):
            (home / folder).mkdir(parents=True, exist_ok=True)
    return Studio(
        home=home,
        runs=RunBrowser(runs),
        looks=RunBrowser(home / "looks"),
        desk=TaskRunner(home / "tasks"),
        places=Places(root, home / "uploads"),
    )


@contextlib.contextmanager
def owned(own: Studio) -> Iterator[None]:
    """Be the only studio on a folder of runs while the block runs; pictures that were tried before are gone.

    Raises:
        BusyError: Another one is.
    """
    import filelock

    lock = filelock.FileLock(own.home / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        hint = "open the address that it printed, or choose another folder with `--runs`"
        raise BusyError(f"another studio works on `{own.runs.folder}`", hint=hint) from None
    try:
        own.desk.clear(("predict", "explain", "plan", "compare"))
        for tried in (own.home / "tries").iterdir():
            shutil.rmtree(tried, ignore_errors=True)
        yield
    finally:
        lock.release()


def application(own: Studio, *, token: str, port: int) -> Any:
    """The ASGI application behind its guard."""
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError
    from fastapi.staticfiles import StaticFiles

    from headstart.studio import routes, run_routes
    from headstart.studio.access_control import SessionMiddleware

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        with own.desk.open():
            yield

    app = FastAPI(title="headstart studio", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    app.state.studio = own
    app.include_router(run_routes.router)  # first: `/api/tasks/…` is no kind of run
    app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=STATIC, packages=[("headstart.serving", "static")]), name="static")
    app.add_exception_handler(HeadstartError, _told)
    app.add_exception_handler(RequestValidationError, _misread)
    return SessionMiddleware(app, token=token, port=port)


async def _told(_: Any, err: Any) -> Any:
    """An error as the command line tells it."""
    return _error(_STATUS.get(type(err).__name__, 409), type(err).__name__, err.what, err.where, err.hint)


async def _misread(_: Any, err: Any) -> Any:
    wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in err.errors())
    return _error(422, "UsageError", wrong, None, "reload the page")


def _error(status: int, kind: str, what: str, where: str | None, hint: str | None) -> Any:
    from fastapi.responses import JSONResponse

    return JSONResponse({"error": {"type": kind, "what": what, "where": where, "hint": hint}}, status)


def listen(port: int) -> socket.socket:
    """A socket on loopback.

    Raises:
        SetupError: The port is taken or not permitted.
    """
    return bound(Place(port=port))


def serve(own: Studio, door: socket.socket, token: str) -> None:
    """Answer until Ctrl-C; open streams are cut after a second, children go on."""
    import uvicorn

    from headstart.serving.http.connection import Bounded

    app = application(own, token=token, port=door.getsockname()[1])
    config = uvicorn.Config(
        app,
        http=Bounded,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
        ws="none",
    )
    uvicorn.Server(config).run(sockets=[door])
