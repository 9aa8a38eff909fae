"""Answers as JSON: one row a picture, with its uncertainty; the same fields wherever the service answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from headstart.core.types import Prediction

DIGITS = 6
_EMPTY_ROW: dict[str, Any] = dict.fromkeys(("answer", "confidence", "likeliest"))
_EMPTY_ROW |= {"plausible": [], "novelty": None, "unknown": False, "reasons": [], "probabilities": {}}


def answer_row(prediction: Prediction) -> dict[str, Any]:
    """One answer; of a picture that could not be read all but `file` and `error` is empty."""
    if prediction.error:
        return {"file": prediction.uri, **_EMPTY_ROW, "error": prediction.error}
    likeliest = prediction.likeliest or prediction.answer
    return {
        "file": prediction.uri,
        "answer": prediction.answer,
        "confidence": round(prediction.probabilities[likeliest], DIGITS),
        "likeliest": likeliest,
        "plausible": list(prediction.plausible),
        "novelty": None if prediction.novelty is None else round(prediction.novelty, DIGITS),
        "unknown": prediction.unknown,
        "reasons": list(prediction.reasons),
        "probabilities": {name: round(value, DIGITS) for name, value in prediction.probabilities.items()},
        "error": None,
    }


def count_readable(predictions: Sequence[Prediction]) -> int:
    """How many of the pictures could be read."""
    return sum(not prediction.error for prediction in predictions)


def make_json_response(content: Any, status: int = 200) -> Response:
    """A response of JSON in ASCII: undecodable bytes of a name survive as escapes."""
    body = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
    return Response(body, status, media_type="application/json")
