"""Request bodies -> pictures: multipart forms and JSON with base64, read within limits and kept in memory.

Nothing is written to disk. Names only go back to the client; they are cut to their last part and freed of what no
terminal should print.
"""

from __future__ import annotations

import asyncio
import base64
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
from headstart.serving.request_limits import Limits, Load, Refusal, too_large_error, too_many_error

_INLINE_BYTES = 1 << 18
_LONGEST_NAME = 200
_PATIENCE = 4  # times the largest upload: what is larger is cut off at once
_PATIENCE_S = 3
_Parsed = TypeVar("_Parsed")
_READER = ThreadPoolExecutor(1, thread_name_prefix="bodies")


async def read_body(request: Request, load: Load) -> bytes:
    """A request's body; `load` counts it as held until the caller calls `load.release_bytes(len(body))`.

    Raises:
        Refusal: 413 too large, 429 too much at once, 408 the client sends too slowly, 400 it has gone away.
    """
    declared, limit = request.headers.get("content-length", ""), load.limits.upload_bytes
    reserved = int(declared) if declared.isascii() and declared.isdigit() else limit
    try:
        load.reserve_bytes(reserved)
    except Refusal:
        if reserved <= _PATIENCE * limit:
            await _drain_body(request)
        raise
    body = b""
    try:
        async with asyncio.timeout(load.limits.timeout_s):
            body = await _collect_body(request, limit)
    except TimeoutError:
        raise Refusal(408, "the request did not arrive in time", headers={"Connection": "close"}) from None
    except ClientDisconnect:  # nobody reads this: it is for the log
        raise Refusal(400, "the request was cut off") from None
    finally:
        load.release_bytes(reserved - len(body))
    return body


async def _drain_body(request: Request) -> None:
    """Let a body that is only a little too large go by, so that its sender is listening when the refusal comes."""
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_PATIENCE_S):
            async for _ in request.stream():
                pass


async def _collect_body(request: Request, limit: int) -> bytes:
    parts, total = [], 0
    async for part in request.stream():
        total += len(part)
        if total > limit:
            raise too_large_error(limit)
        parts.append(part)
    return b"".join(parts)


async def read_pictures(request: Request, body: bytes, limits: Limits) -> list[Content]:
    """The pictures of a body, in their order; at least one.

    Raises:
        Refusal: 400 it is not what its type says, 413 too many pictures, 415 another type, 422 there is no picture.
    """
    kind = request.headers.get("content-type", "")
    name = kind.partition(";")[0].strip().lower()
    if name == "multipart/form-data":
        pictures = await run_parser(body, parse_form, body, kind, limits.files)
    elif name == "application/json":
        pictures = await run_parser(body, parse_json_pictures, body, limits.files)
    elif name.startswith("image/") or name == "application/octet-stream":
        pictures = [Content("picture", body)]
    else:
        hint = "send multipart/form-data with fields `files`, application/json, or one picture as image/…"
        raise Refusal(415, "the body's type is not one that is read here", hint=hint)
    if not pictures:
        raise Refusal(422, "the request has no picture", hint='curl -F "files=@picture.jpg" …')
    return pictures


async def run_parser(body: bytes, parser: Callable[..., _Parsed], *arguments: Any) -> _Parsed:
    """Parse a body, beside the event loop if it is long; one at a time, since JSON may grow twentyfold in memory."""
    if len(body) <= _INLINE_BYTES:
        return parser(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_READER, functools.partial(parser, *arguments))


def parse_form(body: bytes, kind: str, max_files: int) -> list[Content]:
    """See `read_form`."""
    parts = enumerate(multipart_forms.read_form(body, kind, max_files), 1)
    return [Content(clean_name(name) or f"picture {at}", content) for at, (name, content) in parts]


def parse_json_pictures(body: bytes, max_files: int) -> list[Content]:
    """The pictures of `{"pictures": [{"name": …, "base64": …}]}`; raises `Refusal` (400 it is none, 413 too many)."""
    content = parse_json(body)
    entries = content.get("pictures") if isinstance(content, Mapping) else None
    if not isinstance(entries, list):
        raise Refusal(400, 'the body is not {"pictures": [{"name": …, "base64": …}]}')
    if len(entries) > max_files:
        raise too_many_error(max_files)
    return [_parse_entry(entry, at) for at, entry in enumerate(entries, 1)]


async def read_instances(request: Request, body: bytes, limits: Limits) -> list[Content]:
    """The pictures of `{"instances": [{"b64": …}]}`, as Vertex AI hands them on.

    Raises:
        Refusal: 400 it is not that, 413 too many pictures, 422 there is no picture.
    """
    pictures = await run_parser(body, parse_instances, body, limits.files)
    if not pictures:
        raise Refusal(422, "the request has no picture", hint='{"instances": [{"b64": …}]}')
    return pictures


def parse_instances(body: bytes, max_files: int) -> list[Content]:
    """See `read_instances`."""
    content = parse_json(body)
    instances = content.get("instances") if isinstance(content, Mapping) else None
    if not isinstance(instances, list):
        raise Refusal(400, 'the body is not {"instances": [{"b64": …}]}')
    if len(instances) > max_files:
        raise too_many_error(max_files)
    texts = [instance.get("b64") if isinstance(instance, Mapping) else None for instance in instances]
    if (wrong := next((at for at, text in enumerate(texts, 1) if not isinstance(text, str)), 0)) > 0:
        raise Refusal(400, f"instance {wrong} has no text `b64`")
    return [decode_base64(f"picture {at}", str(text)) for at, text in enumerate(texts, 1)]


def _parse_entry(entry: Any, at: int) -> Content:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("base64"), str):
        raise Refusal(400, f"picture {at} has no text `base64`")
    name = entry.get("name", "")
    if not isinstance(name, str):
        raise Refusal(400, f"the name of picture {at} is not a text")
    return decode_base64(clean_name(name) or f"picture {at}", entry["base64"])


def decode_base64(name: str, text: str) -> Content:
    """A picture in base64, with or without the head of a data URL; what is none keeps its place with the reason."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return Content(name, base64.b64decode(text, validate=True))
    except ValueError:
        return Content(name, PictureError("unreadable", "it is not base64"))


def parse_json(body: bytes) -> Any:
    """JSON in strict form. Raises `Refusal`: 400 it is none."""
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not JSON") from None


def _refuse_constant(word: str) -> Any:
    raise ValueError(word)


def clean_name(name: str) -> str:
    """The last part of a file name, printable and short; a path in it leads nowhere."""
    return format_printable(name.replace("\\", "/").rpartition("/")[2])[-_LONGEST_NAME:].strip()
