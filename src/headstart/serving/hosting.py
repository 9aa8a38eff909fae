"""The contract of a cloud's endpoint: where it puts the model, and at which port and routes it asks the container.

`headstart serve` without a run, as an endpoint starts its container, takes all of this from what the platform says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headstart.core.errors import UsageError

SAGEMAKER_MODEL = Path("/opt/ml/model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosting:
    """What an endpoint wants of its container; the platform itself says who may ask."""

    model: Path
    port: int
    health_route: str
    predict_route: str


def find_hosting(environ: Mapping[str, str]) -> Hosting | None:
    """The contract of the endpoint that this process runs in; None outside of one.

    SageMaker runs an image as `docker run IMAGE serve`, with model.tar.gz unpacked below /opt/ml/model, and asks
    `GET /ping` and `POST /invocations` at port 8080, or the one of SAGEMAKER_BIND_TO_PORT.
    """
    if SAGEMAKER_MODEL.is_dir():
        port = environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
        return Hosting(model=SAGEMAKER_MODEL, port=int(port), health_route="/ping", predict_route="/invocations")
    return None


def require_hosting(environ: Mapping[str, str]) -> Hosting:
    """The contract of this endpoint; raises `UsageError` outside of one."""
    hosting = find_hosting(environ)
    if hosting is None:
        raise UsageError("no run is named, and this is no endpoint of a cloud", hint="headstart serve RUN")
    return hosting
