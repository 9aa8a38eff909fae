"""What both applications check before a route sees a request: the host, and the page that asks; and strict headers.

Starlette's `TrustedHostMiddleware` answers 400 in plain text; both applications promise 403 and JSON with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from headstart.serving.request_limits import Refusal

STRICT_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin"))
RawHeaders = Mapping[bytes, bytes]  # names in lower case


class SecuredResponse:
    """The way back to the client: adds headers that the answer does not set itself, and remembers the status."""

    def __init__(self, send: Any, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._send, self._headers = send, headers
        self.status = 0

    async def __call__(self, message: Any) -> None:
        """Hand on a message of ASGI."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message.get("headers", [])
            names = {name for name, _ in headers}
            message["headers"] = [*headers, *(header for header in self._headers if header[0] not in names)]
        await self._send(message)

    async def send_body(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        packed = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        packed.append((b"content-length", str(len(body)).encode()))
        await self({"type": "http.response.start", "status": status, "headers": packed})
        await self({"type": "http.response.body", "body": body})

    async def send_refusal(self, refused: Refusal, content: Any) -> None:
        """Send a refusal with `content` as JSON."""
        headers = refused.headers | {"content-type": "application/json"}
        await self.send_body(refused.status, json.dumps(content).encode(), headers)


class SecurityMiddleware:
    """Lets requests through by known `hosts` (without port) and from no foreign page; what is empty allows all."""

    host_hint = ""

    def __init__(
        self, app: Any, *, hosts: Iterable[str], port: int | None = None, schemes: tuple[str, ...] = ()
    ) -> None:
        self.app = app
        self._hosts, self._port, self._schemes = frozenset(hosts), port, schemes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one request; the lifespan goes to the application, and nothing else does."""
        if scope["type"] == "http":
            await self.handle_request(scope, receive, send, dict(scope["headers"]))
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send)

    async def handle_request(self, scope: Any, receive: Any, send: Any, headers: RawHeaders) -> None:
        """Answer a request, or refuse it."""
        raise NotImplementedError

    def require_own_host_and_page(self, headers: RawHeaders) -> None:
        """Raise `Refusal` 403 for foreign hosts (DNS rebinding) and pages of other origins (cross-site requests)."""
        host = headers.get(b"host", b"").decode("latin-1")
        name, port = _split_host(host)
        if (self._hosts and name not in self._hosts) or self._port not in (None, port):
            raise Refusal(403, "this service is not known by that host name", hint=self.host_hint)
        origin = headers.get(b"origin", b"").decode("latin-1")
        scheme, _, origin_host = origin.partition("://")
        if origin and (origin_host != host or (self._schemes and scheme not in self._schemes)):
            raise Refusal(403, "a page of another origin may not ask here")


def _split_host(host: str) -> tuple[str, int | None]:
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name, port = host, ""
    return name.lower().rstrip("."), int(port) if port else None
