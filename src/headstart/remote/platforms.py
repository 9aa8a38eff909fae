"""Where a job finds itself: SageMaker, Vertex AI, a Ray job or a plain machine, as one and the same context.

Each platform has a layout of its own: SageMaker the folders of `/opt/ml`, Vertex AI addresses in `AIP_*` variables.
This module alone knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headstart.core.errors import SetupError

SAGEMAKER_ROOT = Path("/opt/ml")
INPUTS = "inputs"  # SageMaker's channel with the data; the folder beside a job file elsewhere
RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The surroundings of a job."""

    name: str  # as people call it
    data: str  # folder of the data that travelled with the job
    run: str  # folder or address that survives the machine: the run is here, finished or to be resumed; "" anywhere
    output: Path | None = None  # folder that the platform takes away at the end, besides
    failure: Path | None = None  # file whose text the platform shows as the reason of a failure


def find_platform(environ: Mapping[str, str], job_folder: Path) -> Platform:
    """The platform of this process by its environment; `job_folder` is where the job file lies.

    Raises:
        SetupError: Vertex AI gave no place for the run.
    """
    if "TRAINING_JOB_NAME" in environ or any(name.startswith("SM_") for name in environ):
        return _describe_sagemaker(environ)
    if any(name in environ for name in ("CLOUD_ML_JOB_ID", "AIP_CHECKPOINT_DIR", "AIP_MODEL_DIR")):
        return _describe_vertex(environ, job_folder)
    is_ray = any(name in environ for name in ("RAY_JOB_ID", "RAY_JOB_CONFIG_JSON_ENV_VAR"))
    return Platform(name="Ray" if is_ray else "this machine", data=str(job_folder / INPUTS), run="")


def _describe_sagemaker(environ: Mapping[str, str]) -> Platform:
    """The variables `SM_*` are of AWS's own images; the folders are of every image."""
    return Platform(
        name="SageMaker",
        data=environ.get(f"SM_CHANNEL_{INPUTS.upper()}", str(SAGEMAKER_ROOT / "input" / "data" / INPUTS)),
        run=str(SAGEMAKER_ROOT / "checkpoints" / RUN),
        output=Path(environ.get("SM_MODEL_DIR", str(SAGEMAKER_ROOT / "model"))),
        failure=SAGEMAKER_ROOT / "output" / "failure",
    )


def _describe_vertex(environ: Mapping[str, str], job_folder: Path) -> Platform:
    address = environ.get("AIP_CHECKPOINT_DIR", "").rstrip("/")
    if not address:
        problem = "Vertex AI gave no place for the run: AIP_CHECKPOINT_DIR is not set"
        raise SetupError(problem, hint="give the custom job a baseOutputDirectory")
    return Platform(name="Vertex AI", data=str(job_folder / INPUTS), run=f"{address}/{RUN}")
