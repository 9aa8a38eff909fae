"""For those who run the service: is it alive, is it ready, what has it counted."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from headstart.serving.inference.prediction_service import PredictionService
from headstart.serving.prometheus_metrics import TYPE
from headstart.serving.routes import openapi_schemas, response_rows


def router(desk: PredictionService) -> APIRouter:
    """The routes over a desk."""
    made = APIRouter()

    @made.get("/healthz", **openapi_schemas.HEALTH)
    async def healthz() -> Response:
        """The process answers."""
        return response_rows.as_json({"status": "alive"})

    @made.get("/readyz", **openapi_schemas.HEALTH)
    async def readyz() -> Response:
        """Every model is loaded and takes pictures; 503 while the service stops."""
        ready = desk.shelf.ready
        made = response_rows.as_json({"status": "ready" if ready else "stopping"}, 200 if ready else 503)
        if desk.keyed:
            made.headers["x-needs-key"] = "yes"  # the page asks for it before it is refused
        return made

    @made.get("/metrics", **openapi_schemas.METRICS)
    async def metrics() -> Response:
        """Counts for Prometheus."""
        return Response(desk.metrics.text(), headers={"content-type": TYPE})

    return made
