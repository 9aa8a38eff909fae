"""The page at `/` and the few files that it needs; all of them from this package, none from a network."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter
from starlette.responses import Response

from headstart.serving.request_limits import Refused

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


FRONT = "page.html"
NAMES = (FRONT, "page.css", "page.js", "tokens.css")


def router() -> APIRouter:
    """The page and its files below `/static`, by their exact name."""
    folder = resources.files("headstart.serving") / "static"
    files = {name: (folder / name).read_bytes() for name in NAMES}
    made = APIRouter(include_in_schema=False)

    @made.get("/")
    async def page() -> Response:
        return served(FRONT, files[FRONT])

    @made.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in files:
            raise Refused(404, "there is no such file")
        return served(name, files[name])

    return made


def served(name: str, content: bytes) -> Response:
    """A file of the page, with the policy that keeps foreign scripts and addresses out."""
    headers = {"content-security-policy": POLICY, "cache-control": "no-cache", "referrer-policy": "no-referrer"}
    kind = f"{_TYPES[_suffix(name)]}; charset=utf-8"
    return Response(content, headers=headers | {"content-type": kind})


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
