"""Custom jobs: what the service gets, how a job is, its log, and its run folder.

Everything of a job lies below one address, BUCKET/NAME: `code` with the data of this machine, and what the service's
own variables name: `checkpoints` with the run. The container reads `code` below /gcs, where the service mounts buckets.
"""

from __future__ import annotations

import math
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from headstart.core.console import Console
from headstart.core.errors import DataError, HeadstartError, NoOpError
from headstart.core.run.mirror.mirroring import bring_run
from headstart.core.storage.locations import uploads
from headstart.remote import code_package, platforms, start_script
from headstart.remote.job_records import ADDRESS
from headstart.remote.submit_job import explain_exit_code, make_job_file
from headstart.remote.target import ENDED, JobRequest, JobStatus, StateName
from headstart.remote.vertex import client as vertex
from headstart.remote.vertex.client import VertexClient
from headstart.remote.vertex.prices import find_usd_per_hour
from headstart.remote.vertex.settings import VertexSettings, fill_options, read_options

GRACE_S = 900  # that the service leaves a job beyond its own limit: it installs packages, and ends itself
_LOG_DELAY_S = 10.0  # a line may be read so long after it was written
_LONGEST_S = 7 * 86400  # the service's own limit
_STATES: dict[str, StateName] = {
    "JOB_STATE_SUCCEEDED": "done",
    "JOB_STATE_PARTIALLY_SUCCEEDED": "done",
    "JOB_STATE_FAILED": "failed",
    "JOB_STATE_EXPIRED": "failed",
    "JOB_STATE_CANCELLED": "cancelled",
    "JOB_STATE_PAUSED": "interrupted",
    "JOB_STATE_RUNNING": "running",
    "JOB_STATE_UPDATING": "running",
    "JOB_STATE_CANCELLING": "running",
}


def make_address(settings: VertexSettings, name: str) -> str:
    """Below which everything of a job lies."""
    return f"{settings.bucket}/{name}"


def submit_job(client: VertexClient, request: JobRequest, console: Console) -> dict[str, str]:
    """Upload what the job needs and start it; where that fails, what was uploaded is removed.

    Raises:
        HeadstartError: The service refuses it; what could not be removed is listed.
    """
    address = make_address(client.settings, request.name)
    try:
        upload_bytes = _upload_code(client.settings, request, address, console)
        console.print_line("upload", f"{upload_bytes:,} bytes to {address}")
        answer = client.ask("POST", f"v1/{client.place}/customJobs", make_job_body(client.settings, request))
    except BaseException as err:
        _remove_uploads(address, err)
        raise
    state = {"name": answer["name"], "address": address, ADDRESS: f"{address}/job.json", "project": client.project}
    console.print_line("job", f"{answer['name']} runs on {client.settings.machine}")
    return state | {
        name: value for name, value in fill_options(request.options).items() if name in ("region", "bucket", "endpoint")
    }


def _upload_code(settings: VertexSettings, request: JobRequest, address: str, console: Console) -> int:
    content, files = make_job_file(request, usd_per_hour=find_usd_per_hour(settings))
    with tempfile.TemporaryDirectory() as folder:
        package = code_package.build_code_package(Path(folder), content)
        total = uploads.upload_folder(package, f"{address}/code", console)
    for name, path in files.items():
        place = f"{address}/code/{platforms.INPUTS}/{name}"
        if path.is_dir():
            total += uploads.upload_folder(path, place, console)
        else:
            uploads.upload_file(path, place)
            total += path.stat().st_size
    return total


def _remove_uploads(address: str, err: BaseException) -> None:
    try:
        uploads.delete_below(address)
    except HeadstartError:
        if isinstance(err, HeadstartError):
            err.hint = f"{err.hint or ''}; objects are left below {address}: remove them".removeprefix("; ")


def make_job_body(settings: VertexSettings, request: JobRequest) -> dict[str, Any]:
    """The custom job of a request, as the REST interface wants it."""
    address = make_address(settings, request.name)
    machine: dict[str, Any] = {"machineType": settings.machine}
    if settings.accelerator:
        machine |= {"acceleratorType": settings.accelerator, "acceleratorCount": settings.accelerators}
    script = f"/gcs/{address.removeprefix('gs://')}/code/{start_script.NAME}"
    pool = {
        "machineSpec": machine,
        "replicaCount": "1",
        "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": settings.disk_gb},
        "containerSpec": {"imageUri": settings.image, "command": ["bash", script]},
    }
    scheduling: dict[str, Any] = {
        "timeout": f"{_compute_timeout_s(settings, request)}s",
        "restartJobOnWorkerRestart": True,
    }
    if request.spot:
        scheduling["strategy"] = "SPOT"
    spec = {
        "workerPoolSpecs": [pool],
        "scheduling": scheduling,
        "baseOutputDirectory": {"outputUriPrefix": address},
    }
    spec |= {"serviceAccount": settings.service_account} if settings.service_account else {}
    spec |= {"network": settings.network} if settings.network else {}
    body: dict[str, Any] = {
        "displayName": request.name,
        "jobSpec": spec,
        "labels": {"made-by": "headstart", **settings.labels},
    }
    return body | ({"encryptionSpec": {"kmsKeyName": settings.kms_key}} if settings.kms_key else {})


def _compute_timeout_s(settings: VertexSettings, request: JobRequest) -> int:
    """A second bound, should the job not end itself at its own."""
    limits = [request.max_hours * 3600] if request.max_hours else []
    if request.max_usd and (price := find_usd_per_hour(settings)):
        limits.append(request.max_usd / price * 3600)
    return min(_LONGEST_S, math.ceil(min(limits)) + GRACE_S) if limits else _LONGEST_S


def open_state(state: Mapping[str, str]) -> VertexClient:
    """A client for a job that was submitted, from whatever machine."""
    return vertex.open_client(
        read_options({name: state.get(name, "") for name in ("region", "bucket", "endpoint", "project")})
    )


def read_status(client: VertexClient, state: Mapping[str, str]) -> JobStatus:
    """How a job is; of a failed one the reason that its log gives."""
    facts = client.ask("GET", f"v1/{state['name']}")
    status = _STATES.get(facts["state"], "pending")
    reason = facts.get("error", {}).get("message", "")
    if code := re.search(r"non-zero status of (\d+)", reason):
        line = _find_error_line(client, state)
        reason = f"{line} ({explain_exit_code(int(code[1]))})" if line else explain_exit_code(int(code[1]))
    return JobStatus(
        state=status, reason=reason, started=_read_time(facts.get("startTime")), ended=_read_time(facts.get("endTime"))
    )


def _read_time(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


def _find_error_line(client: VertexClient, state: Mapping[str, str]) -> str:
    """What headstart itself says in the last lines of the log; empty where it says nothing, or it cannot be read."""
    try:
        entries = client.ask("POST", "v2/entries:list", _make_log_request(client, state, "desc"), host="logging")
    except HeadstartError:
        return ""
    lines = [_format_entry(entry) for entry in entries.get("entries", [])]
    return next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), "")


def _make_log_request(client: VertexClient, state: Mapping[str, str], order: str, since: str = "") -> dict[str, Any]:
    identity = state["name"].rpartition("/")[2]
    pattern = f'resource.type="ml_job" AND resource.labels.job_id="{identity}"'
    pattern += f' AND timestamp>="{since}"' if since else ""
    size = 1000 if order == "asc" else 50
    return {
        "resourceNames": [f"projects/{client.project}"],
        "filter": pattern,
        "orderBy": f"timestamp {order}",
        "pageSize": size,
    }


def read_logs(client: VertexClient, state: Mapping[str, str], *, follow: bool) -> Iterator[str]:
    """Lines of the log so far; with `follow` until the job has ended and its last lines have come."""
    since, shown_ids, ended_at = "", set[str](), None
    while True:
        is_ended = follow and read_status_name(client, state) in ENDED
        for entry in _list_entries(client, state, since):
            if entry["insertId"] not in shown_ids:
                shown_ids.add(entry["insertId"])
                since = entry["timestamp"]
                yield _format_entry(entry)
        if not follow:
            return
        if is_ended:
            ended_at = time.monotonic() if ended_at is None else ended_at
            if time.monotonic() - ended_at >= min(_LOG_DELAY_S, 2 * vertex.POLL_S):
                return
        time.sleep(vertex.POLL_S)


def read_status_name(client: VertexClient, state: Mapping[str, str]) -> StateName:
    """How a job is, in one word."""
    return _STATES.get(client.ask("GET", f"v1/{state['name']}")["state"], "pending")


def _list_entries(client: VertexClient, state: Mapping[str, str], since: str) -> Iterator[dict[str, Any]]:
    request = _make_log_request(client, state, "asc", since)
    while True:
        page = client.ask("POST", "v2/entries:list", request, host="logging")
        yield from page.get("entries", [])
        if not (token := page.get("nextPageToken")):
            return
        request["pageToken"] = token


def _format_entry(entry: Mapping[str, Any]) -> str:
    text = entry.get("textPayload") or entry.get("jsonPayload", {}).get("message") or ""
    return str(text).rstrip("\n")


def fetch_run(state: Mapping[str, str], out: Path, console: Console) -> Path:
    """Bring the run folder, as far as it came.

    Raises:
        DataError: The job has not written any of it.
    """
    address = f"{state['address']}/checkpoints/{platforms.RUN}"
    if not uploads.exists_below(address):
        raise DataError(
            "the job has not written anything yet", where=address, hint="headstart jobs status says how it is"
        )
    bring_run(address, out, console)
    return out


def cancel_job(client: VertexClient, state: Mapping[str, str]) -> None:
    """End a job; raises `NoOpError` where it has ended."""
    if (status := read_status_name(client, state)) in ENDED:
        raise NoOpError(f"the job has ended: {status}", where=state["name"])
    client.ask("POST", f"v1/{state['name']}:cancel", {})
