"""The options of the target `gcp`, checked and with their types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from headstart.core.errors import Problem
from headstart.remote.target import TargetOption

WHERE = "--on-option"
IMAGE = "mirror.gcr.io/library/python:3.11"  # Google's copy of the public image
OPTIONS = (
    TargetOption(
        name="bucket",
        help="bucket in the region of the job, gs://NAME or gs://NAME/FOLDER: all is kept there",
        required=True,
    ),
    TargetOption(name="project", help="project that pays; of the credentials when empty"),
    TargetOption(name="region", help="region of the job", default="us-central1"),
    TargetOption(name="machine", help="machine type", default="n1-standard-8"),
    TargetOption(name="accelerator", help="type of a GPU, as NVIDIA_TESLA_T4; none when empty"),
    TargetOption(name="accelerators", help="number of GPUs", default="1"),
    TargetOption(name="disk_gb", help="size of the boot disk", default="100"),
    TargetOption(name="image", help="container image with bash and Python", default=IMAGE),
    TargetOption(name="service_account", help="account that the job runs as; the project's own when empty"),
    TargetOption(name="network", help="full name of a VPC network that the job joins"),
    TargetOption(name="kms_key", help="full name of a key that encrypts the job"),
    TargetOption(name="labels", help="labels of the job, as team=vision,cost=12"),
    TargetOption(name="usd_per_hour", help="price of the machine with its GPUs, where it is not in the table"),
    TargetOption(name="endpoint", help="address of another server than Google's, for tests"),
)
_PATTERNS = {
    "region": (r"[a-z]+-[a-z]+\d{1,2}", "europe-west4"),
    "bucket": (r"(gs://)?[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[^\s?#]*)?", "gs://my-bucket/headstart"),
    "machine": (r"[a-z]\w*-[\w-]+", "n1-standard-8"),
    "accelerator": (r"([A-Z]\w+)?", "NVIDIA_TESLA_T4"),
    "accelerators": (r"[1248]|16", "1"),
    "disk_gb": (r"[1-9]\d{2,4}", "100"),
    "image": (r"\S+", IMAGE),
    "service_account": (r"([\w.-]+@[\w.-]+)?", "NAME@PROJECT.iam.gserviceaccount.com"),
    "network": (r"(projects/[\w-]+/global/networks/[\w-]+)?", "projects/12345/global/networks/NAME"),
    "kms_key": (r"(projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+)?", "projects/…/cryptoKeys/NAME"),
    "labels": (r"([a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}(,[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63})*)?", "team=vision"),
    "usd_per_hour": (r"(\d+(\.\d+)?)?", "0.44"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexSettings:
    """Where and on what a job runs; `bucket` is an address without a slash at its end."""

    bucket: str
    region: str
    project: str = ""
    machine: str = "n1-standard-8"
    accelerator: str = ""
    accelerators: int = 1
    disk_gb: int = 100
    image: str = IMAGE
    service_account: str = ""
    network: str = ""
    kms_key: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    usd_per_hour: float | None = None
    endpoint: str = ""

    @property
    def bucket_name(self) -> str:
        """The bucket without a folder in it."""
        return self.bucket.removeprefix("gs://").partition("/")[0]


def fill_options(options: Mapping[str, str]) -> dict[str, str]:
    """All options, defaults for those that are missing."""
    return {option.name: options.get(option.name) or option.default for option in OPTIONS}


def find_option_problems(options: Mapping[str, str]) -> dict[str, Problem]:
    """Option -> what is wrong with its text; a bucket that is missing is told by who asks for options."""
    values = fill_options(options)
    return {
        name: Problem(WHERE, f"{name} `{values[name]}` is none", f"--on-option {name}={example}")
        for name, (pattern, example) in _PATTERNS.items()
        if not re.fullmatch(pattern, values[name]) and (values[name] or name != "bucket")
    }


def read_options(options: Mapping[str, str]) -> VertexSettings:
    """The options with their types; they have no problems."""
    values = fill_options(options)
    labels = dict(part.split("=", 1) for part in values["labels"].split(",") if part)
    return VertexSettings(
        bucket=f"gs://{values['bucket'].removeprefix('gs://').rstrip('/')}",
        accelerators=int(values["accelerators"]),
        disk_gb=int(values["disk_gb"]),
        labels=labels,
        usd_per_hour=float(values["usd_per_hour"]) if values["usd_per_hour"] else None,
        endpoint=values["endpoint"].rstrip("/"),
        **{
            name: values[name]
            for name in (
                "project",
                "region",
                "machine",
                "accelerator",
                "image",
                "service_account",
                "network",
                "kms_key",
            )
        },
    )
