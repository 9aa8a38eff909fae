"""Request bodies -> pictures: multipart forms and JSON with base64, read within limits and kept in memory.

A body is bounded, so it is kept in memory: nothing is written to disk. Names are told back to the client
and used for nothing else; they are cut to their last part and freed of what no terminal should print.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import functools
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from headstart.core.storage.files import format_printable
from headstart.images.file_formats import PictureError
from headstart.runtime.inputs.decoded_batches import Content
from headstart.serving.http import multipart_forms
from headstart.serving.request_limits import Limits, Load, Refused, too_large, too_many

_INLINE_BYTES = 1 << 18
_LONGEST_NAME = 200
_PATIENCE = 4  # times the largest upload: what is larger is cut off at once
_PATIENCE_S = 3
_Taken = TypeVar("_Taken")
_READER = ThreadPoolExecutor(1, thread_name_prefix="bodies")


async def read(request: Request, load: Load) -> bytes:
    """A request's body.

    Args:
        request: Its headers are read, its body is not.
        load: Counts what is held; the caller gives it back with `load.drop(len(body))`.

    Raises:
        Refused: 413 too large, 429 too much at once, 408 the client sends too slowly, 400 it has gone away.
    """
    declared, most = request.headers.get("content-length", ""), load.limits.upload_bytes
    reserved = int(declared) if declared.isascii() and declared.isdigit() else most
    try:
        load.hold(reserved)
    except Refused:
        if reserved <= _PATIENCE * most:
            await _past(request)
        raise
    body = b""
    try:
        async with asyncio.timeout(load.limits.timeout_s):
            body = await _collected(request, most)
    except TimeoutError:
        raise Refused(408, "the request did not arrive in time", headers={"Connection": "close"}) from None
    except ClientDisconnect:  # nobody reads this: it is for the log
        raise Refused(400, "the request was cut off") from None
    finally:
        load.drop(reserved - len(body))
    return body


async def _past(request: Request) -> None:
    """Let a body that is only a little too large go by, so that its sender is listening when the refusal comes."""
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_PATIENCE_S):
            async for _ in request.stream():
                pass


async def _collected(request: Request, most: int) -> bytes:
    parts, total = [], 0
    async for part in request.stream():
        total += len(part)
        if total > most:
            raise too_large(most)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def pictures(request: Request, body: bytes, limits: Limits) -> list[Content]:
    """The pictures of a body, in their order; at least one.

    Raises:
        Refused: 400 it is not what its type says, 413 too many pictures, 415 another type, 422 there is no picture.
    """
    kind = request.headers.get("content-type", "")
    name = kind.partition(";")[0].strip().lower()
    if name == "multipart/form-data":
        found = await apart(body, multipart, body, kind, limits.files)
    elif name == "application/json":
        found = await apart(body, as_json, body, limits.files)
    elif name.startswith("image/") or name == "application/octet-stream":
        found = [Content("picture", body)]
    else:
        hint = "send multipart/form-data with fields `files`, application/json, or one picture as image/…"
        raise Refused(415, "the body's type is not one that is read here", hint=hint)
    if not found:
        raise Refused(422, "the request has no picture", hint='curl -F "files=@picture.jpg" …')
    return found


async def apart(body: bytes, take: Callable[..., _Taken], *given: Any) -> _Taken:
    """What `take(*given)` makes of a body; long ones go one after the other through a thread beside the event loop.

    Other requests go on meanwhile; and since JSON may become twenty times as large in memory, only one is at a time.
    """
    if len(body) <= _INLINE_BYTES:
        return take(*given)
    return await asyncio.get_running_loop().run_in_executor(_READER, functools.partial(take, *given))


def multipart(body: bytes, kind: str, most: int) -> list[Content]:
    """The pictures of a form; see `forms.read`."""
    listed = enumerate(multipart_forms.read(body, kind, most), 1)
    return [Content(clean(name) or f"picture {at}", content) for at, (name, content) in listed]


def as_json(body: bytes, most: int) -> list[Content]:
    """The pictures of `{"pictures": [{"name": …, "base64": …}]}`.

    Raises:
        Refused: 400 it is not such an object, 413 too many pictures.
    """
    content = parsed(body)
    listed = content.get("pictures") if isinstance(content, Mapping) else None
    if not isinstance(listed, list):
        raise Refused(400, 'the body is not {"pictures": [{"name": …, "base64": …}]}')
    if len(listed) > most:
        raise too_many(most)
    return [_from_json(one, at) for at, one in enumerate(listed, 1)]


def _from_json(one: Any, at: int) -> Content:
    if not isinstance(one, Mapping) or not isinstance(one.get("base64"), str):
        raise Refused(400, f"picture {at} has no text `base64`")
    name = one.get("name", "")
    if not isinstance(name, str):
        raise Refused(400, f"the name of picture {at} is not a text")
    return from_base64(clean(name) or f"picture {at}", one["base64"])


def from_base64(name: str, text: str) -> Content:
    """A picture in base64, with or without the head of a data URL; what is none keeps its place with the reason."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return Content(name, base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return Content(name, PictureError("unreadable", "it is not base64"))


def parsed(body: bytes) -> Any:
    """JSON in strict form.

    Raises:
        Refused: 400 it is none.
    """
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None


def _no_number(word: str) -> Any:
    raise ValueError(word)


def clean(name: str) -> str:
    """The last part of a file name, printable and short; a path in it leads nowhere."""
    return format_printable(name.replace("\\", "/").rpartition("/")[2])[-_LONGEST_NAME:].strip()
