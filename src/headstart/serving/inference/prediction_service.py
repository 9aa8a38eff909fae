"""What every route needs: from pictures to answers, within the limits, counted."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from headstart.core.types import Prediction
from headstart.images.codecs import open_picture
from headstart.images.file_formats import PictureError
from headstart.runtime.inputs.decoded_batches import Content
from headstart.serving.http import request_bodies
from headstart.serving.http.access_log import AccessLog
from headstart.serving.inference.dynamic_batching import Upload
from headstart.serving.inference.model_registry import ModelRegistry, ServedModel
from headstart.serving.prometheus_metrics import Metrics
from headstart.serving.request_limits import Limits, Load, Refusal, too_many_pixels_error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredictionService:
    """A service's parts."""

    registry: ModelRegistry
    limits: Limits
    load: Load
    metrics: Metrics
    log: AccessLog
    keyed: bool = False

    def require_model(self, request: Request, name: str | None = None) -> ServedModel:
        """The model of the route, of `?model=`, or the first; raises `Refusal` (404 no such name, 503 stopping)."""
        if not self.registry.ready:
            raise Refusal(503, "the service is stopping", headers={"Retry-After": "5"})
        served = self.registry.get_model(name if name is not None else request.query_params.get("model"))
        add_log_facts(request, model=served.name)
        return served

    @asynccontextmanager
    async def read_body(self, request: Request) -> AsyncIterator[bytes]:
        """A request's body, counted as held while the block runs; `Refusal` 429 where not even one picture has room."""
        self.load.admit_pictures()
        body = await request_bodies.read_body(request, self.load)
        try:
            yield body
        finally:
            self.load.release_bytes(len(body))

    async def answer_pictures(
        self, request: Request, served: ServedModel, uploads: Sequence[Upload]
    ) -> list[Prediction]:
        """Answers in the order of the pictures.

        Raises:
            Refusal: 413 too many pixels together, 429 too much waits, 504 it takes too long.
        """
        if len(uploads) * self.limits.pixels > self.limits.total_pixels:
            await asyncio.to_thread(_require_few_pixels, uploads, self.limits)
        self.load.admit_pictures(len(uploads))
        assert served.worker is not None
        pending = served.worker.submit_pictures(uploads)
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                predictions = await pending.result
        except TimeoutError:
            raise Refusal(504, f"no answer within {self.limits.timeout_s:g} s") from None
        finally:
            served.worker.abandon_request(pending)
        self.metrics.count_answers(served.name, predictions)
        add_log_facts(request, pictures=len(predictions))
        return predictions


def _require_few_pixels(uploads: Sequence[Upload], limits: Limits) -> None:
    """Refuse pictures that are too much work together, by their headers; what cannot be read costs its own row."""
    total = 0
    for upload in uploads:
        with contextlib.suppress(PictureError):
            total += math.prod(
                open_picture(upload.read_bytes(), limits.pixels).size
                if isinstance(upload, Content)
                else upload.picture.shape[:2]
            )
        if total > limits.total_pixels:
            raise too_many_pixels_error(limits.total_pixels)


def add_log_facts(request: Request, **facts: Any) -> None:
    """Facts for the request's line in the log: counts and names of models, nothing a client wrote."""
    request.scope.setdefault("state", {}).setdefault("facts", {}).update(facts)
