"""For those who run the service: is it alive, is it ready, what has it counted."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from headstart.web import answers, schemas
from headstart.web.desk import Desk
from headstart.web.metrics import TYPE


def router(desk: Desk) -> APIRouter:
    """The routes over a desk."""
    made = APIRouter()

    @made.get("/healthz", **schemas.HEALTH)
    async def healthz() -> Response:
        """The process answers."""
        return answers.as_json({"status": "alive"})

    @made.get("/readyz", **schemas.HEALTH)
    async def readyz() -> Response:
        """Every model is loaded and takes pictures; 503 while the service stops."""
        ready = desk.shelf.ready
        made = answers.as_json({"status": "ready" if ready else "stopping"}, 200 if ready else 503)
        if desk.keyed:
            made.headers["x-needs-key"] = "yes"  # the page asks for it before it is refused
        return made

    @made.get("/metrics", **schemas.METRICS)
    async def metrics() -> Response:
        """Counts for Prometheus."""
        return Response(desk.metrics.text(), headers={"content-type": TYPE})

    return made
