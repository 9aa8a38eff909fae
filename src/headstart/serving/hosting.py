"""The contract of a cloud's endpoint: where it puts the model, and at which port and routes it asks the container.

`headstart serve` without a run, as an endpoint starts its container, takes all of this from what the platform says.
"""

from __future__ import annotations

import tempfile
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
    address: str = ""  # from where the model is brought to its folder; empty where the platform has put it there
    has_instances: bool = False  # a request is {"instances": […]}, an answer {"predictions": […]}


def find_hosting(environ: Mapping[str, str]) -> Hosting | None:
    """The contract of the endpoint that this process runs in; None outside of one.

    SageMaker runs an image as `docker run IMAGE serve`, with model.tar.gz unpacked below /opt/ml/model, and asks
    `GET /ping` and `POST /invocations` at port 8080, or the one of SAGEMAKER_BIND_TO_PORT.
    Vertex AI says in AIP_HTTP_PORT, AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE what it asks, and in AIP_STORAGE_URI where
    its copy of the model lies.
    """
    if address := environ.get("AIP_STORAGE_URI"):
        return Hosting(
            model=Path(tempfile.gettempdir()) / "headstart-model",
            port=int(environ.get("AIP_HTTP_PORT", "8080")),
            health_route=environ.get("AIP_HEALTH_ROUTE", "/health"),
            predict_route=environ.get("AIP_PREDICT_ROUTE", "/predict"),
            address=address.rstrip("/"),
            has_instances=True,
        )
    if SAGEMAKER_MODEL.is_dir() and "TRAINING_JOB_NAME" not in environ:  # training machines have the folder, too
        port = environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
        return Hosting(model=SAGEMAKER_MODEL, port=int(port), health_route="/ping", predict_route="/invocations")
    return None


def require_hosting(environ: Mapping[str, str]) -> Hosting:
    """The contract of this endpoint; raises `UsageError` outside of one."""
    hosting = find_hosting(environ)
    if hosting is None:
        raise UsageError("no run is named, and this is no endpoint of a cloud", hint="headstart serve RUN")
    return hosting


def bring_model(hosting: Hosting) -> Path:
    """The folder of the model, which is brought there where the platform has left it in a bucket.

    Raises:
        DataError: There is nothing at its address.
        SetupError: It may not be read, or the disk has no room.
    """
    if hosting.address:
        from headstart.core.console import Console
        from headstart.core.storage.locations.uploads import download_folder

        download_folder(hosting.address, hosting.model, Console(quiet=True))
    return hosting.model
