"""Who may speak to the studio: the browser of the person who started it, and nobody else's page.

The studio starts processes, so it listens on loopback only and asks three things of every request: a `Host` that is
loopback (a foreign name that resolves to it is refused: DNS rebinding), the session's token (in the address once, then
in a strict cookie) and, where something changes, an `WeightsOrigin` of its own (cross-site request forgery).
"""

from __future__ import annotations

import hmac
import json
from typing import Any
from urllib.parse import parse_qs

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The report is a page of its own: it runs apart, without the studio's origin, and reaches nothing.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_SAFE = ("GET", "HEAD")
_HINT = "open the address that `headstart studio` printed"


class SessionMiddleware:
    """ASGI middleware that lets only the own page through.

    Args:
        app: What it guards.
        token: Of this session.
        port: On which it listens.
    """

    def __init__(self, app: Any, *, token: str, port: int) -> None:
        self.app, self.token = app, token
        self.cookie = f"headstart_studio_{port}"  # cookies do not know of ports
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or refuse it before anything is done."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope, headers)
        if scope["type"] != "http":
            return
        if refused:
            await _answer(send, 403, refused)
        elif self._enters(scope):
            cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
            await _plain(send, 303, b"", {"location": "/", "set-cookie": cookie})
        elif not self._known(headers):
            await self._stranger(scope, send)
        else:
            await self.app(scope, receive, _dressed(send))

    def _refused(self, scope: Any, headers: dict[str, str]) -> str:
        """Why a request is none of ours; empty when it may be."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self.hosts:
            return f"the host `{host[:100]}` is not this machine's own"
        if origin is not None and origin.removeprefix("http://") not in self.hosts:
            return f"a page of `{origin[:100]}` may not ask the studio"
        if origin is None and scope.get("method") not in _SAFE:
            return "a request that changes something needs the header `WeightsOrigin`"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not self._enters(scope):
            return "another page may not ask the studio"
        return ""

    def _enters(self, scope: Any) -> bool:
        """Whether it is the address with the token, on its way in."""
        if scope.get("method") != "GET" or scope["path"] != "/":
            return False
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return self._same(given)

    def _known(self, headers: dict[str, str]) -> bool:
        # by hand: programs at other ports share the jar, and the library gives up at the first cookie that is odd
        each = (one.strip().partition("=") for one in headers.get("cookie", "").split(";"))
        return any(name == self.cookie and self._same(value) for name, _, value in each)

    def _same(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())

    async def _stranger(self, scope: Any, send: Any) -> None:
        if scope["path"] != "/":
            await _answer(send, 401, "the session's token is missing")
            return
        page = (
            '<!doctype html><html lang="en-GB"><meta charset="utf-8"><title>headstart studio</title>'
            "<h1>This page needs its key</h1><p>The studio was started again, or this is another browser. "
            "Open the address that <code>headstart studio</code> printed in its terminal.</p></html>"
        )
        await _plain(send, 401, page.encode(), {"content-type": "text/html; charset=utf-8"})


async def _answer(send: Any, status: int, what: str) -> None:
    error = {"type": "Refused", "what": what, "where": None, "hint": _HINT}
    await _plain(send, status, json.dumps({"error": error}).encode(), {"content-type": "application/json"})


async def _plain(send: Any, status: int, body: bytes, more: dict[str, str]) -> None:
    headers = _HEADERS | more | {"content-length": str(len(body))}
    packed = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": packed})
    await send({"type": "http.response.body", "body": body})


def _dressed(send: Any) -> Any:
    """Send with the headers that every answer has; one that the answer sets itself stays."""

    async def dressed(message: Any) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message["headers"]}
            more = [(name.encode(), value.encode()) for name, value in _HEADERS.items() if name.encode() not in own]
            message = message | {"headers": [*message["headers"], *more]}
        await send(message)

    return dressed
