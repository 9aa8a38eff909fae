"""The page at `/` and the few files that it needs; all of them from this package, none from a network."""

from __future__ import annotations

from importlib import resources
from pathlib import PurePath

from fastapi import APIRouter
from starlette.responses import Response

from headstart.serving.request_limits import Refusal

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FRONT = "page.html"
NAMES = (FRONT, "page.css", "page.js", "tokens.css")


def make_router() -> APIRouter:
    """The page and its files below `/static`, by their exact name."""
    folder = resources.files("headstart.serving") / "static"
    files = {name: (folder / name).read_bytes() for name in NAMES}
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> Response:
        return make_file_response(FRONT, files[FRONT])

    @router.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in files:
            raise Refusal(404, "there is no such file")
        return make_file_response(name, files[name])

    return router


def make_file_response(name: str, content: bytes) -> Response:
    """A file of the page, with the policy that keeps foreign scripts and addresses out."""
    headers = {"content-security-policy": POLICY, "cache-control": "no-cache", "referrer-policy": "no-referrer"}
    kind = f"{_TYPES[PurePath(name).suffix]}; charset=utf-8"
    return Response(content, headers=headers | {"content-type": kind})
