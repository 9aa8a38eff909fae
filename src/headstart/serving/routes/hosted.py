"""The two routes by which a cloud's endpoint asks its container: whether it is ready, and for answers."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from headstart.serving.hosting import Hosting
from headstart.serving.http import request_bodies
from headstart.serving.inference.prediction_service import PredictionService
from headstart.serving.routes import openapi_schemas, response_rows, v1


def make_router(service: PredictionService, hosting: Hosting) -> APIRouter:
    """The routes that the platform names."""
    router = APIRouter()

    @router.get(hosting.health_route, **openapi_schemas.HEALTH)
    async def ping() -> Response:
        """Every model takes pictures; 503 while the service stops."""
        ready = service.registry.ready
        return response_rows.make_json_response({"status": "ready" if ready else "stopping"}, 200 if ready else 503)

    @router.post(hosting.predict_route, **openapi_schemas.PREDICT)
    async def invoke(request: Request) -> Response:
        """Answer for pictures, as `/v1/predict` does, in the platform's own form where it has one."""
        served = service.require_model(request)
        if hosting.has_instances:
            rows = await v1.predict_rows(service, request, served, request_bodies.read_instances)
            return response_rows.make_json_response({"predictions": rows})
        return await v1.answer_request(service, request, served)

    return router
