"""A real-time endpoint of Amazon SageMaker."""

from __future__ import annotations

import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.errors import DataError, HeadstartError, SetupError
from headstart.core.storage.locations import uploads
from headstart.remote.endpoint import complete_options
from headstart.remote.sagemaker import checks
from headstart.remote.sagemaker.clients import REGION_HINT, find_region, make_client, read_code, translate_errors
from headstart.remote.sagemaker.job_settings import read_base
from headstart.remote.submit_job import list_leftovers
from headstart.remote.target import TargetOption

if TYPE_CHECKING:
    from headstart.core.console import Console

_POLL_S = 2.0
# What an endpoint is made of, in the order in which it is removed: name in boto3's calls -> name of its name.
_PARTS = {"endpoint": "EndpointName", "endpoint_config": "EndpointConfigName", "model": "ModelName"}


class SageMakerEndpoint:
    """A real-time endpoint of Amazon SageMaker.

    A model, an endpoint configuration and an endpoint of one name, and `models/NAME/model.tar.gz` in the bucket.
    """

    name = "aws"
    extra = "aws"
    options = (
        TargetOption(name="bucket", help="S3 bucket, or BUCKET/PREFIX, for the model", required=True),
        TargetOption(name="role", help="name or ARN of the role that the endpoint takes on", required=True),
        TargetOption(name="image", help="image of ECR with headstart as its entry point", required=True),
        TargetOption(name="region", help="AWS region; that of boto3's configuration when empty"),
        TargetOption(name="instance", help="type of the machine", default="ml.m5.large"),
    )

    def deploy(self, run: Path, name: str, options: Mapping[str, str], console: Console) -> dict[str, str]:
        """Serve a run and wait until it answers."""
        options = complete_options(options, self.options)
        region, address = _require_region(options["region"]), _make_address(options["bucket"], name)
        with translate_errors("AWS could not be asked"):
            role = checks.make_role_arn(options["role"], checks.read_account(region))
        with _removing_on_failure(name, region, address):
            console.print_line("deploy", f"{_upload_model(run, address):,} bytes to {address}")
            _create_endpoint(name, region, role=role, model=address, options=options)
            console.print_line("deploy", f"{name}: waits for a machine of type {options['instance']}")
            _wait_until_served(name, region)
        return {
            "endpoint": name,
            "region": region,
            "ask": (
                f"aws sagemaker-runtime invoke-endpoint --region {region} --endpoint-name {name} "
                "--content-type image/jpeg --body fileb://PICTURE.jpg answer.json"
            ),
        }

    def remove(self, name: str, options: Mapping[str, str], console: Console) -> None:
        """Stop serving, and remove all that `deploy` made."""
        options = complete_options(options, self.options, required=False)
        address = _make_address(options["bucket"], name) if options["bucket"] else ""
        left = _remove_parts(name, _require_region(options["region"]), address)
        if left:
            hint = "run the same command again when AWS can be reached: an endpoint costs money until it is removed"
            raise SetupError(f"not all of `{name}` could be removed", where=", ".join(left), hint=hint)
        console.print_line("deploy", f"{name} is removed")


def _require_region(region: str) -> str:
    if region := find_region(region):
        return region
    raise SetupError("no AWS region is named", where="--on-option region", hint=REGION_HINT)


def _make_address(bucket: str, name: str) -> str:
    return f"{read_base(bucket)}/models/{name}/model.tar.gz"


def _upload_model(run: Path, address: str) -> int:
    """Pack the saved model of a run; its bytes."""
    model = run / "model" if (run / "model").is_dir() else run
    if not (model / "manifest.json").is_file():
        raise DataError(f"there is no saved model in `{run}`", where=str(run), hint="headstart fit makes one")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "model.tar.gz"
        with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
            tar.add(model, arcname=".")
        uploads.upload_file(archive, address)
        return archive.stat().st_size


def _create_endpoint(name: str, region: str, *, role: str, model: str, options: Mapping[str, str]) -> None:
    client = make_client("sagemaker", region)
    container = {"Image": options["image"], "ModelDataUrl": model}
    variant = {"VariantName": "all", "ModelName": name, "InstanceType": options["instance"], "InitialInstanceCount": 1}
    with translate_errors(f"`{name}` cannot be deployed"):
        client.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role)
        client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        client.create_endpoint(EndpointName=name, EndpointConfigName=name)


def _wait_until_served(name: str, region: str) -> None:
    client = make_client("sagemaker", region)
    while True:
        with translate_errors(f"`{name}` cannot be looked at"):
            answer = client.describe_endpoint(EndpointName=name)
        if answer["EndpointStatus"] == "InService":
            return
        if answer["EndpointStatus"] not in ("Creating", "Updating"):
            why = answer.get("FailureReason", answer["EndpointStatus"])
            hint = f"its log is in CloudWatch, /aws/sagemaker/Endpoints/{name}"
            raise SetupError(f"`{name}` does not answer: {why}", hint=hint)
        time.sleep(_POLL_S)


@contextmanager
def _removing_on_failure(name: str, region: str, address: str) -> Iterator[None]:
    """Refuse a name that is taken; where what follows fails, remove what it made, or list what stays."""
    client = make_client("sagemaker", region)
    for noun, key in _PARTS.items():
        with translate_errors("SageMaker could not be asked"):
            is_taken = _attempt(client, f"describe_{noun}", {key: name})
        if is_taken:
            hint = f"another --name, or headstart deploy --on aws --name {name} --remove"
            raise SetupError(f"SageMaker has a {noun.replace('_', ' ')} named `{name}` already", hint=hint)
    if uploads.exists_below(address.rpartition("/")[0]):  # of an endpoint in another region
        raise SetupError(f"there is a model at `{address}` already", where="--name", hint="choose another --name")
    try:
        yield
    except BaseException as err:
        left = _remove_parts(name, region, address)
        if left and isinstance(err, HeadstartError):
            err.problems = [(part, "left", "it could not be removed") for part in left]
        elif left:
            raise list_leftovers(err, left) from err
        raise


def _remove_parts(name: str, region: str, address: str) -> list[str]:
    """Remove endpoint, configuration, model and its file; what could not be removed."""
    from botocore.exceptions import BotoCoreError, ClientError

    client, left = make_client("sagemaker", region), []
    for noun, key in _PARTS.items():
        try:
            _attempt(client, f"delete_{noun}", {key: name})
        except (BotoCoreError, ClientError):
            left.append(f"{noun.replace('_', ' ')} {name}")
    try:
        if address:
            uploads.delete_below(address.rpartition("/")[0])
    except HeadstartError:
        left.append(address)
    return left


def _attempt(client: Any, operation: str, names: Mapping[str, str]) -> bool:
    """Do something to a part; False where SageMaker does not know it."""
    from botocore.exceptions import ClientError

    try:
        getattr(client, operation)(**names)
    except ClientError as err:
        if read_code(err) != "ValidationException" or "ould not find" not in str(err):
            raise
        return False
    return True


PLUGIN = SageMakerEndpoint()
