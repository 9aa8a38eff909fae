"""The Open Inference Protocol, version 2 (KServe, Triton, MLServer speak it): `/v2`.

One input is given: `pictures`, BYTES [B], picture files in base64, or UINT8 [B, H, W, 3], decoded RGB pictures. Outputs
are rows: `label`, `probabilities`, `unknown`, `error`. A picture that cannot be read has an `error` and probabilities
of 0; when none can be read the request fails.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from headstart import __version__
from headstart.core.types import Prediction
from headstart.serving.http import request_bodies
from headstart.serving.inference.dynamic_batching import Decoded, Upload
from headstart.serving.inference.model_registry import Served
from headstart.serving.inference.prediction_service import PredictionService
from headstart.serving.request_limits import Limits, Refused, too_many
from headstart.serving.routes import openapi_schemas, response_rows

INPUT = "pictures"


def router(desk: PredictionService) -> APIRouter:
    """The routes over a desk."""
    made = APIRouter()
    _add_told(made, desk)

    @made.post("/v2/models/{name}/infer", **openapi_schemas.INFER)
    async def infer(request: Request, name: str) -> Response:
        """Answer for the pictures of a tensor."""
        served = desk.model(request, name)
        async with desk.body(request) as body:
            asked, uploads = await request_bodies.apart(body, _taken, body, desk.limits)
            served = desk.shelf.get(served.name)  # a new version may have taken its place while the body came
            found = await desk.answers(request, served, uploads)
        if not response_rows.readable(found):
            raise Refused(400, f"no picture could be read: {found[0].error}")
        told = {"model_name": served.name, "model_version": served.version, "outputs": _outputs(asked, served, found)}
        return response_rows.as_json(told | ({"id": asked["id"]} if "id" in asked else {}))

    return made


def _add_told(made: APIRouter, desk: PredictionService) -> None:
    @made.get("/v2", **openapi_schemas.V2)
    async def server() -> Response:
        """What serves."""
        return response_rows.as_json({"name": "headstart", "version": __version__, "extensions": []})

    @made.get("/v2/health/live", **openapi_schemas.V2)
    async def live() -> Response:
        """The process answers."""
        return response_rows.as_json({"live": True})

    @made.get("/v2/health/ready", **openapi_schemas.V2_READY)
    async def ready() -> Response:
        """Every model takes pictures."""
        return response_rows.as_json({"ready": desk.shelf.ready}, 200 if desk.shelf.ready else 503)

    @made.get("/v2/models/{name}", **openapi_schemas.V2_MODEL)
    async def model(request: Request, name: str) -> Response:
        """What a model takes and gives."""
        return response_rows.as_json(metadata(desk.model(request, name)))

    @made.get("/v2/models/{name}/ready", **openapi_schemas.V2_MODEL)
    async def model_ready(request: Request, name: str) -> Response:
        """Whether a model takes pictures."""
        return response_rows.as_json({"name": desk.model(request, name).name, "ready": True})


def metadata(served: Served) -> dict[str, Any]:
    """What a model takes and gives."""
    classes = len(served.model.class_names)
    outputs = [
        ("label", "BYTES", [-1]),
        ("probabilities", "FP32", [-1, classes]),
        ("unknown", "BOOL", [-1]),
        ("error", "BYTES", [-1]),
    ]
    return {
        "name": served.name,
        "versions": [served.version],
        "platform": "headstart_openvino",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1], "parameters": {"content_type": "base64"}}],
        "outputs": [{"name": name, "datatype": kind, "shape": shape} for name, kind, shape in outputs],
        "parameters": {"class_names": list(served.model.class_names)},
    }


def _taken(body: bytes, limits: Limits) -> tuple[dict[str, Any], list[Upload]]:
    asked = _asked(body)
    return asked, uploads_of(asked, limits)


def _asked(body: bytes) -> dict[str, Any]:
    """The request as an object.

    Raises:
        Refused: 400 it is no such request.
    """
    asked = request_bodies.parsed(body)
    if not isinstance(asked, dict) or not isinstance(asked.get("inputs"), list) or len(asked["inputs"]) != 1:
        raise Refused(400, f"the request must be an object with one input, `{INPUT}`")
    if "id" in asked and not isinstance(asked["id"], str):
        raise Refused(400, "`id` is not a text")
    _wanted(asked)
    return asked


def _wanted(asked: Mapping[str, Any]) -> list[str]:
    """Names of the outputs that are asked for; empty for all."""
    listed = asked.get("outputs") or []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Refused(400, "`outputs` is not a list of objects")
    names = [one.get("name") for one in listed]
    if unknown := [name for name in names if name not in ("label", "probabilities", "unknown", "error")]:
        raise Refused(400, f"there is no output {_told(unknown[0])}")
    return names


def uploads_of(asked: Mapping[str, Any], limits: Limits) -> list[Upload]:
    """The pictures of a request's one input.

    Raises:
        Refused: 400 name, type, shape and data do not fit, 413 too many pictures.
    """
    tensor = asked["inputs"][0]
    if not isinstance(tensor, dict):
        raise Refused(400, "the input is not an object")
    if tensor.get("name") != INPUT:
        raise Refused(400, f"the input is named {_told(tensor.get('name'))}, not `{INPUT}`")
    shape, data = tensor.get("shape"), tensor.get("data")
    if not isinstance(shape, list) or not shape or not all(type(n) is int and n > 0 for n in shape):
        raise Refused(400, "`shape` is not a list of whole numbers above 0")
    if not isinstance(data, list):
        raise Refused(400, "`data` is not a list")
    if shape[0] > limits.files:
        raise too_many(limits.files)
    kind = tensor.get("datatype")
    if kind == "BYTES":
        return _files(shape, data)
    if kind == "UINT8":
        return _decoded(shape, data, limits)
    raise Refused(400, f"the datatype is {_told(kind)}; BYTES and UINT8 are read")


def _files(shape: Sequence[int], data: list[Any]) -> list[Upload]:
    if len(shape) == 2 and shape[1] == 1:
        data = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in data]
    elif len(shape) != 1:
        raise Refused(400, f"BYTES have the shape [B], not {_few(shape)}")
    if len(data) != shape[0] or not all(isinstance(one, str) for one in data):
        raise Refused(400, f"`data` is not {shape[0]:,} texts")
    return [request_bodies.from_base64(f"picture {at}", one) for at, one in enumerate(data, 1)]


def _decoded(shape: Sequence[int], data: list[Any], limits: Limits) -> list[Upload]:
    if len(shape) != 4 or shape[3] != 3:
        raise Refused(400, f"UINT8 have the shape [B, H, W, 3], not {_few(shape)}")
    if shape[1] * shape[2] > limits.pixels:
        raise Refused(413, f"a picture has more than {limits.pixels:,} pixels")
    try:
        values = np.array(data, dtype=np.float64)
        # compared before they become bytes: what is no number, or beyond a byte, has no meaning as one
        fits = values.shape in (tuple(shape), (math.prod(shape),)) and bool(((values >= 0) & (values <= 255)).all())
        whole = values.astype(np.uint8) if fits else None
    except (ValueError, TypeError, OverflowError):
        whole = None
    if whole is None or not np.array_equal(values, whole):
        raise Refused(400, f"`data` is not whole numbers from 0 to 255 of shape {_few(shape)}")
    return [Decoded(f"picture {at}", one) for at, one in enumerate(whole.reshape(shape), 1)]


def _few(shape: Sequence[int]) -> str:
    """A shape as it was sent, as far as a person reads it."""
    told = ", ".join(str(n)[:20] for n in shape[:8])
    return f"[{told}, …]" if len(shape) > 8 else f"[{told}]"


def _told(value: object) -> str:
    return f"`{value[:40]}`" if isinstance(value, str) else "missing or no text"


def _outputs(asked: Mapping[str, Any], served: Served, found: Sequence[Prediction]) -> list[dict[str, Any]]:
    names, count = served.model.class_names, len(found)
    chances = [round(one.probabilities.get(name, 0.0), response_rows.DIGITS) for one in found for name in names]
    made = {
        "label": ("BYTES", [count], [one.answer for one in found]),
        "probabilities": ("FP32", [count, len(names)], chances),
        "unknown": ("BOOL", [count], [one.unknown for one in found]),
        "error": ("BYTES", [count], [one.error for one in found]),
    }
    return [
        {"name": name, "datatype": made[name][0], "shape": made[name][1], "data": made[name][2]}
        for name in (_wanted(asked) or made)
    ]
