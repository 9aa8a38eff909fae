"""What stands in the way of a job before it is submitted, and which permissions it needs at the least."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from headstart.core.errors import DataError, HeadstartError, Problem, SetupError, make_problem
from headstart.core.storage.locations import uploads
from headstart.remote.submit_job import find_price_problems
from headstart.remote.target import JobRequest
from headstart.remote.vertex.client import NotThereError, VertexClient, open_client
from headstart.remote.vertex.prices import describe_price, find_usd_per_hour
from headstart.remote.vertex.settings import WHERE, VertexSettings, find_option_problems, read_options
from headstart.remote.vertex.training_jobs import make_address

JOB_PERMISSIONS = (
    "aiplatform.customJobs.cancel",
    "aiplatform.customJobs.create",
    "aiplatform.customJobs.get",
    "aiplatform.customJobs.list",
    "logging.logEntries.list",
)
BUCKET_PERMISSIONS = (
    "storage.buckets.get",
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
)
# As Cloud Storage's page of bucket locations lists them.
_DUAL_REGIONS = {
    "asia1": ("asia-northeast1", "asia-northeast2"),
    "eur4": ("europe-north1", "europe-west4"),
    "eur5": ("europe-west1", "europe-west2"),
    "eur7": ("europe-west2", "europe-west3"),
    "eur8": ("europe-west3", "europe-west6"),
    "nam4": ("us-central1", "us-east1"),
}
# Multi-region -> its regions; London and Zurich are not of the EU.
_CONTINENTS = {"us": "us-", "asia": "asia-", "eu": "europe-(?!west2$|west6$)"}
ENDPOINT_PERMISSIONS = (
    "aiplatform.endpoints.create",
    "aiplatform.endpoints.delete",
    "aiplatform.endpoints.deploy",
    "aiplatform.endpoints.get",
    "aiplatform.endpoints.predict",
    "aiplatform.endpoints.undeploy",
    "aiplatform.models.delete",
    "aiplatform.models.upload",
)


def find_problems(request: JobRequest) -> list[Problem]:
    """What stands in the way of a job: options, credentials, region, bucket, permissions, a name that is taken."""
    wrong = find_option_problems(request.options)
    settings = read_options({name: text for name, text in request.options.items() if name not in wrong})
    problems = [*wrong.values()]
    if not wrong.keys() & {"machine", "accelerator", "usd_per_hour"}:
        problems += find_price_problems(request, find_usd_per_hour(settings), describe_price(settings))
    if "region" in wrong:  # whose service would be asked
        return problems
    try:
        client = open_client(settings)
    except HeadstartError as err:
        return [*problems, _make_problem(err)]
    problems += _ask(_find_service_problems, client)
    if settings.bucket_name:
        unusable = _ask(_find_bucket_problems, client)
        problems += unusable or _ask(_find_name_problems, client, request.name)
    return list(dict.fromkeys(problems))


def _ask(find: Callable[..., list[Problem]], *values: Any) -> list[Problem]:
    """What a question comes to; one that is not answered is a problem itself."""
    try:
        return find(*values)
    except HeadstartError as err:
        return [_make_problem(err)]


def _make_problem(err: HeadstartError) -> Problem:
    return make_problem(
        SetupError(err.what, where=err.where, hint=err.hint) if type(err) is NotThereError else err, WHERE
    )


def _find_name_problems(client: VertexClient, name: str) -> list[Problem]:
    if not uploads.exists_below(address := make_address(client.settings, name)):
        return []
    hint = "take another name, or remove what is there"
    return [Problem("--name", f"the name `{name}` is taken: {address} is there", hint, DataError)]


def _find_service_problems(client: VertexClient) -> list[Problem]:
    client.ask("GET", f"v1/{client.place}/customJobs?pageSize=1")  # the region, and the service is switched on
    try:
        missing = find_missing_permissions(client, JOB_PERMISSIONS)
    except HeadstartError:  # whose own service may be switched off: then the job itself shows what is missing
        return []
    hint = "headstart doctor --on gcp shows the role"
    return [Problem(WHERE, f"the permission `{name}` is missing", hint, SetupError) for name in missing]


def find_missing_permissions(client: VertexClient, names: tuple[str, ...]) -> list[str]:
    """Permissions on the project that these credentials do not have."""
    path = f"v1/projects/{client.project}:testIamPermissions"
    answer = client.ask("POST", path, {"permissions": list(names)}, host="cloudresourcemanager")
    return [name for name in names if name not in answer.get("permissions", [])]


def _find_missing_bucket_permissions(client: VertexClient) -> list[str]:
    query = urlencode([("permissions", name) for name in BUCKET_PERMISSIONS])
    path = f"storage/v1/b/{quote(client.settings.bucket_name)}/iam/testPermissions?{query}"
    answer = client.ask("GET", path, host="storage")
    return [name for name in BUCKET_PERMISSIONS if name not in answer.get("permissions", [])]


def _find_bucket_problems(client: VertexClient) -> list[Problem]:
    name, region = client.settings.bucket_name, client.settings.region
    try:
        location, regions = read_bucket_location(client)
    except NotThereError:
        hint = f"gcloud storage buckets create gs://{name} --location={region}"
        return [Problem(WHERE, f"there is no bucket `{name}`", hint, SetupError)]
    problems = [
        Problem(
            WHERE,
            f"the permission `{missing}` on the bucket `{name}` is missing",
            "headstart doctor --on gcp",
            SetupError,
        )
        for missing in _find_missing_bucket_permissions(client)
    ]
    if region not in regions and not (location in _CONTINENTS and re.match(_CONTINENTS[location], region)):
        other = "" if location in _CONTINENTS else f"--on-option region={regions[0]} or "
        hint = f"{other}a bucket in {region}"
        problems.append(Problem(WHERE, f"the bucket `{name}` lies in {location}, the job would run in {region}", hint))
    return problems


def read_bucket_location(client: VertexClient) -> tuple[str, tuple[str, ...]]:
    """Where the bucket lies, and the regions that this stands for, in small letters; raises `NotThereError`.

    A dual-region has two regions, by Google's names or the user's choice. A multi-region has a continent's.
    """
    answer = client.ask("GET", f"storage/v1/b/{quote(client.settings.bucket_name)}", host="storage")
    location = str(answer.get("location", "")).lower()
    chosen = answer.get("customPlacementConfig", {}).get("dataLocations", ())
    if chosen:
        return "+".join(map(str.lower, chosen)), tuple(map(str.lower, chosen))
    return location, _DUAL_REGIONS.get(location, (location,))


def describe_access(options: Mapping[str, str]) -> dict[str, Any]:
    """What these credentials see, what is missing, and the least roles."""
    settings, facts, missing = read_options(options), dict[str, str](), list[str]()
    try:
        client = open_client(settings)
        facts = {
            "project": client.project,
            "region": settings.region,
            "account": client.account or "of the machine or the user",
        }
        permissions = JOB_PERMISSIONS + ENDPOINT_PERMISSIONS
        missing += find_missing_permissions(client, permissions)
        if settings.bucket_name:
            facts["bucket"] = f"{settings.bucket} in {read_bucket_location(client)[0]}"
            missing += _find_missing_bucket_permissions(client)
    except HeadstartError as err:
        missing.append(f"{err.what}: {err.hint}" if err.hint else err.what)
    return {"seen": facts, "missing": missing, "policy": make_roles(settings)}


def make_roles(settings: VertexSettings) -> dict[str, Any]:
    """Custom roles as `gcloud iam roles create NAME --file` reads them: of who submits, and of the job itself."""
    act_as = ("iam.serviceAccounts.actAs",) if settings.service_account else ()
    submitter = (*JOB_PERMISSIONS, *BUCKET_PERMISSIONS, *act_as)
    return {
        "submitter": _make_role("headstart submitter", submitter),
        "deployer": _make_role("headstart deployer", (*ENDPOINT_PERMISSIONS, *BUCKET_PERMISSIONS, *act_as)),
        "job": _make_role("headstart job", (*BUCKET_PERMISSIONS[1:], "logging.logEntries.create")),
    }


def _make_role(title: str, permissions: tuple[str, ...]) -> dict[str, Any]:
    return {"title": title, "stage": "GA", "includedPermissions": sorted(permissions)}
