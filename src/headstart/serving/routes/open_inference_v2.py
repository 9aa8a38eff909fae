"""The Open Inference Protocol, version 2 (KServe, Triton, MLServer speak it): `/v2`.

The input `pictures` is BYTES [B], picture files in base64, or UINT8 [B, H, W, 3], decoded RGB pictures. A picture that
cannot be read has an `error` and probabilities of 0; when none can be read the request fails.
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
from headstart.runtime.outputs.answer_rows import DIGITS
from headstart.serving.http import request_bodies
from headstart.serving.inference.dynamic_batching import DecodedImage, Upload
from headstart.serving.inference.model_registry import ServedModel
from headstart.serving.inference.prediction_service import PredictionService
from headstart.serving.request_limits import Limits, Refusal, too_many_error
from headstart.serving.routes import openapi_schemas, response_rows

INPUT = "pictures"
OUTPUTS = {"label": "BYTES", "probabilities": "FP32", "unknown": "BOOL", "error": "BYTES"}  # name -> datatype


def make_router(service: PredictionService) -> APIRouter:
    """The routes over a service."""
    router = APIRouter()
    _add_metadata_routes(router, service)

    @router.post("/v2/models/{name}/infer", **openapi_schemas.INFER)
    async def infer(request: Request, name: str) -> Response:
        """Answer for the pictures of a tensor."""
        served = service.require_model(request, name)
        async with service.read_body(request) as body:
            content, uploads = await request_bodies.run_parser(body, _parse_request, body, service.limits)
            served = service.registry.get_model(served.name)  # perhaps a new version, loaded while the body came
            predictions = await service.answer_pictures(request, served, uploads)
        if not response_rows.count_readable(predictions):
            raise Refusal(400, f"no picture could be read: {predictions[0].error}")
        answer = {
            "model_name": served.name,
            "model_version": served.version,
            "outputs": _make_outputs(content, served, predictions),
        }
        return response_rows.make_json_response(answer | ({"id": content["id"]} if "id" in content else {}))

    return router


def _add_metadata_routes(router: APIRouter, service: PredictionService) -> None:
    @router.get("/v2", **openapi_schemas.V2)
    async def server() -> Response:
        """What serves."""
        return response_rows.make_json_response({"name": "headstart", "version": __version__, "extensions": []})

    @router.get("/v2/health/live", **openapi_schemas.V2)
    async def live() -> Response:
        """The process answers."""
        return response_rows.make_json_response({"live": True})

    @router.get("/v2/health/ready", **openapi_schemas.V2_READY)
    async def ready() -> Response:
        """Every model takes pictures."""
        is_ready = service.registry.ready
        return response_rows.make_json_response({"ready": is_ready}, 200 if is_ready else 503)

    @router.get("/v2/models/{name}", **openapi_schemas.V2_MODEL)
    async def model(request: Request, name: str) -> Response:
        """What a model takes and gives."""
        return response_rows.make_json_response(describe_tensors(service.require_model(request, name)))

    @router.get("/v2/models/{name}/ready", **openapi_schemas.V2_MODEL)
    async def model_ready(request: Request, name: str) -> Response:
        """Whether a model takes pictures."""
        return response_rows.make_json_response({"name": service.require_model(request, name).name, "ready": True})


def describe_tensors(served: ServedModel) -> dict[str, Any]:
    """What a model takes and gives."""
    shapes = {name: [-1] for name in OUTPUTS} | {"probabilities": [-1, len(served.model.class_names)]}
    return {
        "name": served.name,
        "versions": [served.version],
        "platform": "headstart_openvino",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1], "parameters": {"content_type": "base64"}}],
        "outputs": [{"name": name, "datatype": OUTPUTS[name], "shape": shape} for name, shape in shapes.items()],
        "parameters": {"class_names": list(served.model.class_names)},
    }


def _parse_request(body: bytes, limits: Limits) -> tuple[dict[str, Any], list[Upload]]:
    content = request_bodies.parse_json(body)
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list) or len(content["inputs"]) != 1:
        raise Refusal(400, f"the request must be an object with one input, `{INPUT}`")
    if "id" in content and not isinstance(content["id"], str):
        raise Refusal(400, "`id` is not a text")
    _requested_outputs(content)
    return content, read_uploads(content["inputs"][0], limits)


def _requested_outputs(content: Mapping[str, Any]) -> list[str]:
    outputs = content.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise Refusal(400, "`outputs` is not a list of objects")
    names = [output.get("name") for output in outputs]
    if unknown := [name for name in names if not isinstance(name, str) or name not in OUTPUTS]:
        raise Refusal(400, f"there is no output {_format_name(unknown[0])}")
    return names or list(OUTPUTS)


def read_uploads(tensor: Any, limits: Limits) -> list[Upload]:
    """The pictures of a request's one input.

    Raises:
        Refusal: 400 name, type, shape and data do not fit, 413 too many pictures.
    """
    if not isinstance(tensor, dict):
        raise Refusal(400, "the input is not an object")
    if tensor.get("name") != INPUT:
        raise Refusal(400, f"the input is named {_format_name(tensor.get('name'))}, not `{INPUT}`")
    shape, data = tensor.get("shape"), tensor.get("data")
    if not isinstance(shape, list) or not shape or not all(type(n) is int and n > 0 for n in shape):
        raise Refusal(400, "`shape` is not a list of whole numbers above 0")
    if not isinstance(data, list):
        raise Refusal(400, "`data` is not a list")
    if shape[0] > limits.files:
        raise too_many_error(limits.files)
    kind = tensor.get("datatype")
    if kind == "BYTES":
        return _read_files(shape, data)
    if kind == "UINT8":
        return _read_decoded(shape, data, limits)
    raise Refusal(400, f"the datatype is {_format_name(kind)}; BYTES and UINT8 are read")


def _read_files(shape: Sequence[int], data: list[Any]) -> list[Upload]:
    if len(shape) == 2 and shape[1] == 1:
        data = [text[0] if isinstance(text, list) and len(text) == 1 else text for text in data]
    elif len(shape) != 1:
        raise Refusal(400, f"BYTES have the shape [B], not {_format_shape(shape)}")
    if len(data) != shape[0] or not all(isinstance(text, str) for text in data):
        raise Refusal(400, f"`data` is not {shape[0]:,} texts")
    return [request_bodies.decode_base64(f"picture {at}", text) for at, text in enumerate(data, 1)]


def _read_decoded(shape: Sequence[int], data: list[Any], limits: Limits) -> list[Upload]:
    if len(shape) != 4 or shape[3] != 3:
        raise Refusal(400, f"UINT8 have the shape [B, H, W, 3], not {_format_shape(shape)}")
    if shape[1] * shape[2] > limits.pixels:
        raise Refusal(413, f"a picture has more than {limits.pixels:,} pixels")
    try:
        values = np.array(data, dtype=np.float64)
        # compared before they become bytes: what is no number, or beyond a byte, has no meaning as one
        fits = values.shape in (tuple(shape), (math.prod(shape),)) and bool(((values >= 0) & (values <= 255)).all())
        pixels = values.astype(np.uint8) if fits else None
    except (ValueError, TypeError, OverflowError):
        pixels = None
    if pixels is None or not np.array_equal(values, pixels):
        raise Refusal(400, f"`data` is not whole numbers from 0 to 255 of shape {_format_shape(shape)}")
    return [DecodedImage(f"picture {at}", picture) for at, picture in enumerate(pixels.reshape(shape), 1)]


def _format_shape(shape: Sequence[int]) -> str:
    sides = ", ".join(str(n)[:20] for n in shape[:8])
    return f"[{sides}, …]" if len(shape) > 8 else f"[{sides}]"


def _format_name(value: object) -> str:
    return f"`{value[:40]}`" if isinstance(value, str) else "missing or no text"


def _make_outputs(
    content: Mapping[str, Any], served: ServedModel, predictions: Sequence[Prediction]
) -> list[dict[str, Any]]:
    names, count = served.model.class_names, len(predictions)
    tensors: dict[str, list[Any]] = {
        "label": [row.answer for row in predictions],
        "probabilities": [round(row.probabilities.get(name, 0.0), DIGITS) for row in predictions for name in names],
        "unknown": [row.unknown for row in predictions],
        "error": [row.error for row in predictions],
    }
    shapes = {name: [count] for name in OUTPUTS} | {"probabilities": [count, len(names)]}
    return [
        {"name": name, "datatype": OUTPUTS[name], "shape": shapes[name], "data": tensors[name]}
        for name in _requested_outputs(content)
    ]
