"""A training job as SageMaker wants it described, and what its answers come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.remote import start_script
from headstart.remote.platforms import INPUTS
from headstart.remote.sagemaker.job_settings import JobSettings
from headstart.remote.target import JobStatus

CODE, CACHE = "code", "cache"  # the names of channels: folders of /opt/ml/input/data
START_SCRIPT = f"/opt/ml/input/data/{CODE}/{start_script.NAME}"
# Secondary states before the container's first line.
_WAITING = (
    "Starting",
    "Pending",
    "LaunchingMLInstances",
    "PreparingTrainingStack",
    "Downloading",
    "DownloadingTrainingImage",
)
_LIMITS = {"MaxRuntimeExceeded": "run", "MaxWaitTimeExceeded": "wait for a machine and run"}


def make_training_request(
    settings: JobSettings, *, role: str, data: str, environment: Mapping[str, str]
) -> dict[str, Any]:
    """The request; `data` is the s3:// address of uploaded data, empty where the job reads an address itself."""
    channels = {CODE: f"{settings.folder}/{CODE}/"} | ({INPUTS: f"{data}/"} if data else {})
    if settings.cache:
        channels[CACHE] = settings.cache.rstrip("/") + "/"
        environment = {"HEADSTART_CACHE": f"/opt/ml/input/data/{CACHE}"} | dict(environment)
    stopping = {"MaxRuntimeInSeconds": settings.max_run_s}
    resources = {"InstanceType": settings.instance, "InstanceCount": 1, "VolumeSizeInGB": settings.volume_gb}
    output = {"S3OutputPath": f"{settings.folder}/output"}
    request: dict[str, Any] = {
        "TrainingJobName": settings.name,
        "RoleArn": role,
        "AlgorithmSpecification": {
            "TrainingImage": settings.image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["bash", START_SCRIPT],
        },
        "InputDataConfig": [_make_channel(name, address) for name, address in channels.items()],
        "OutputDataConfig": output | ({"KmsKeyId": settings.kms_key} if settings.kms_key else {}),
        "ResourceConfig": resources | ({"VolumeKmsKeyId": settings.volume_kms_key} if settings.volume_kms_key else {}),
        "CheckpointConfig": {"S3Uri": f"{settings.folder}/checkpoints", "LocalPath": "/opt/ml/checkpoints"},
        "StoppingCondition": stopping,
        "Environment": dict(environment),
        "HyperParameters": dict(settings.hyperparameters),
        "Tags": [{"Key": key, "Value": value} for key, value in settings.tags.items()],
    }
    if settings.max_wait_s is not None:
        request["EnableManagedSpotTraining"] = True
        stopping["MaxWaitTimeInSeconds"] = settings.max_wait_s
    if settings.subnets:
        groups = {"Subnets": list(settings.subnets), "SecurityGroupIds": list(settings.security_groups)}
        request["VpcConfig"] = groups
    return request


def read_job_status(answer: Mapping[str, Any]) -> JobStatus:
    """What DescribeTrainingJob says."""
    secondary = str(answer.get("SecondaryStatus", ""))
    state = {
        "InProgress": "pending" if secondary in _WAITING else "running",
        "Stopping": "running",
        "Completed": "done",
        "Failed": "failed",
        "Stopped": "cancelled",
    }.get(answer["TrainingJobStatus"], "running")
    reason = str(answer.get("FailureReason", ""))
    if secondary == "Interrupted":
        state, reason = "interrupted", "AWS took the spot machine back; the job goes on where it was on the next one"
    elif secondary in _LIMITS:
        state = "failed"
        reason = f"the time is over in which it may {_LIMITS[secondary]}; what is done can be fetched"
    return JobStatus(
        state=state,  # type: ignore[arg-type]
        reason=reason,
        started=_read_time(answer.get("TrainingStartTime")),
        ended=_read_time(answer.get("TrainingEndTime")),
    )


def _make_channel(name: str, address: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": address, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def _read_time(moment: Any) -> float | None:
    return moment.timestamp() if moment is not None else None
