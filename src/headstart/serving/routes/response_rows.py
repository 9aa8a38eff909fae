"""Answers as JSON: one row a picture, with its uncertainty; the same fields wherever the service answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from headstart.core.types import AnswerLayout, Prediction
from headstart.runtime.outputs import answer_rows


def answer_row(prediction: Prediction, layout: AnswerLayout) -> dict[str, Any]:
    """One answer; of a picture that could not be read all but `file` and `error` is empty."""
    return answer_rows.row_object(prediction, layout) | {"unknown": prediction.unknown}


def count_readable(predictions: Sequence[Prediction]) -> int:
    """How many of the pictures could be read."""
    return sum(not prediction.error for prediction in predictions)


def make_json_response(content: Any, status: int = 200) -> Response:
    """A response of JSON in ASCII: undecodable bytes of a name survive as escapes."""
    body = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
    return Response(body, status, media_type="application/json")
