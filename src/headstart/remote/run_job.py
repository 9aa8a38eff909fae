"""What `headstart run job.toml` does, on any machine: find the platform, compare versions, fit, hand the run over.

Limits are kept here, by the machine that spends: its time is counted over all starts of the job, in a file beside the
run, and when a limit is reached the job stops with its state kept. SIGTERM stops it in the same way; the same job
started again goes on to the same bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core import job as jobs
from headstart.core.console import Console, format_duration
from headstart.core.errors import GateFailed, HeadstartError, SetupError
from headstart.core.job import Job
from headstart.core.run.termination import Terminated, stop_orderly
from headstart.core.storage.files import read_json, translate_disk_errors, write_json, write_text
from headstart.core.storage.locations.names import is_absolute, is_remote
from headstart.remote.code_package import describe_versions
from headstart.remote.job_file import JobFile, read_job_file
from headstart.remote.platforms import Platform, find_platform

if TYPE_CHECKING:
    from headstart.api.run import Run

_NOTE_S = 20.0  # between two notes of the time that was spent: what a hard kill may forget
_FAILURE_BYTES = 1024  # of a reason, as SageMaker shows it


def run_job(
    path: Path, *, out: str | Path | None = None, started: float | None = None, console: Console | None = None
) -> Run:
    """Run a job file on this machine, or go on with it, and return the run.

    Args:
        path: A job file of `fit --on`, or a plain `job.toml`.
        out: The run folder or address; by default that of the platform, and elsewhere `runs/<date>-<name>`.
        started: Seconds since 1970 when the machine began to cost; now by default.
        console: Where progress goes; by default standard error.

    Raises:
        UsageError: The job file is wrong.
        SetupError: Versions differ from the submitter's, or what `fit` raises.
        GateFailed: A limit is reached; what is done stays.
        Terminated: SIGTERM; what is done stays.
    """
    console = console or Console()
    content = read_job_file(path)
    platform = find_platform(os.environ, path.resolve().parent)
    with _report_failure(platform):
        require_same_versions(content.versions)
        if content.shared_cache:
            os.environ.setdefault("HEADSTART_SHARED_CACHE", content.shared_cache)
        job = locate_inputs(content, platform)
        run_place = str(out or content.run or platform.run)
        console.print_line("job", f"{content.name or path.name} on {platform.name}, run {run_place or 'below runs/'}")
        with _keep_limits(content, run_place, started or time.time(), console):
            run = _fit(job, run_place or None, content, console)
        if platform.output:
            _copy_run(run.path, platform.output)
        return run


def require_same_versions(versions: Mapping[str, str]) -> None:
    """Raise SetupError where a package that decides results has another version than the submitter's; with both."""
    ours = describe_versions()
    differing = [
        f"{name} {ours.get(name, 'missing')} here, {version} there"
        for name, version in versions.items()
        if ours.get(name) != version
    ]
    if differing:
        problem = f"this machine has other versions than the submitter's: {'; '.join(differing)}"
        hint = "install the versions of requirements.txt beside the job file, or submit from the same versions"
        raise SetupError(problem, hint=hint)


def locate_inputs(content: JobFile, platform: Platform) -> Job:
    """The job with its paths as they are on this machine.

    Raises:
        SetupError: What should have travelled with the job is not here.
    """
    paths = {
        name: place if is_absolute(place) else str(Path(platform.data) / place)
        for name, place in content.inputs.items()
        if name in jobs.PATH_SETTINGS
    }
    absent = [path for path in paths.values() if not is_remote(path) and not Path(path).exists()]
    if absent:
        problem = f"{', '.join(absent)} should have travelled with the job and is not here"
        raise SetupError(problem, hint="submit the job again")
    return dataclasses.replace(content.job, **paths)  # type: ignore[arg-type]


def compute_limit_s(content: JobFile) -> tuple[float, str] | None:
    """The lower of the limits of a job in seconds, with its words; None where there is none.

    Raises:
        SetupError: There is a limit of money and no price.
    """
    limits = []
    if content.max_hours is not None:
        limits.append((content.max_hours * 3600, f"--max-hours {content.max_hours:g}"))
    if content.max_usd is not None:
        if content.usd_per_hour is None:
            raise SetupError(
                "max_usd is set, and usd_per_hour is not: no money can be counted",
                hint="set usd_per_hour, or max_hours",
            )
        words = f"--max-usd {content.max_usd:g} at {content.usd_per_hour:g} USD an hour"
        limits.append((content.max_usd / content.usd_per_hour * 3600, words))
    return min(limits, default=None)


def _fit(job: Job, out: str | None, content: JobFile, console: Console) -> Run:
    """Fit into a folder or a bucket, with the workers of the target."""
    from headstart.api import commands
    from headstart.remote.cluster.connection import choose_workers

    settings = jobs.take_settings(dataclasses.asdict(job))
    try:
        with choose_workers(content.target, content.options, console) as workers:
            return commands.fit(job.data, out=out, console=console, workers=workers, **settings)
    except MemoryError as err:
        raise SetupError("the memory of this machine is used up", hint="choose a machine with more memory") from err


@contextlib.contextmanager
def _keep_limits(content: JobFile, run_place: str, started: float, console: Console) -> Iterator[None]:
    """Stop the block in an orderly way at a limit or on SIGTERM."""
    limit = compute_limit_s(content)
    if limit is None:
        with stop_orderly():
            yield
        return
    limit_s, words = limit
    with _count_time(run_place, started) as spent_s:
        if spent_s:
            console.print_line("job", f"{format_duration(spent_s)} of {format_duration(limit_s)} spent ({words})")
        try:
            if spent_s >= limit_s:
                raise Terminated(words)
            with stop_orderly(left_s=limit_s - spent_s, limit=words):
                yield
        except Terminated as end:
            if not end.limit:
                raise
            problem = (
                f"the job has reached its limit, {words}: stopped after {format_duration(limit_s)}; its state is kept"
            )
            raise GateFailed(problem, hint="run the same job with a higher limit, and it goes on") from None


@contextlib.contextmanager
def _count_time(run_place: str, started: float) -> Iterator[float]:
    """Give the seconds that the job has spent so far, and note them beside its run while the block runs."""
    earlier_s = _read_spent_s(run_place)
    over = threading.Event()

    def note_time() -> None:
        while not over.wait(_NOTE_S):
            _write_spent_s(run_place, earlier_s + time.time() - started)

    thread = threading.Thread(target=note_time, name="time", daemon=True)
    thread.start()
    try:
        yield earlier_s + max(0.0, time.time() - started)
    finally:
        over.set()
        thread.join()
        _write_spent_s(run_place, earlier_s + time.time() - started)


def _read_spent_s(run_place: str) -> float:
    if not run_place:
        return 0.0
    place = f"{run_place.rstrip('/')}.spent.json"
    try:
        if is_remote(place):
            import json

            from headstart.core.storage.locations.uploads import read_text_object

            return float(json.loads(read_text_object(place) or '{"seconds": 0}')["seconds"])
        return float(read_json(Path(place))["seconds"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0.0


def _write_spent_s(run_place: str, spent_s: float) -> None:
    """Note the time; a place that cannot be written now may be so at the next note."""
    if not run_place:
        return
    place, content = f"{run_place.rstrip('/')}.spent.json", {"seconds": round(spent_s, 1)}
    with contextlib.suppress(HeadstartError, OSError):
        if is_remote(place):
            import json

            from headstart.core.storage.locations.uploads import write_text_object

            write_text_object(place, json.dumps(content))
        else:
            write_json(Path(place), content)


def _copy_run(run: Path, output: Path) -> None:
    with translate_disk_errors(output):
        shutil.copytree(run, output, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".lock", ".owner.json"))


@contextlib.contextmanager
def _report_failure(platform: Platform) -> Iterator[None]:
    """Leave the reason of a failure where the platform shows it."""
    try:
        yield
    except HeadstartError as err:
        if platform.failure:
            text = f"{err.what}; {err.hint}" if err.hint else err.what
            with contextlib.suppress(HeadstartError):
                write_text(platform.failure, text.encode()[:_FAILURE_BYTES].decode(errors="ignore"))
        raise
