"""What can be done with a submitted job, by its name or the address of its record, from any folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.errors import DataError, HeadstartError, NoOpError, SetupError
from headstart.core.run.opening import require_free_folder
from headstart.core.storage.serialization import as_json
from headstart.remote.job_records import JobRecord, list_records
from headstart.remote.submit_job import find_target
from headstart.remote.target import ENDED, JobStatus

if TYPE_CHECKING:
    from headstart.api.run import Run
    from headstart.core.console import Console


def list_jobs() -> list[dict[str, Any]]:
    """All jobs of this user with their status, the latest first; one that cannot be asked has a reason why."""
    return [describe_job(record) for record in list_records()]


def describe_job(record: JobRecord) -> dict[str, Any]:
    """A job and its status as plain JSON."""
    try:
        status = as_json(read_status(record))
    except HeadstartError as err:
        status = {"state": "unknown", "reason": err.what, "started": None, "ended": None}
    return {
        "name": record.name,
        "target": record.target,
        "data": record.data,
        "out": record.out,
        "submitted": record.submitted,
        **status,
    }


def read_status(record: JobRecord) -> JobStatus:
    """How a job is."""
    return find_target(record.target).read_status(record.state)


def read_logs(record: JobRecord, *, follow: bool = False) -> Iterator[str]:
    """Lines of a job's log; with `follow` until it ends."""
    return find_target(record.target).read_logs(record.state, follow=follow)


def fetch_job(record: JobRecord, out: Path | None, console: Console) -> Run:
    """Bring a job's run into a folder, by default the one that was named when it was submitted.

    Raises:
        UsageError: Something else is in the folder.
        SetupError: There is nothing yet.
    """
    from headstart.api.run import Run

    folder = require_free_folder(out or Path(record.out))
    try:
        return Run(find_target(record.target).fetch(record.state, folder, console))
    except DataError as err:
        status = read_status(record)
        if status.state == "done":
            raise
        problem = f"the job `{record.name}` is {status.state} and has left no run yet"
        raise SetupError(problem, hint=status.reason or f"headstart jobs logs {record.name}") from err


def cancel_job(record: JobRecord) -> None:
    """End a job; what it has done can be fetched.

    Raises:
        NoOpError: It has ended.
    """
    status = read_status(record)
    if status.state in ENDED:
        raise NoOpError(f"the job `{record.name}` has ended: {status.state}")
    find_target(record.target).cancel(record.state)


def follow_job(record: JobRecord, console: Console) -> JobStatus:
    """Show a job's log until it ends, and give its status, which is not `done` where nobody here can follow it.

    Raises:
        SetupError: It failed or was cancelled.
    """
    for line in read_logs(record, follow=True):
        console.print_line(record.target, line)
    status = read_status(record)
    if status.state in ("failed", "cancelled"):
        problem = f"the job `{record.name}` has ended, {status.state}: {status.reason or 'no reason is named'}"
        raise SetupError(problem, hint=f"headstart jobs logs {record.name}; headstart jobs fetch {record.name}")
    return status
