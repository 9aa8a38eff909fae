"""The service's own routes, `/v1`: answers, explanations, the models and their reloading."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from headstart.core.errors import HeadstartError
from headstart.serving.http import request_bodies
from headstart.serving.inference.model_registry import Served, described, listed
from headstart.serving.inference.prediction_service import PredictionService, note
from headstart.serving.request_limits import Refused
from headstart.serving.routes import explanations, openapi_schemas, response_rows


def router(desk: PredictionService) -> APIRouter:
    """The routes over a desk."""
    made = APIRouter()
    _add_answers(made, desk)
    _add_models(made, desk)
    return made


def direct(desk: PredictionService) -> dict[str, Callable[[Request], Awaitable[Response]]]:
    """The busiest route, for the guard to answer without a router."""

    async def predict(request: Request) -> Response:
        return await _predict(desk, request, desk.model(request))

    return {"/v1/predict": predict}


def _add_answers(made: APIRouter, desk: PredictionService) -> None:
    @made.post("/v1/predict", **openapi_schemas.PREDICT)
    async def predict(request: Request) -> Response:
        """Answer for pictures with the first model, or the one of `?model=`."""
        return await _predict(desk, request, desk.model(request))

    @made.post("/v1/models/{name}/predict", **openapi_schemas.PREDICT_NAMED)
    async def predict_with(request: Request, name: str) -> Response:
        """Answer for pictures with a model."""
        return await _predict(desk, request, desk.model(request, name))

    turn = asyncio.Semaphore(1)

    @made.post("/v1/explain", **openapi_schemas.EXPLAIN)
    async def explain(request: Request) -> Response:
        """Answer for one picture, with what the answer rests on: a heat map and the nearest known pictures."""
        served = desk.model(request)
        async with desk.body(request) as body:
            uploads = await request_bodies.pictures(request, body, desk.limits)
            if len(uploads) > 1:
                raise Refused(422, "one picture is explained at a time")
            note(request, pictures=1)
            served = desk.shelf.get(served.name)
            return response_rows.as_json(await explanations.explain(desk, served, uploads[0], turn))


async def _predict(desk: PredictionService, request: Request, served: Served) -> Response:
    async with desk.body(request) as body:
        note(request, bytes=len(body))
        uploads = await request_bodies.pictures(request, body, desk.limits)
        served = desk.shelf.get(served.name)  # a new version may have taken its place while the body came
        found = await desk.answers(request, served, uploads)
    rows = [response_rows.row(one) for one in found]
    if not response_rows.readable(found):
        raise Refused(422, _none(len(found)), hint="each row's `error` says why", rows=rows)
    return response_rows.as_json({"model": served.name, "answers": rows})


def _none(count: int) -> str:
    return "the picture could not be read" if count == 1 else f"none of the {count:,} pictures could be read"


def _add_models(made: APIRouter, desk: PredictionService) -> None:
    @made.get("/v1/models", **openapi_schemas.MODELS)
    async def models() -> Response:
        """The models, the one that answers without a name first."""
        limits: dict[str, Any] = {
            "upload_bytes": desk.limits.upload_bytes,
            "pixels": desk.limits.pixels,
            "files": desk.limits.files,
        }
        return response_rows.as_json({"models": listed(desk.shelf.models), "limits": limits})

    @made.get("/v1/models/{name}", **openapi_schemas.MODEL)
    async def model(request: Request, name: str) -> Response:
        """One model."""
        return response_rows.as_json(described(desk.model(request, name)))

    @made.post("/v1/models/{name}/reload", **openapi_schemas.RELOAD)
    async def reload(request: Request, name: str) -> Response:
        """Serve what the model's folder holds now; needs a key. A damaged one is refused, and the old one stays."""
        if not desk.keyed:
            what = "reloading over the network needs a service with a key"
            raise Refused(403, what, hint="changed folders are also found without being told")
        served = desk.model(request, name)
        try:
            changed = await desk.shelf.reload(served.name)
        except HeadstartError as err:
            desk.metrics.loaded(served.name, "refused")
            desk.log.event("reload", level="warning", model=served.name, what=err.what)
            raise Refused(409, "the new model is refused; the old one is still served") from None
        return response_rows.as_json({"changed": changed, "model": described(desk.shelf.get(name))})
