"""Who may speak to the studio: the browser of the person who started it, and nobody else's page.

It starts processes, so it listens on loopback only and asks of every request a `Host` that is loopback (against DNS
rebinding), the session's token (in the address once, then in a strict cookie) and, where something changes, an `Origin`
of its own (against cross-site request forgery).
"""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import parse_qs

from headstart.serving.http.security import STRICT_HEADERS, RawHeaders, SecuredResponse, SecurityMiddleware
from headstart.serving.request_limits import Refusal

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The report is a page of its own: it runs apart, without the studio's origin, and reaches nothing.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = (
    *STRICT_HEADERS,
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_HINT = "open the address that `headstart studio` printed"
_ENTRANCE_PAGE = (
    b'<!doctype html><html lang="en-GB"><meta charset="utf-8"><title>headstart studio</title>'
    b"<h1>This page needs its key</h1><p>The studio was started again, or this is another browser. "
    b"Open the address that <code>headstart studio</code> printed in its terminal.</p></html>"
)


class SessionMiddleware(SecurityMiddleware):
    """ASGI middleware that lets only the own page through."""

    host_hint = _HINT

    def __init__(self, app: Any, *, token: str, port: int) -> None:
        super().__init__(app, hosts=("127.0.0.1", "localhost", "[::1]"), port=port, schemes=("http",))
        self._token = token
        self._cookie = f"headstart_studio_{port}"  # cookies do not know of ports

    async def handle_request(self, scope: Any, receive: Any, send: Any, headers: RawHeaders) -> None:
        """Answer a request, or refuse it before anything is done."""
        response = SecuredResponse(send, _HEADERS)
        try:
            enters = self._brings_token(scope)
            self.require_own_host_and_page(headers)
            _require_own_page(scope, headers, enters=enters)
            if enters:
                cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
                await response.send_body(303, b"", {"location": "/", "set-cookie": cookie})
            elif self._has_cookie(headers):
                await self.app(scope, receive, response)
            elif scope["path"] == "/":
                await response.send_body(401, _ENTRANCE_PAGE, {"content-type": "text/html; charset=utf-8"})
            else:
                raise Refusal(401, "the session's token is missing")
        except Refusal as refused:
            error = {"type": "Refused", "what": refused.what, "where": None, "hint": _HINT}
            await response.send_refusal(refused, {"error": error})

    def _brings_token(self, scope: Any) -> bool:
        """Whether it is the address with the token, on its way in."""
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return scope["method"] == "GET" and scope["path"] == "/" and self._is_token(token)

    def _has_cookie(self, headers: RawHeaders) -> bool:
        # by hand: programs at other ports share the jar, and the library gives up at the first cookie that is odd
        cookies = headers.get(b"cookie", b"").decode("latin-1").split(";")
        pairs = (cookie.strip().partition("=") for cookie in cookies)
        return any(name == self._cookie and self._is_token(value) for name, _, value in pairs)

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode("utf-8", "replace"), self._token.encode())


def _require_own_page(scope: Any, headers: RawHeaders, *, enters: bool) -> None:
    if not headers.get(b"origin") and scope["method"] not in ("GET", "HEAD"):
        raise Refusal(403, "a request that changes something needs the header `Origin`")
    if headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site") and not enters:
        raise Refusal(403, "another page may not ask the studio")
