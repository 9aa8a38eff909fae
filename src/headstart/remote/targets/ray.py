"""Embedding, and folds of fine-tuning, on the machines of a Ray cluster; all else on this one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headstart.core import job as jobs
from headstart.core.console import Console, format_duration
from headstart.core.errors import HeadstartError, Problem, make_problem
from headstart.core.settings import count_cores
from headstart.remote.cluster import connection, driver_process
from headstart.remote.cluster.options import CHUNK_S, TIMEOUT_S, read_options
from headstart.remote.cluster.ray_workers import estimate_cluster_seconds
from headstart.remote.target import CostEstimate, JobRequest, JobStatus, TargetOption

OPTIONS = (
    TargetOption(name="address", help="HOST:PORT of the head, or auto; without it RAY_ADDRESS, or one is started here"),
    TargetOption(name="threads", help="threads of a worker process; two by default"),
    TargetOption(name="chunk_s", help="seconds that a chunk of pictures should take", default=f"{CHUNK_S:g}"),
    TargetOption(name="timeout_s", help="seconds after which a chunk or fold is sent again", default=f"{TIMEOUT_S:g}"),
)

_TRAINING = (
    "one network trains on one machine alone: between machines TensorFlow sends weights and gradients over a port that "
    "asks nobody for a password"
)


class RayCluster:
    """Embedding, and folds of fine-tuning, on the machines of a Ray cluster; all else on this one.

    The driver is `headstart run` as a process of its own on this machine.
    """

    name = "ray"
    extra = "ray"
    options = OPTIONS

    def find_problems(self, request: JobRequest) -> list[Problem]:
        """Options that are no numbers, and a cluster that does not answer."""
        problems = []
        for name in ("threads", "chunk_s", "timeout_s", "address"):
            try:
                settings = read_options({name: request.options.get(name, "")})
                if name == "address":
                    connection.require_answer(settings.address)
            except HeadstartError as err:
                problems.append(make_problem(err))
        if request.max_usd is not None:
            what = "a cluster has no price, so --max-usd cannot be kept"
            problems.append(Problem("--max-usd", what, "use --max-hours"))
        if request.spot:
            problems.append(Problem("--spot", "a cluster has no spot price", "leave out --spot"))
        return problems

    def estimate(self, request: JobRequest) -> CostEstimate:
        """The plan of a local fit, with its embedding on the cluster; which of both is faster."""
        from headstart.api import commands

        quiet = Console(quiet=True)
        settings = jobs.take_settings(dataclasses.asdict(request.job))
        plan = commands.plan(request.job.data, console=quiet, **settings)
        here_s, (cores, slots) = plan["estimate"]["seconds"], self._count_cores_and_slots(request, quiet)
        there_s = estimate_cluster_seconds(here_s, cores)
        pair = f"embedding about {format_duration(there_s)} on {cores} cores, {format_duration(here_s)} on this machine"
        training = (_describe_folds(slots), _TRAINING) if request.job.strategy != "probe" else ()
        slower = "; a fit without --on ray is faster" if there_s >= here_s else ""
        return CostEstimate(
            seconds=plan["seconds"] - here_s + there_s, usd=None, upload_bytes=0, assumptions=(pair + slower, *training)
        )

    def _count_cores_and_slots(self, request: JobRequest, console: Console) -> tuple[int, int]:
        """Cores of all workers, and how many networks train side by side, each on as many cores as this machine has."""
        options = read_options(request.options)
        if options.address in ("", "local"):
            return count_cores(), 1
        with connection.connect_workers(options, console) as workers:
            return workers.count_cores(), workers.count_slots(count_cores())

    def submit(self, request: JobRequest, console: Console) -> dict[str, str]:
        """Start the driver, after a word about training."""
        if request.job.strategy != "probe":
            console.print_line("ray", _TRAINING)
        return driver_process.start_driver(request)

    def read_status(self, state: Mapping[str, str]) -> JobStatus:
        """How the driver is."""
        return driver_process.read_driver_status(state)

    def read_logs(self, state: Mapping[str, str], *, follow: bool) -> Iterator[str]:
        """Lines of the driver."""
        return driver_process.read_driver_log(state, follow=follow)

    def fetch(self, state: Mapping[str, str], out: Path, console: Console) -> Path:
        """The run folder, which lies on this machine already."""
        return driver_process.fetch_run(state, out)

    def cancel(self, state: Mapping[str, str]) -> None:
        """Stop the driver with its state kept."""
        driver_process.stop_driver(state)

    def describe_access(self, options: Mapping[str, str]) -> dict[str, Any]:
        """The cluster as it answers; Ray itself asks for no permission."""
        cluster, missing = "", []
        try:
            settings = read_options(options)
            with connection.connect_workers(settings, Console(quiet=True)) as workers:
                cluster = workers.describe()
        except HeadstartError as err:
            missing = [err.what]
        return {"cluster": cluster, "missing": missing, "policy": {}}


def _describe_folds(slots: int) -> str:
    if slots < 2:
        why = f"fewer than two machines have the {count_cores()} cores that training uses here"
        return f"all networks train on this machine: {why}; a fit without --on ray is as fast"
    return f"fine-tuning trains up to {slots} folds or waiting recipes at a time, where that is faster than one by one"


PLUGIN = RayCluster()
