"""Clients of AWS, and what goes wrong with them in our words; credentials come from boto3's usual chain."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from headstart.core.errors import HeadstartError, SetupError

CREDENTIALS_HINT = "`aws configure`, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
REGION_HINT = "--on-option region=us-east-1, or AWS_REGION"
_QUOTA_HINT = "ask for more under Service Quotas, SageMaker; or another type with --on-option instance=…"


def find_region(region: str = "") -> str:
    """The region that is named, else that of `AWS_REGION` or boto3's configuration; empty where there is none."""
    import boto3

    return region or os.environ.get("AWS_REGION") or boto3.session.Session().region_name or ""


def make_client(service: str, region: str) -> Any:
    """A boto3 client that retries what is throttled."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "max_attempts": 8}, connect_timeout=10)
    return boto3.client(service, region_name=region, config=config)


def split_address(address: str) -> tuple[str, str]:
    """Bucket and key of an s3:// address."""
    place = urlsplit(address)
    return place.netloc, place.path.strip("/")


def read_code(err: Exception) -> str:
    """The service's own code of an error; empty for one that came not from a service."""
    return str(getattr(err, "response", {}).get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Let boto3's errors through as facts: `what` could not be done, why, and what to do."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as err:
        raise describe_error(err, what) from err


def describe_error(err: Exception, what: str) -> HeadstartError:
    """An error of boto3 as one of ours."""
    code, name = read_code(err), type(err).__name__
    response = getattr(err, "response", {}).get("Error", {})
    why = str(response.get("Message") or err).strip().rstrip(".")
    hint = None
    if name in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError"):
        why, hint = "AWS has no credentials from here", CREDENTIALS_HINT
    elif name == "NoRegionError":
        why, hint = "no region is named", REGION_HINT
    elif name in ("EndpointConnectionError", "ConnectTimeoutError", "ConnectionClosedError"):
        why, hint = f"AWS cannot be reached: {why}", "look at the network and at --on-option region"
    elif code in ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"):
        why, hint = f"AWS refuses the credentials: {why}", CREDENTIALS_HINT
    elif code.startswith(("AccessDenied", "UnauthorizedOperation")):
        hint = "headstart doctor --on aws prints the policy that is needed"
    elif code == "ResourceLimitExceeded":
        why, hint = f"the quota is used up: {why}", _QUOTA_HINT
    elif code == "ResourceInUse":
        hint = "another --name, or none: then a new one is taken"
    return SetupError(f"{what}: {why}", hint=hint)
