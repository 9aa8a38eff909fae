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


def _object_schema(required: dict[str, _Schema], **optional: _Schema) -> _Schema:
    return {"type": "object", "required": list(required), "properties": required | optional}


def _list_schema(items: _Schema) -> _Schema:
    return {"type": "array", "items": items}


TEXTS = _list_schema(TEXT)
TEXT_OR_NULL: _Schema = {"anyOf": [TEXT, {"type": "null"}]}
NUMBER_OR_NULL: _Schema = {"anyOf": [NUMBER, {"type": "null"}]}
_CLASS_ROW = _object_schema(
    {"file": TEXT, "answer": TEXT_OR_NULL, "confidence": NUMBER_OR_NULL, "likeliest": TEXT_OR_NULL, "plausible": TEXTS}
    | {"novelty": NUMBER_OR_NULL, "unknown": FLAG, "reasons": TEXTS}
    | {"probabilities": {"type": "object", "additionalProperties": NUMBER}, "error": TEXT_OR_NULL},
    labels=TEXTS,
    open=TEXTS,
)
_NUMBER_ROW = _object_schema(
    {"file": TEXT, "answer": NUMBER_OR_NULL, "low": NUMBER_OR_NULL, "high": NUMBER_OR_NULL, "novelty": NUMBER_OR_NULL}
    | {"unknown": FLAG, "reasons": TEXTS, "error": TEXT_OR_NULL}
)
ROW: _Schema = {"anyOf": [_CLASS_ROW, _NUMBER_ROW]}
ANSWERS = _object_schema({"model": TEXT, "answers": _list_schema(ROW)})
REFUSAL = _object_schema(
    {"error": _object_schema({"what": TEXT, "request_id": TEXT}, hint=TEXT)}, answers=_list_schema(ROW)
)
V2_REFUSAL = _object_schema({"error": TEXT})
_TRUNKS = _list_schema({"type": "object"})
_MODEL = _object_schema(
    {"name": TEXT, "version": TEXT, "headstart": TEXT, "task": TEXT, "class_names": TEXTS, "trunks": _TRUNKS}
)
_NEAREST = _object_schema({"class_name": TEXT, "similarity": NUMBER, "thumbnail": TEXT_OR_NULL})
_EXPLANATION = _object_schema(
    {"model": TEXT, "answer": ROW, "class_name": TEXT, "method": TEXT, "why": TEXT, "overlay_png": TEXT}
    | {"nearest": _list_schema(_NEAREST), "compared": TEXT}
)
_REFUSAL_REASONS = {
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


def _describe_route(good: _Schema, *refused: int, body: _Schema | None = None, form: _Schema = REFUSAL) -> Any:
    responses: dict[int | str, Any] = {200: _json_content("The answer.", good)}
    responses |= {status: _json_content(_REFUSAL_REASONS[status], form) for status in refused}
    extra: _Schema = {"requestBody": {"required": True, "content": body}} if body else {}
    return {"responses": responses, "openapi_extra": extra}


def _json_content(description: str, schema: _Schema) -> _Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_FORM = {"schema": _object_schema({"files": _list_schema({"type": "string", "format": "binary"})})}
_PICTURES = {"schema": _object_schema({"pictures": _list_schema(_object_schema({"base64": TEXT}, name=TEXT))})}
_PICTURE_BODY: _Schema = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"multipart/form-data": _FORM, "application/json": _PICTURES, "image/*": _PICTURE_BODY}
_ANSWER_STATUSES = (400, 401, 403, 404, 408, 413, 415, 422, 429, 503, 504)
_LOOKUP_STATUSES = (401, 403, 404, 503)
_MODEL_QUERY = {"name": "model", "in": "query", "required": False, "schema": TEXT, "description": "Name of a model."}


def _add_model_query(route: dict[str, Any]) -> Any:
    return route | {"openapi_extra": route["openapi_extra"] | {"parameters": [_MODEL_QUERY]}}


PREDICT = _add_model_query(_describe_route(ANSWERS, *_ANSWER_STATUSES, body=_BODY))
PREDICT_NAMED = _describe_route(ANSWERS, *_ANSWER_STATUSES, body=_BODY)
EXPLAIN = _add_model_query(_describe_route(_EXPLANATION, *_ANSWER_STATUSES, 501, body=_BODY))
MODELS = _describe_route(_object_schema({"models": _list_schema(_MODEL), "limits": {"type": "object"}}), 401, 403)
MODEL = _describe_route(_MODEL, *_LOOKUP_STATUSES)
RELOAD = _describe_route(_object_schema({"changed": FLAG, "model": _MODEL}), *_LOOKUP_STATUSES, 409)

HEALTH = _describe_route(_object_schema({"status": TEXT}), 403, 503)
HEALTH["responses"][503] = _json_content("It is not.", _object_schema({"status": TEXT}))
METRICS: Any = {
    "responses": {
        200: {"description": "Counts.", "content": {"text/plain": {"schema": TEXT}}},
        401: _json_content(_REFUSAL_REASONS[401], REFUSAL),
        403: _json_content(_REFUSAL_REASONS[403], REFUSAL),
    }
}

_VALUES = {"shape": _list_schema(WHOLE), "data": _list_schema({})}
_TENSOR = _object_schema(
    {"name": {"const": "pictures"}, "datatype": {"enum": ["BYTES", "UINT8"]}, **_VALUES}, parameters={"type": "object"}
)
_OUTPUT = _object_schema({"name": TEXT, "datatype": TEXT, **_VALUES})
_INFER_REQUEST = _object_schema(
    {"inputs": _list_schema(_TENSOR) | {"minItems": 1, "maxItems": 1}},
    id=TEXT,
    outputs=_list_schema(_object_schema({"name": {"enum": ["label", "probabilities", "unknown", "error"]}})),
)
INFER = _describe_route(
    _object_schema({"model_name": TEXT, "model_version": TEXT, "outputs": _list_schema(_OUTPUT)}, id=TEXT),
    *(status for status in _ANSWER_STATUSES if status not in (415, 422)),
    body={"application/json": {"schema": _INFER_REQUEST}},
    form=V2_REFUSAL,
)
V2 = _describe_route({"type": "object"}, 403, form=V2_REFUSAL)
V2_READY = _describe_route(_object_schema({"ready": FLAG}), 403, form=V2_REFUSAL)
V2_READY["responses"][503] = _json_content(_REFUSAL_REASONS[503], _object_schema({"ready": FLAG}))
V2_MODEL = _describe_route(_object_schema({"name": TEXT}), *_LOOKUP_STATUSES, form=V2_REFUSAL)
