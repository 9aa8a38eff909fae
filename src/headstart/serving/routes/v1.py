"""The service's own routes, `/v1`: answers, explanations, the models and their reloading."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from headstart.core.errors import HeadstartError
from headstart.runtime.inputs.decoded_batches import Content
from headstart.serving.http import request_bodies
from headstart.serving.inference.model_registry import ServedModel, describe_model
from headstart.serving.inference.prediction_service import PredictionService, add_log_facts
from headstart.serving.request_limits import Limits, Refusal
from headstart.serving.routes import explanations, openapi_schemas, response_rows

PictureReader = Callable[[Request, bytes, Limits], Awaitable[list[Content]]]


def make_router(service: PredictionService) -> APIRouter:
    """The routes over a service."""
    router = APIRouter()
    _add_answer_routes(router, service)
    _add_model_routes(router, service)
    return router


def make_direct_routes(service: PredictionService) -> dict[str, Callable[[Request], Awaitable[Response]]]:
    """The busiest route, for the middleware to answer without a router."""

    async def predict(request: Request) -> Response:
        return await answer_request(service, request, service.require_model(request))

    return {"/v1/predict": predict}


def _add_answer_routes(router: APIRouter, service: PredictionService) -> None:
    @router.post("/v1/predict", **openapi_schemas.PREDICT)
    async def predict(request: Request) -> Response:
        """Answer for pictures with the first model, or the one of `?model=`."""
        return await answer_request(service, request, service.require_model(request))

    @router.post("/v1/models/{name}/predict", **openapi_schemas.PREDICT_NAMED)
    async def predict_with(request: Request, name: str) -> Response:
        """Answer for pictures with a model."""
        return await answer_request(service, request, service.require_model(request, name))

    turn = asyncio.Semaphore(1)

    @router.post("/v1/explain", **openapi_schemas.EXPLAIN)
    async def explain(request: Request) -> Response:
        """Answer for one picture, with what the answer rests on: a heat map and the nearest known pictures."""
        served = service.require_model(request)
        async with service.read_body(request) as body:
            uploads = await request_bodies.read_pictures(request, body, service.limits)
            if len(uploads) > 1:
                raise Refusal(422, "one picture is explained at a time")
            add_log_facts(request, pictures=1)
            served = service.registry.get_model(served.name)
            explanation = await explanations.explain_picture(service, served, uploads[0], turn)
            return response_rows.make_json_response(explanation)


async def answer_request(service: PredictionService, request: Request, served: ServedModel) -> Response:
    """Answer for the pictures of a request's body; raises `Refusal`."""
    rows = await predict_rows(service, request, served, request_bodies.read_pictures)
    return response_rows.make_json_response({"model": served.name, "answers": rows})


async def predict_rows(
    service: PredictionService, request: Request, served: ServedModel, read_pictures: PictureReader
) -> list[dict[str, Any]]:
    """A row for each picture of a request's body; raises `Refusal`, also where none of them can be read."""
    async with service.read_body(request) as body:
        add_log_facts(request, bytes=len(body))
        uploads = await read_pictures(request, body, service.limits)
        served = service.registry.get_model(served.name)  # a new version may have taken its place while the body came
        predictions = await service.answer_pictures(request, served, uploads)
    rows = [response_rows.answer_row(prediction, served.model.layout) for prediction in predictions]
    if not response_rows.count_readable(predictions):
        problem = "the picture could not" if len(rows) == 1 else f"none of the {len(rows):,} pictures could"
        raise Refusal(422, f"{problem} be read", hint="each row's `error` says why", rows=rows)
    return rows


def _add_model_routes(router: APIRouter, service: PredictionService) -> None:
    @router.get("/v1/models", **openapi_schemas.MODELS)
    async def models() -> Response:
        """The models, the one that answers without a name first."""
        limits = {name: getattr(service.limits, name) for name in ("upload_bytes", "pixels", "total_pixels", "files")}
        described = [describe_model(served) for served in service.registry.models.values()]
        return response_rows.make_json_response({"models": described, "limits": limits})

    @router.get("/v1/models/{name}", **openapi_schemas.MODEL)
    async def model(request: Request, name: str) -> Response:
        """One model."""
        return response_rows.make_json_response(describe_model(service.require_model(request, name)))

    @router.post("/v1/models/{name}/reload", **openapi_schemas.RELOAD)
    async def reload(request: Request, name: str) -> Response:
        """Serve what the model's folder holds now; needs a key. A damaged one is refused, and the old one stays."""
        if not service.keyed:
            problem = "reloading over the network needs a service with a key"
            raise Refusal(403, problem, hint="changed folders are also found without this request")
        served = service.require_model(request, name)
        try:
            changed = await service.registry.reload_model(served.name)
        except HeadstartError as err:
            service.metrics.count_load(served.name, "refused")
            service.log.write_event("reload", level="warning", model=served.name, what=err.what)
            raise Refusal(409, "the new model is refused; the old one is still served") from None
        described = describe_model(service.registry.get_model(name))
        return response_rows.make_json_response({"changed": changed, "model": described})
