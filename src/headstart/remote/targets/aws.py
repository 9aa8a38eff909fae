"""Amazon SageMaker: a training job on one machine of AWS, spot with checkpoints, results in a bucket."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.errors import HeadstartError, Problem, SetupError
from headstart.core.storage.locations import uploads
from headstart.remote.job_records import ADDRESS as RECORD
from headstart.remote.sagemaker import access, checks, prices
from headstart.remote.sagemaker.clients import describe_error, find_region, make_client, translate_errors
from headstart.remote.sagemaker.inputs import locate_inputs, upload_code, upload_inputs
from headstart.remote.sagemaker.job_settings import (
    OPTIONS,
    find_unreadable_options,
    read_base,
    read_options,
    read_price,
    read_settings,
)
from headstart.remote.sagemaker.results import fetch_run
from headstart.remote.sagemaker.training_logs import read_log_lines
from headstart.remote.sagemaker.training_request import CODE, make_training_request, read_job_status
from headstart.remote.submit_job import find_price_problems, list_leftovers, make_estimate, make_job_file
from headstart.remote.target import ENDED, CostEstimate, JobRequest, JobStatus

if TYPE_CHECKING:
    from headstart.core.console import Console


class Aws:
    """Amazon SageMaker: a training job on one machine of AWS, spot with checkpoints, results in a bucket.

    In the bucket a job has a folder of its name: `code`, `checkpoints`, `output`. What it reads lies beside it by its
    content, so that it is uploaded once.
    """

    name = "aws"
    extra = "aws"
    options = OPTIONS

    def find_problems(self, request: JobRequest) -> list[Problem]:
        """What stands in the way."""
        unread = find_unreadable_options(request.options)
        readable = {name: text for name, text in request.options.items() if name not in unread}
        settings = read_settings(dataclasses.replace(request, options=readable))
        addresses = {"DATA": request.job.data, "--on-option cache": settings.cache}
        addresses = {name: address for name, address in addresses.items() if address.startswith("s3://")}
        problems = [*unread.values(), *checks.find_problems(settings, addresses)]
        if "usd_per_hour" not in unread:
            price, source = prices.find_price(settings.instance, read_price(request.options))
            problems += find_price_problems(request, price, source)
        return problems

    def estimate(self, request: JobRequest) -> CostEstimate:
        """What the job will take at most."""
        settings = read_settings(request)
        usd_per_hour, source = prices.find_price(settings.instance, read_price(request.options))
        assumptions = [source, f"SageMaker ends it after {settings.max_run_s / 3600:g} hours"]
        if request.spot:
            assumptions.append("spot costs less, by how much changes; it may have to wait for a machine")
        return make_estimate(request, overhead_s=prices.START_S, usd_per_hour=usd_per_hour, assumptions=assumptions)

    def submit(self, request: JobRequest, console: Console) -> dict[str, str]:
        """Upload code and data and start the job; where that fails, only data that other jobs may share stay."""
        settings = read_settings(request)
        with translate_errors("AWS could not be asked"):
            role = checks.make_role_arn(settings.role, checks.read_account(settings.region))
        content, places = make_job_file(request, usd_per_hour=self.estimate(request).usd_per_hour)
        if uploads.exists_below(settings.folder):  # results of an earlier job, which a failure here would remove
            hint = "another --name, or none: then a new one is taken"
            raise SetupError(f"there is something at `{settings.folder}` already", where="--name", hint=hint)
        data = locate_inputs(settings.base, places)
        with _withdraw_on_failure(settings.folder, data, console):
            upload_inputs(data, places, console)
            upload_code(f"{settings.folder}/{CODE}", content, console)
            body = make_training_request(settings, role=role, data=data, environment=settings.environment)
            arn = _start_job(settings.region, body)
        console.print_line("submit", f"{settings.name} on {settings.instance} in {settings.region}: {settings.folder}")
        return {
            "name": settings.name,
            "region": settings.region,
            "address": settings.folder,
            "arn": arn,
            RECORD: f"{settings.folder}/job.json",
        }

    def read_status(self, state: Mapping[str, str]) -> JobStatus:
        """How the job is."""
        return read_job_status(_describe(state))

    def read_logs(self, state: Mapping[str, str], *, follow: bool) -> Iterator[str]:
        """Lines of its log so far; with `follow` until it ends."""
        return read_log_lines(
            state["name"],
            state["region"],
            has_ended=lambda: self.read_status(state).state in ENDED,
            follow=follow,
        )

    def fetch(self, state: Mapping[str, str], out: Path, console: Console) -> Path:
        """Bring the run folder; of an unfinished job as far as its checkpoints came."""
        return fetch_run(state["address"], state["region"], _describe(state), out, console)

    def cancel(self, state: Mapping[str, str]) -> None:
        """End the job within two minutes; what it has done stays and can be fetched."""
        with translate_errors(f"`{state['name']}` cannot be stopped"):
            make_client("sagemaker", state["region"]).stop_training_job(TrainingJobName=state["name"])

    def describe_access(self, options: Mapping[str, str]) -> dict[str, Any]:
        """Who asks, what is missing, and the least that submitter and role need."""
        values = read_options(options)
        region = find_region(values["region"])
        bucket = read_base(values["bucket"] or "BUCKET").removeprefix("s3://").partition("/")[0]
        role, account, missing = values["role"] or "ROLE", "ACCOUNT", []
        facts: dict[str, Any] = {"region": region}
        try:
            with translate_errors("AWS could not be asked"):
                identity = make_client("sts", region or "us-east-1").get_caller_identity()
                account = identity["Account"]
                facts |= {"account": account, "identity": identity["Arn"]}
                problems = [] if region else [Problem("region", "no AWS region is named")]
                if values["role"]:
                    problems += checks.find_role_problems(role, account, region or "us-east-1")
                if values["bucket"] and region:
                    problems += checks.find_bucket_problems(bucket, region)
                missing = [problem.what for problem in problems]
        except HeadstartError as err:
            missing.append(f"{err.what}; {err.hint}" if err.hint else err.what)
        region = region or "REGION"
        policies = {
            "submitter": access.make_submitter_policy(bucket, checks.make_role_arn(role, account), region, account),
            "role": access.make_role_policy(bucket, region, account),
            "role_trust": access.make_trust_policy(),
        }
        return {"seen": facts, "missing": missing, "policy": policies}


def _start_job(region: str, body: dict[str, Any]) -> str:
    """Start a job and give its ARN; one whose answer was lost on its way has started, too."""
    from botocore.exceptions import BotoCoreError, ClientError

    name, client = body["TrainingJobName"], make_client("sagemaker", region)
    try:
        answer = client.create_training_job(**body)
    except (BotoCoreError, ClientError) as err:
        with suppress(BotoCoreError, ClientError):
            answer = client.describe_training_job(TrainingJobName=name)
            if answer["OutputDataConfig"]["S3OutputPath"] == body["OutputDataConfig"]["S3OutputPath"]:
                return str(answer["TrainingJobArn"])
        raise describe_error(err, f"`{name}` cannot be started") from err
    return str(answer["TrainingJobArn"])


def _describe(state: Mapping[str, str]) -> dict[str, Any]:
    with translate_errors(f"`{state['name']}` cannot be looked at"):
        answer = make_client("sagemaker", state["region"]).describe_training_job(TrainingJobName=state["name"])
    return dict(answer)


@contextmanager
def _withdraw_on_failure(folder: str, data: str, console: Console) -> Iterator[None]:
    """Where the block fails, what lies below the folder is removed, or listed in the error.

    The data stay, and a warning names them: another job may read them by now, and the next submit finds them there.
    """
    try:
        yield
    except BaseException as err:
        with suppress(HeadstartError):
            if data and uploads.exists_below(data):
                hint = f"`aws s3 rm --recursive {data}` removes them"
                console.print_warning(f"the job's files stay for the next job that reads the same; {hint}")
        try:
            uploads.delete_below(folder)
        except HeadstartError:
            raise list_leftovers(err, [folder]) from err
        raise


PLUGIN = Aws()
