"""Answers as JSON: one row a picture, with its doubt; the same fields wherever the service tells an answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from headstart.core.types import Prediction

DIGITS = 6


def row(found: Prediction) -> dict[str, Any]:
    """One answer; of a picture that could not be read all but `file` and `error` is empty."""
    if found.error:
        return {"file": found.uri, **_NOTHING, "error": found.error}
    likeliest = found.likeliest or found.answer
    return {
        "file": found.uri,
        "answer": found.answer,
        "confidence": round(found.probabilities[likeliest], DIGITS),
        "likeliest": likeliest,
        "plausible": list(found.plausible),
        "novelty": None if found.novelty is None else round(found.novelty, DIGITS),
        "unknown": found.unknown,
        "reasons": list(found.reasons),
        "probabilities": {name: round(value, DIGITS) for name, value in found.probabilities.items()},
        "error": None,
    }


_NOTHING: dict[str, Any] = {
    "answer": None,
    "confidence": None,
    "likeliest": None,
    "plausible": [],
    "novelty": None,
    "unknown": False,
    "reasons": [],
    "probabilities": {},
}


def readable(found: Sequence[Prediction]) -> int:
    """How many of the pictures could be read."""
    return sum(not one.error for one in found)


def as_json(content: Any, status: int = 200) -> Response:
    """A response of JSON in ASCII: undecodable bytes of a name survive as escapes."""
    body = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
    return Response(body, status, media_type="application/json")
