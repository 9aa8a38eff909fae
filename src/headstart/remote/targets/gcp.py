"""Custom jobs of Vertex AI on Google Cloud."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headstart.core.console import Console
from headstart.core.errors import Problem
from headstart.remote.submit_job import make_estimate
from headstart.remote.target import CostEstimate, JobRequest, JobStatus
from headstart.remote.vertex import access, training_jobs
from headstart.remote.vertex.client import open_client
from headstart.remote.vertex.prices import describe_price, find_usd_per_hour
from headstart.remote.vertex.settings import OPTIONS, read_options

_START_S = 360  # a machine, its image and the packages, before the job begins


class GoogleCloud:
    """Custom jobs of Vertex AI on Google Cloud.

    The job and what it reads go to a bucket; the run comes back from there, finished or as far as it came.
    """

    name = "gcp"
    extra = "gcp"
    options = OPTIONS

    def find_problems(self, request: JobRequest) -> list[Problem]:
        """Options, credentials, region, bucket, permissions and a name that is taken."""
        return access.find_problems(request)

    def estimate(self, request: JobRequest) -> CostEstimate:
        """The budget of the job and the start of a machine, by the prices noted here."""
        settings = read_options(request.options)
        assumptions = [describe_price(settings), "storage and traffic are not counted"]
        if request.spot:
            assumptions.append("spot machines cost less, at prices that change: this is the full price")
        price = find_usd_per_hour(settings)
        return make_estimate(request, overhead_s=_START_S, usd_per_hour=price, assumptions=assumptions)

    def submit(self, request: JobRequest, console: Console) -> dict[str, str]:
        """Upload code and data, and start the job."""
        return training_jobs.submit_job(open_client(read_options(request.options)), request, console)

    def read_status(self, state: Mapping[str, str]) -> JobStatus:
        """How the job is."""
        return training_jobs.read_status(training_jobs.open_state(state), state)

    def read_logs(self, state: Mapping[str, str], *, follow: bool) -> Iterator[str]:
        """Lines of Cloud Logging."""
        return training_jobs.read_logs(training_jobs.open_state(state), state, follow=follow)

    def fetch(self, state: Mapping[str, str], out: Path, console: Console) -> Path:
        """Bring the run folder from the bucket."""
        return training_jobs.fetch_run(state, out, console)

    def cancel(self, state: Mapping[str, str]) -> None:
        """End the job."""
        training_jobs.cancel_job(training_jobs.open_state(state), state)

    def describe_access(self, options: Mapping[str, str]) -> dict[str, Any]:
        """What these credentials may do, and the least roles."""
        return access.describe_access(options)


PLUGIN = GoogleCloud()
