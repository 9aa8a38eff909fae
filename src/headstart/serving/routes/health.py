"""Whether the service is alive and ready, and what it has counted."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from headstart.serving.inference.prediction_service import PredictionService
from headstart.serving.prometheus_metrics import CONTENT_TYPE
from headstart.serving.routes import openapi_schemas, response_rows


def make_router(service: PredictionService) -> APIRouter:
    """The routes over a service."""
    router = APIRouter()

    @router.get("/healthz", **openapi_schemas.HEALTH)
    async def healthz() -> Response:
        """The process answers."""
        return response_rows.make_json_response({"status": "alive"})

    @router.get("/readyz", **openapi_schemas.HEALTH)
    async def readyz() -> Response:
        """Every model is loaded and takes pictures; 503 while the service stops."""
        ready = service.registry.ready
        response = response_rows.make_json_response({"status": "ready" if ready else "stopping"}, 200 if ready else 503)
        if service.keyed:
            response.headers["x-needs-key"] = "yes"  # the page asks for it before it is refused
        return response

    @router.get("/metrics", **openapi_schemas.METRICS)
    async def metrics() -> Response:
        """Counts for Prometheus."""
        return Response(service.metrics.format_text(), headers={"content-type": CONTENT_TYPE})

    return router
