"""The options of `--on aws`, and what they come to: names, addresses and limits of a training job."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from headstart.core.errors import Problem, UsageError, make_problem
from headstart.remote.sagemaker.clients import find_region
from headstart.remote.target import JobRequest, TargetOption

OPTIONS = (
    TargetOption(name="bucket", help="S3 bucket, or BUCKET/PREFIX, for code, data and results", required=True),
    TargetOption(name="role", help="name or ARN of the role that the job takes on", required=True),
    TargetOption(name="region", help="AWS region; that of boto3's configuration when empty"),
    TargetOption(name="instance", help="type of the machine", default="ml.m5.xlarge"),
    TargetOption(name="disk_gb", help="size of the machine's disk", default="30"),
    TargetOption(name="image", help="container image with Python 3.11 or newer; AWS's TensorFlow image when empty"),
    TargetOption(name="usd_per_hour", help="price of the machine; from a small table when empty"),
    TargetOption(name="max_wait_hours", help="with --spot, longest time with waiting; twice --max-hours when empty"),
    TargetOption(name="cache", help="s3:// folder that the job has as HEADSTART_CACHE: weights without internet"),
    TargetOption(name="environment", help="more variables of the job: A=1,B=2"),
    TargetOption(name="hyperparameters", help="shown with the job by SageMaker, changing nothing: a=1,b=2"),
    TargetOption(name="tags", help="tags of the job: team=vision,project=x"),
    TargetOption(name="subnets", help="subnets of a VPC, with commas"),
    TargetOption(name="security_groups", help="security groups of a VPC, with commas"),
    TargetOption(name="kms_key", help="KMS key for results"),
    TargetOption(name="volume_kms_key", help="KMS key for the machine's disk"),
)
DEFAULT_HOURS = 24.0  # SageMaker's own limit where none is named
_NUMBERS, _PAIRS = ("disk_gb", "usd_per_hour", "max_wait_hours"), ("environment", "hyperparameters", "tags")
# Account of AWS's deep-learning images where it is not 763104351884.
_IMAGE_ACCOUNTS = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-northeast-3": "364406365360",
    "ap-southeast-3": "907027046896",
    "eu-south-1": "692866216735",
    "me-south-1": "217643126080",
    "me-central-1": "914824155844",
}
_GPU = re.compile(r"ml\.(p|g)\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """The options of a job, read."""

    name: str
    region: str
    base: str  # s3://BUCKET[/PREFIX]
    role: str
    instance: str
    volume_gb: int
    image: str
    max_run_s: int
    max_wait_s: int | None  # None without spot
    cache: str
    environment: Mapping[str, str]
    hyperparameters: Mapping[str, str]
    tags: Mapping[str, str]
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    kms_key: str
    volume_kms_key: str

    @property
    def folder(self) -> str:
        """Where everything of this job lies in the bucket, but for data, which jobs share."""
        return f"{self.base}/{self.name}"

    @property
    def bucket(self) -> str:
        """The bucket alone."""
        return self.base.removeprefix("s3://").partition("/")[0]


def read_options(options: Mapping[str, str]) -> dict[str, str]:
    """All options with their defaults."""
    return {option.name: str(options.get(option.name) or option.default) for option in OPTIONS}


def read_base(bucket: str) -> str:
    """`s3://BUCKET[/PREFIX]` without a slash at its end."""
    return f"s3://{bucket.removeprefix('s3://').strip('/')}"


def read_settings(request: JobRequest) -> JobSettings:
    """The options of a request; raises UsageError for the first that cannot be read."""
    options = read_options(request.options)
    region = find_region(options["region"])
    hours = request.max_hours or DEFAULT_HOURS
    wait_hours = _read_number(options, "max_wait_hours") if options["max_wait_hours"] else 2 * hours
    max_run_s = math.ceil(hours * 3600)
    return JobSettings(
        name=request.name,
        region=region,
        base=read_base(options["bucket"]),
        role=options["role"],
        instance=options["instance"],
        volume_gb=math.ceil(_read_number(options, "disk_gb")),
        image=options["image"] or find_image(region, options["instance"]),
        max_run_s=max_run_s,
        max_wait_s=math.ceil(wait_hours * 3600) if request.spot else None,
        cache=options["cache"],
        environment=_read_pairs(options, "environment"),
        hyperparameters=_read_pairs(options, "hyperparameters"),
        tags=_read_pairs(options, "tags"),
        subnets=_read_list(options["subnets"]),
        security_groups=_read_list(options["security_groups"]),
        kms_key=options["kms_key"],
        volume_kms_key=options["volume_kms_key"],
    )


def find_unreadable_options(options: Mapping[str, str]) -> dict[str, Problem]:
    """Option -> what is wrong with its text."""
    readers = dict.fromkeys(_NUMBERS, _read_number) | dict.fromkeys(_PAIRS, _read_pairs)
    texts, problems = read_options(options), {}
    for name, read in readers.items():
        try:
            if texts[name]:
                read(texts, name)
        except UsageError as err:
            problems[name] = make_problem(err)
    return problems


def find_option_problems(settings: JobSettings) -> list[Problem]:
    """What is wrong with the options by themselves."""
    problems = []
    if settings.max_wait_s is not None and settings.max_wait_s < settings.max_run_s:
        problem = f"max_wait_hours is below the {settings.max_run_s / 3600:g} hours that the job may run"
        problems.append(Problem(_flag("max_wait_hours"), problem, "a spot job waits and runs within it"))
    if bool(settings.subnets) != bool(settings.security_groups):
        problem = "a VPC needs subnets and security_groups"
        problems.append(Problem(_flag("subnets"), problem, "name both, or neither"))
    if settings.cache and not settings.cache.startswith("s3://"):
        problems.append(Problem(_flag("cache"), f"`{settings.cache}` is no s3:// address"))
    if _is_of_other_region(settings):
        problem = f"the image `{settings.image}` is not of the region {settings.region}"
        problems.append(Problem(_flag("image"), problem, "SageMaker takes images of its own region alone"))
    return problems


def find_image(region: str, instance: str) -> str:
    """AWS's own TensorFlow image for SageMaker, as listed by AWS in 2025: Python 3.12, TensorFlow 2.19."""
    account = _IMAGE_ACCOUNTS.get(region, "763104351884")
    device = "gpu-py312-cu125" if _GPU.match(instance) else "cpu-py312"
    return f"{account}.dkr.ecr.{region}.amazonaws.com/tensorflow-training:2.19.0-{device}-ubuntu22.04-sagemaker"


def _is_of_other_region(settings: JobSettings) -> bool:
    match = re.match(r"\d{12}\.dkr\.ecr\.([a-z0-9-]+)\.", settings.image)
    return bool(match) and match[1] != settings.region if match else False


def _flag(option: str) -> str:
    return f"--on-option {option}"


def _read_number(options: Mapping[str, str], name: str) -> float:
    try:
        value = float(options[name])
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"{name} `{options[name]}` is not a number above zero", where=_flag(name))
    return value


def read_price(options: Mapping[str, str]) -> float | None:
    """`usd_per_hour`; None where it is not named."""
    options = read_options(options)
    return _read_number(options, "usd_per_hour") if options["usd_per_hour"] else None


def _read_pairs(options: Mapping[str, str], name: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in _read_list(options[name]):
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"`{word}` is not NAME=VALUE", where=_flag(name), hint=f"{_flag(name)}=a=1,b=2")
        pairs[key.strip()] = value.strip()
    return pairs


def _read_list(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
