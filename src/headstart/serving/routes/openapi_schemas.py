"""What the OpenAPI document says of each route: bodies and answers as JSON Schema, written by hand.

The routes read and write JSON themselves, so that a request of milliseconds pays for no model of its fields; tests hold
the answers against these schemas.
"""

from __future__ import annotations

from typing import Any

_Schema = dict[str, Any]
TEXT: _Schema = {"type": "string"}
NUMBER: _Schema = {"type": "number"}
FLAG: _Schema = {"type": "boolean"}
WHOLE: _Schema = {"type": "integer", "minimum": 0}


def _object(required: dict[str, _Schema], **optional: _Schema) -> _Schema:
    return {"type": "object", "required": list(required), "properties": required | optional}


def _list(of: _Schema) -> _Schema:
    return {"type": "array", "items": of}


def _or_null(of: _Schema) -> _Schema:
    return {"anyOf": [of, {"type": "null"}]}


ROW = _object(
    {
        "file": TEXT,
        "answer": _or_null(TEXT),
        "confidence": _or_null(NUMBER),
        "likeliest": _or_null(TEXT),
        "plausible": _list(TEXT),
        "novelty": _or_null(NUMBER),
        "unknown": FLAG,
        "reasons": _list(TEXT),
        "probabilities": {"type": "object", "additionalProperties": NUMBER},
        "error": _or_null(TEXT),
    }
)
ANSWERS = _object({"model": TEXT, "answers": _list(ROW)})
REFUSAL = _object({"error": _object({"what": TEXT, "request_id": TEXT}, hint=TEXT)}, answers=_list(ROW))
V2_REFUSAL = _object({"error": TEXT})
_MODEL = _object(
    {"name": TEXT, "version": TEXT, "headstart": TEXT, "class_names": _list(TEXT), "trunks": _list({"type": "object"})}
)
_NEAREST = _object({"class_name": TEXT, "similarity": NUMBER, "thumbnail": _or_null(TEXT)})
_EXPLAINED = _object(
    {
        "model": TEXT,
        "answer": ROW,
        "method": TEXT,
        "why": TEXT,
        "overlay_png": TEXT,
        "nearest": _list(_NEAREST),
        "compared": TEXT,
    }
)
_WHY = {
    400: "The request cannot be read.",
    401: "The key is missing or wrong.",
    403: "The host, the page or the service does not allow it.",
    404: "There is no model of this name.",
    408: "The request did not arrive in time.",
    409: "The new model is refused.",
    413: "The request is too large.",
    415: "The body's type is not read here.",
    422: "No picture, or none that can be read.",
    429: "Too much is waiting; see Retry-After.",
    501: "This model cannot do that.",
    503: "The service is stopping, or about to take another model.",
    504: "It takes too long.",
}


def _route(good: _Schema, *refused: int, body: _Schema | None = None, form: _Schema = REFUSAL, **more: Any) -> Any:
    """What FastAPI is told of a route."""
    responses: dict[int | str, Any] = {200: _content("The answer.", good)}
    responses |= {status: _content(_WHY[status], form) for status in refused}
    told: dict[str, Any] = {"responses": responses, **more}
    extra: _Schema = {"requestBody": {"required": True, "content": body}} if body else {}
    return told | {"openapi_extra": extra}


def _content(description: str, schema: _Schema) -> _Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_FORM = {"schema": _object({"files": _list({"type": "string", "format": "binary"})})}
_PICTURES = {"schema": _object({"pictures": _list(_object({"base64": TEXT}, name=TEXT))})}
_ONE: _Schema = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"multipart/form-data": _FORM, "application/json": _PICTURES, "image/*": _ONE}
_WORK = (400, 401, 403, 404, 408, 413, 415, 422, 429, 503, 504)
_LOOK = (401, 403, 404, 503)
_NAMED = {
    "parameters": [
        {"name": "model", "in": "query", "required": False, "schema": TEXT, "description": "Name of a model."}
    ]
}


def _with_query(route: dict[str, Any]) -> Any:
    return route | {"openapi_extra": route["openapi_extra"] | _NAMED}


PREDICT = _with_query(_route(ANSWERS, *_WORK, body=_BODY))
PREDICT_NAMED = _route(ANSWERS, *_WORK, body=_BODY)
EXPLAIN = _with_query(_route(_EXPLAINED, *_WORK, 501, body=_BODY))
MODELS = _route(_object({"models": _list(_MODEL), "limits": {"type": "object"}}), 401, 403)
MODEL = _route(_MODEL, *_LOOK)
RELOAD = _route(_object({"changed": FLAG, "model": _MODEL}), *_LOOK, 409)

HEALTH = _route(_object({"status": TEXT}), 403, 503)
HEALTH["responses"][503] = _content("It is not.", _object({"status": TEXT}))
METRICS: Any = {
    "responses": {
        200: {"description": "Counts.", "content": {"text/plain": {"schema": TEXT}}},
        401: _content(_WHY[401], REFUSAL),
        403: _content(_WHY[403], REFUSAL),
    }
}

_TENSOR = _object(
    {"name": {"const": "pictures"}, "shape": _list(WHOLE), "datatype": {"enum": ["BYTES", "UINT8"]}, "data": _list({})},
    parameters={"type": "object"},
)
_OUTPUT = _object({"name": TEXT, "datatype": TEXT, "shape": _list(WHOLE), "data": _list({})})
_ASKED = _object(
    {"inputs": _list(_TENSOR) | {"minItems": 1, "maxItems": 1}},
    id=TEXT,
    outputs=_list(_object({"name": {"enum": ["label", "probabilities", "unknown", "error"]}})),
)
INFER = _route(
    _object({"model_name": TEXT, "model_version": TEXT, "outputs": _list(_OUTPUT)}, id=TEXT),
    *(status for status in _WORK if status not in (415, 422)),
    body={"application/json": {"schema": _ASKED}},
    form=V2_REFUSAL,
)
V2 = _route({"type": "object"}, 403, form=V2_REFUSAL)
V2_READY = _route(_object({"ready": FLAG}), 403, form=V2_REFUSAL)
V2_READY["responses"][503] = _content(_WHY[503], _object({"ready": FLAG}))
V2_MODEL = _route(_object({"name": TEXT}), *_LOOK, form=V2_REFUSAL)
