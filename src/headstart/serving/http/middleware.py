"""The door: every request passes here, whatever the route.

It gives the request its id, turns away foreign hosts, foreign pages and those without the key, adds the headers that
browsers need to be strict, counts, and writes the one line of the log. It is plain ASGI: a request that is answered in
milliseconds should not pay for layers.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import re
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headstart.serving.http.access_log import Log, request_id
from headstart.serving.prometheus_metrics import Metrics
from headstart.serving.request_limits import Refused

Direct = Callable[[Request], Awaitable[Response]]
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
OPEN = frozenset({"/", "/healthz", "/readyz", "/openapi.json", "/v2", "/v2/health/live", "/v2/health/ready"})
_OPEN_BELOW = "/static/"
HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Who may ask.

    Attributes:
        digests: SHA-256 of the keys that are taken; empty lets everyone in.
    """

    digests: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, keys: Iterable[str]) -> Keys:
        """Those of some keys."""
        return cls(digests=tuple(_digest(key.encode()) for key in keys))

    def fit(self, given: bytes) -> bool:
        """Whether a key is taken; the time does not tell how much of it is right."""
        asked = _digest(given)
        return bool(sum(hmac.compare_digest(asked, one) for one in self.digests))


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class AccessMiddleware:
    """The application behind its door.

    Args:
        app: What answers.
        keys: Who may ask.
        hosts: Names under which the service may be called, without port; empty allows all.
        log: Where the line goes.
        metrics: What counts.
        direct: Paths whose POST is answered without asking the application's router, which costs as much as reading a
            picture's request; the application has the same routes, for its description.
    """

    def __init__(
        self,
        app: Any,
        *,
        keys: Keys,
        hosts: Iterable[str],
        log: Log,
        metrics: Metrics,
        direct: Mapping[str, Direct] | None = None,
    ) -> None:
        self._app, self._keys, self._hosts = app, keys, frozenset(hosts)
        self._log, self._metrics, self._direct = log, metrics, dict(direct or {})
        self._prefix, self._count = secrets.token_hex(5), itertools.count()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        own = given.decode() if _ID.fullmatch(given) else f"{self._prefix}{next(self._count):06x}"
        request_id.set(own)
        answer = _Answer(send, own)
        started = time.perf_counter()
        try:
            self._admit(scope["path"], headers)
            direct = self._direct.get(scope["path"]) if scope["method"] == "POST" else None
            if direct is None:
                await self._app(scope, receive, answer)
            else:
                await (await direct(Request(scope, receive)))(scope, receive, answer)
        except Refused as refused:
            await answer.refuse(refused, scope["path"])
        except Exception as err:  # a bug: told to the log in full, to the client as a number
            where = traceback.format_exception(err)
            self._log.event("bug", level="error", what=type(err).__name__, trace="".join(where))
            if not answer.status:
                await answer.refuse(
                    Refused(500, "a bug of headstart; its request id finds it in the log"), scope["path"]
                )
        finally:
            self._told(scope, answer, time.perf_counter() - started)

    def _admit(self, path: str, headers: Mapping[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts and _name(host) not in self._hosts:
            what = "this service is not known by that host name"
            raise Refused(403, what, hint="headstart serve … --allow-host NAME")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and origin.partition("://")[2] != host:
            raise Refused(403, "a page of another origin may not ask here")
        if not self._keys.digests or path in OPEN or path.startswith(_OPEN_BELOW):
            return
        if not self._keys.fit(_given(headers)):
            hint = "send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
            raise Refused(401, "the key is missing or wrong", hint=hint, headers={"WWW-Authenticate": "Bearer"})

    def _told(self, scope: Any, answer: _Answer, seconds: float) -> None:
        path = scope["path"] if scope["path"] in self._direct else "other"
        route = getattr(scope.get("route"), "path", None) or path
        facts = scope.get("state", {}).get("facts", {})
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.request(route, method, answer.status, seconds)
        ms = round(seconds * 1000, 1)
        self._log.event("request", method=method, route=route, status=answer.status, ms=ms, **facts)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


def _name(host: str) -> str:
    """A host header without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower().rstrip(".")


def _given(headers: Mapping[bytes, bytes]) -> bytes:
    bearer = headers.get(b"authorization", b"")
    if bearer[:7].lower() == b"bearer ":
        return bearer[7:].strip()
    return headers.get(b"x-api-key", b"").strip()


class _Answer:
    """The way back to the client: adds headers, and remembers the status."""

    def __init__(self, send: Any, own: str) -> None:
        self._send, self._own = send, own
        self.status = 0

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", []), (b"x-request-id", self._own.encode()), *HEADERS]
        await self._send(message)

    async def refuse(self, refused: Refused, path: str) -> None:
        """Answer with a refusal."""
        body = json.dumps(refusal(refused, path, self._own)).encode()
        headers = [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self({"type": "http.response.start", "status": refused.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def refusal(refused: Refused, path: str, own: str) -> dict[str, Any]:
    """A refusal as JSON: in the open inference protocol's form below `/v2`, else with hint and request id."""
    if path.startswith("/v2"):
        return {"error": f"{refused.what} (request {own})"}
    error: dict[str, Any] = {"what": refused.what, "request_id": own}
    if refused.hint:
        error["hint"] = refused.hint
    return {"error": error} | ({"answers": refused.rows} if refused.rows is not None else {})
