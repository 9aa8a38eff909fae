"""What every route needs: from pictures to answers, within the limits, counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from headstart.core.types import Prediction
from headstart.serving.http import request_bodies
from headstart.serving.http.access_log import Log
from headstart.serving.inference.dynamic_batching import Upload
from headstart.serving.inference.model_registry import ModelRegistry, Served
from headstart.serving.prometheus_metrics import Metrics
from headstart.serving.request_limits import Limits, Load, Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredictionService:
    """A service's parts.

    Attributes:
        shelf: The models.
        limits: What is taken.
        load: What is held.
        metrics: What counts.
        log: Where it is told.
        keyed: Whether a key is asked for.
    """

    shelf: ModelRegistry
    limits: Limits
    load: Load
    metrics: Metrics
    log: Log
    keyed: bool = False

    def model(self, request: Request, name: str | None = None) -> Served:
        """The model that a request asks for: by its route, or `?model=`, or the first.

        Raises:
            Refused: 404 there is none of this name, 503 the service is stopping.
        """
        if not self.shelf.ready:
            raise Refused(503, "the service is stopping", headers={"Retry-After": "5"})
        found = self.shelf.get(name if name is not None else request.query_params.get("model"))
        note(request, model=found.name)
        return found

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """A request's body, counted as held while the block runs.

        Raises:
            Refused: See `bodies.read`; 429 too where there is no room for even one picture.
        """
        self.load.admit()
        found = await request_bodies.read(request, self.load)
        try:
            yield found
        finally:
            self.load.drop(len(found))

    async def answers(self, request: Request, served: Served, uploads: Sequence[Upload]) -> list[Prediction]:
        """Answers in the order of the pictures.

        Raises:
            Refused: 429 too much waits, 504 it takes too long.
        """
        self.load.admit(len(uploads))
        assert served.lane is not None
        ticket = served.lane.submit(uploads)
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                found = await ticket.done
        except TimeoutError:
            raise Refused(504, f"no answer within {self.limits.timeout_s:g} s") from None
        finally:
            ticket.dropped = True
        self.metrics.answered(served.name, found)
        note(request, pictures=len(found))
        return found


def note(request: Request, **facts: Any) -> None:
    """Facts for the request's line in the log: counts and names of models, nothing a client wrote."""
    request.scope.setdefault("state", {}).setdefault("facts", {}).update(facts)
