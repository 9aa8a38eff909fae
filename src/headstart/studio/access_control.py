"""Who may speak to the studio: the browser of the person who started it, and nobody else's page.

It starts processes, so it listens on loopback only and asks of every request a `Host` that is loopback (against DNS
rebinding), the session's token (in the address once, then in a strict cookie) and, where something changes, an `Origin`
of its own (against cross-site request forgery). Arguments of a process can be read by every user of the machine: the
browser that the studio starts is pointed to a file of the user's alone (`write_entrance_file`), with a code that lets
in once.
"""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path
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
_FOREIGN = (b"cross-site", b"same-site")
_HINT = "open the address that `headstart studio` printed"
_ENTRANCE_PAGE = (
    b'<!doctype html><html lang="en-GB"><meta charset="utf-8"><title>headstart studio</title>'
    b"<h1>This page needs its key</h1><p>The studio was started again, or this is another browser. "
    b"Open the address that <code>headstart studio</code> printed in its terminal.</p></html>"
)
_FORWARD = (
    '<!doctype html><html lang="en-GB"><meta charset="utf-8"><title>headstart studio</title>'
    '<meta http-equiv="refresh" content="0; url={0}"><p><a href="{0}">Open headstart studio</a></p></html>'
)


def write_entrance_file(folder: Path, port: int) -> tuple[Path, str]:
    """A page, readable by its owner alone, that leads into the studio; and the code in it, which is good for once."""
    path, code = folder / "open.html", secrets.token_urlsafe(24)
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(_FORWARD.format(f"http://127.0.0.1:{port}/?token={code}"))
    return path, code


class SessionMiddleware(SecurityMiddleware):
    """ASGI middleware that lets only the own page through."""

    host_hint = _HINT

    def __init__(self, app: Any, *, token: str, port: int, code: str = "") -> None:
        super().__init__(app, hosts=("127.0.0.1", "localhost", "[::1]"), port=port, schemes=("http",))
        self._token, self._code = token, code
        self._cookie = f"headstart_studio_{port}"  # cookies do not know of ports

    async def handle_request(self, scope: Any, receive: Any, send: Any, headers: RawHeaders) -> None:
        """Answer a request, or refuse it before anything is done."""
        response = SecuredResponse(send, _HEADERS)
        try:
            self.require_own_host_and_page(headers)
            html = {"content-type": "text/html; charset=utf-8"}
            if self._brings_token(scope):
                cookie = {"set-cookie": f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"}
                if headers.get(b"sec-fetch-site") in _FOREIGN:  # a strict cookie does not follow its redirection
                    await response.send_body(200, _FORWARD.format("/").encode(), cookie | html)
                else:
                    await response.send_body(303, b"", cookie | {"location": "/"})
            elif scope["path"] == "/" and not self._has_cookie(headers):
                await response.send_body(401, _ENTRANCE_PAGE, html)
            else:
                _require_own_page(scope, headers)
                if not self._has_cookie(headers):
                    raise Refusal(401, "the session's token is missing")
                await self.app(scope, receive, response)
        except Refusal as refused:
            error = {"type": "Refused", "what": refused.what, "where": None, "hint": _HINT}
            await response.send_refusal(refused, {"error": error})

    def _brings_token(self, scope: Any) -> bool:
        """Whether it is the address with the token, on its way in."""
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["method"] != "GET" or scope["path"] != "/":
            return False
        if self._code and _is_same(token, self._code):
            self._code = ""  # good for once
            return True
        return _is_same(token, self._token)

    def _has_cookie(self, headers: RawHeaders) -> bool:
        # by hand: programs at other ports share the jar, and the library gives up at the first cookie that is odd
        cookies = headers.get(b"cookie", b"").decode("latin-1").split(";")
        pairs = (cookie.strip().partition("=") for cookie in cookies)
        return any(name == self._cookie and _is_same(value, self._token) for name, _, value in pairs)


def _is_same(text: str, secret: str) -> bool:
    return hmac.compare_digest(text.encode("utf-8", "replace"), secret.encode())


def _require_own_page(scope: Any, headers: RawHeaders) -> None:
    if not headers.get(b"origin") and scope["method"] not in ("GET", "HEAD"):
        raise Refusal(403, "a request that changes something needs the header `Origin`")
    if headers.get(b"sec-fetch-site") in _FOREIGN:
        raise Refusal(403, "another page may not ask the studio")
