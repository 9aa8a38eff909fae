"""What every request to the service passes: it gets an id, shows its key, is counted and logged."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headstart.serving.http.access_log import AccessLog, request_id
from headstart.serving.http.security import STRICT_HEADERS, RawHeaders, SecuredResponse, SecurityMiddleware
from headstart.serving.prometheus_metrics import Metrics
from headstart.serving.request_limits import Refusal

Direct = Callable[[Request], Awaitable[Response]]
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
OPEN = frozenset({"/", "/healthz", "/readyz", "/openapi.json", "/v2", "/v2/health/live", "/v2/health/ready"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


class AccessMiddleware(SecurityMiddleware):
    """The application of the service behind its checks.

    Args:
        keys: Without any, everyone is let in.
        hosts: Names under which the service may be called, without port; empty allows all.
        direct: Paths whose POST is answered without the application's router, which costs as much as reading a
            picture's request; the application has the same routes, for its description.
    """

    host_hint = "headstart serve … --allow-host NAME"

    def __init__(
        self,
        app: Any,
        *,
        keys: Iterable[str],
        hosts: Iterable[str],
        log: AccessLog,
        metrics: Metrics,
        direct: Mapping[str, Direct],
    ) -> None:
        super().__init__(app, hosts=hosts)
        self._key_digests = tuple(hashlib.sha256(key.encode()).digest() for key in keys)
        self._log, self._metrics, self._direct = log, metrics, direct
        self._prefix, self._count = secrets.token_hex(5), itertools.count()

    async def handle_request(self, scope: Any, receive: Any, send: Any, headers: RawHeaders) -> None:
        """Answer a request, or refuse it; either way count and log it."""
        sent_id = headers.get(b"x-request-id", b"")
        own_id = sent_id.decode() if _ID.fullmatch(sent_id) else f"{self._prefix}{next(self._count):06x}"
        request_id.set(own_id)
        response = SecuredResponse(send, ((b"x-request-id", own_id.encode()), *STRICT_HEADERS))
        started = time.perf_counter()
        path = scope["path"]
        try:
            self.require_own_host_and_page(headers)
            self._require_key(path, headers)
            direct = self._direct.get(path) if scope["method"] == "POST" else None
            if direct is None:
                await self.app(scope, receive, response)
            else:
                await (await direct(Request(scope, receive)))(scope, receive, response)
        except Refusal as refused:
            await response.send_refusal(refused, format_refusal(refused, path))
        except Exception as err:  # a bug: the log gets all of it, the client a number
            trace = "".join(traceback.format_exception(err))
            self._log.write_event("bug", level="error", what=type(err).__name__, trace=trace)
            if not response.status:
                bug = Refusal(500, "a bug of headstart; its request id finds it in the log")
                await response.send_refusal(bug, format_refusal(bug, path))
        finally:
            self._record_request(scope, response.status, time.perf_counter() - started)

    def _require_key(self, path: str, headers: RawHeaders) -> None:
        if not self._key_digests or path in OPEN or path.startswith("/static/"):
            return
        key_digest = hashlib.sha256(_read_key(headers)).digest()
        # every key is compared: the time does not tell which, or how much of it, is right
        if not sum(hmac.compare_digest(key_digest, digest) for digest in self._key_digests):
            hint = "send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
            raise Refusal(401, "the key is missing or wrong", hint=hint, headers={"WWW-Authenticate": "Bearer"})

    def _record_request(self, scope: Any, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in self._direct else "other"
        route = getattr(scope.get("route"), "path", None) or path
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.count_request(route, method, status, seconds)
        facts = {"ms": round(seconds * 1000, 1), **scope.get("state", {}).get("facts", {})}
        self._log.write_event("request", method=method, route=route, status=status, **facts)


def _read_key(headers: RawHeaders) -> bytes:
    bearer = headers.get(b"authorization", b"")
    if bearer[:7].lower() == b"bearer ":
        return bearer[7:].strip()
    return headers.get(b"x-api-key", b"").strip()


def format_refusal(refused: Refusal, path: str) -> dict[str, Any]:
    """A refusal as JSON: in the open inference protocol's form below `/v2`, else with hint and request id."""
    if path.startswith("/v2"):
        return {"error": f"{refused.what} (request {request_id.get()})"}
    error: dict[str, Any] = {"what": refused.what, "request_id": request_id.get()}
    if refused.hint:
        error["hint"] = refused.hint
    return {"error": error} | ({"answers": refused.rows} if refused.rows is not None else {})
