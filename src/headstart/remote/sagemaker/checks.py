"""What stands in the way of a training job, asked of AWS before anything is uploaded: each with what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from headstart.core.errors import HeadstartError, Problem, SetupError, format_nearest, make_problem
from headstart.remote.sagemaker.access import make_trust_policy
from headstart.remote.sagemaker.clients import (
    REGION_HINT,
    describe_error,
    make_client,
    read_code,
    split_address,
    translate_errors,
)
from headstart.remote.sagemaker.job_settings import JobSettings, find_option_problems

TRUST_HINT = f"trust policy of the role: {json.dumps(make_trust_policy())}"


def find_problems(settings: JobSettings, addresses: Mapping[str, str]) -> list[Problem]:
    """All that can be told now; `addresses` are option or setting -> s3:// address that must hold something."""
    problems, region, account = find_option_problems(settings), settings.region, list[str]()
    if not region:
        return [*problems, _problem("--on-option region", "no AWS region is named", REGION_HINT)]
    problems += _ask(lambda: account.append(read_account(region)))
    if not account:  # nothing else would be answered
        return problems
    problems += _ask(lambda: _find_instance_problems(settings))
    if settings.role:
        problems += _ask(lambda: find_role_problems(settings.role, account[0], region))
    if settings.bucket:
        problems += _ask(lambda: find_bucket_problems(settings.bucket, region))
    problems += _ask(lambda: _find_image_problems(settings, account[0]))
    problems += _ask(lambda: _find_name_problems(settings))
    for option, address in addresses.items():
        problems += _ask(partial(_find_empty_address, option, address, region))
    return list(dict.fromkeys(problems))


def _ask(find: Callable[[], list[Problem] | None]) -> list[Problem]:
    """What a question to AWS comes to; one that it does not answer is a problem itself."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return find() or []
    except (BotoCoreError, ClientError) as err:
        return [make_problem(describe_error(err, "AWS could not be asked"), "--on aws")]
    except HeadstartError as err:
        return [make_problem(err, "--on aws")]


def read_account(region: str) -> str:
    """The account that the credentials belong to."""
    return str(make_client("sts", region).get_caller_identity()["Account"])


def make_role_arn(role: str, account: str) -> str:
    """A role's ARN, of its name or itself."""
    return role if role.startswith("arn:") else f"arn:aws:iam::{account}:role/{role}"


def find_role_problems(role: str, account: str, region: str) -> list[Problem]:
    """The role is there and SageMaker may take it on; nothing where that may not be looked at."""
    from botocore.exceptions import ClientError

    option, arn = "--on-option role", make_role_arn(role, account)
    if not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", arn):
        return [_problem(option, f"`{role}` is neither name nor ARN of a role", "arn:aws:iam::ACCOUNT:role/NAME")]
    try:
        description = make_client("iam", region).get_role(RoleName=arn.rpartition("/")[2])["Role"]
    except ClientError as err:
        if read_code(err) == "NoSuchEntity":
            return [_problem(option, f"there is no role `{arn}`", "headstart doctor --on aws prints what it needs")]
        if read_code(err).startswith("AccessDenied"):
            return []
        raise
    if "sagemaker.amazonaws.com" not in json.dumps(description["AssumeRolePolicyDocument"]):
        return [_problem(option, f"SageMaker may not take on the role `{arn}`", TRUST_HINT)]
    return []


def find_bucket_problems(bucket: str, region: str) -> list[Problem]:
    """The bucket is there, may be used, and lies in the job's region."""
    from botocore.exceptions import ClientError

    option, other = "--on-option bucket", ""
    try:
        answer = make_client("s3", region).head_bucket(Bucket=bucket)
        other = answer.get("BucketRegion") or answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", "")
    except ClientError as err:
        code = read_code(err)
        if code in ("404", "NoSuchBucket"):
            return [_problem(option, f"there is no bucket `{bucket}`", f"aws s3 mb s3://{bucket} --region {region}")]
        if code == "403":
            return [_problem(option, f"the bucket `{bucket}` may not be used", "headstart doctor --on aws")]
        other = err.response["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", "")
        if not other:
            raise
    if other and other != region:
        problem = f"the bucket `{bucket}` is in {other}, the job in {region}"
        return [_problem(option, problem, f"--on-option region={other}, or a bucket of {region}")]
    return []


def _find_instance_problems(settings: JobSettings) -> list[Problem]:
    shapes: Any = make_client("sagemaker", settings.region).meta.service_model
    types = shapes.shape_for("TrainingInstanceType").enum
    if settings.instance in types:
        return []
    hint = format_nearest(settings.instance, types) or "such as ml.m5.xlarge, ml.g5.xlarge"
    return [_problem("--on-option instance", f"SageMaker has no `{settings.instance}` for training", hint)]


def _find_image_problems(settings: JobSettings, account: str) -> list[Problem]:
    """Looks into registries of one's own; AWS's own images may not be listed."""
    from botocore.exceptions import ClientError

    match = re.fullmatch(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com[.a-z]*/([^:@]+)[:@](.+)", settings.image)
    if not match:
        return [_problem("--on-option image", f"`{settings.image}` is no image of ECR", "…amazonaws.com/NAME:TAG")]
    if match[1] != account or match[2] != settings.region:
        return []
    kind = "imageDigest" if "@" in settings.image else "imageTag"
    try:
        make_client("ecr", settings.region).describe_images(repositoryName=match[3], imageIds=[{kind: match[4]}])
    except ClientError as err:
        if read_code(err) in ("ImageNotFoundException", "RepositoryNotFoundException"):
            problem = f"there is no image `{settings.image}`"
            return [_problem("--on-option image", problem, "push it first, or leave it to AWS's own image")]
        if not read_code(err).startswith("AccessDenied"):
            raise
    return []


def _find_name_problems(settings: JobSettings) -> list[Problem]:
    from botocore.exceptions import ClientError

    try:
        make_client("sagemaker", settings.region).describe_training_job(TrainingJobName=settings.name)
    except ClientError as err:
        if read_code(err) == "ValidationException":  # it is not there, which is what is wanted
            return []
        raise
    problem = f"SageMaker has a job named `{settings.name}` already, and keeps names for ever"
    return [_problem("--name", problem, "another --name, or none: then a new one is taken")]


def _find_empty_address(option: str, address: str, region: str) -> list[Problem]:
    bucket, key = split_address(address)
    with translate_errors(f"`{address}` cannot be listed"):
        answer = make_client("s3", region).list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    if answer.get("Contents"):
        return []
    return [_problem(option, f"there is nothing at `{address}`", "aws s3 ls shows what there is")]


def _problem(where: str, what: str, hint: str = "") -> Problem:
    return Problem(where, what, hint, SetupError)
