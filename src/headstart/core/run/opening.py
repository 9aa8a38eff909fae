"""Which folder a run gets, and whose it is: one job, one owner at a time, the same job resumes."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstart.core import job as jobs
from headstart.core.console import Console
from headstart.core.errors import HeadstartError, NoOpError, UsageError
from headstart.core.job import Job
from headstart.core.run.context import Context
from headstart.core.run.folder import PROBLEMS, RunFolder
from headstart.core.storage.cache import default_store
from headstart.core.storage.files import list_visible_names, make_portable_name
from headstart.core.storage.locations.names import is_absolute, is_reachable, is_remote, resolve_location


def find_free_folder(name: str, job: Job | None = None) -> Path:
    """`runs/<date>-<name>`: one that holds this very job unfinished, else the first that is free."""
    base = make_portable_name(f"{datetime.date.today().isoformat()}-{name}")
    for number in range(1, 10_000):
        path = Path("runs") / (base if number == 1 else f"{base}-{number}")
        if not path.exists() or (job and not (path / "report.html").is_file() and _holds_job(path, job)):
            return path
    raise UsageError(f"there are too many runs named `{base}`", hint="name the folder with `--out`")


def _holds_job(path: Path, job: Job) -> bool:
    written = path / "job.toml"
    try:
        return written.is_file() and not _format_differences(path, job)
    except (UsageError, ValueError):
        return False


def require_outside(run: Path, data: str) -> Path:
    """The run folder; raises UsageError where it lies in the data folder or in another run."""
    for above in run.resolve().parents:
        if (above / "format.json").is_file() and (above / "job.toml").is_file():
            what, hint = f"the run folder `{run}` lies in the run `{above}`", "name a folder beside it with `--out`"
            raise UsageError(what, where="--out", hint=hint)
    if not is_remote(data) and run.resolve().is_relative_to(resolve_location(data)):
        hint = "name a folder outside the pictures with `--out`"
        raise UsageError(f"the run folder `{run}` lies in the data folder", where="--out", hint=hint)
    return run


def require_free_folder(run: Path) -> Path:
    """The run folder; raises UsageError where somebody else's files lie in it."""
    names = list_visible_names(run)
    if names - {"format.json"} and not {"format.json", "job.toml"} <= names:
        hint = "name a new or an empty folder with `--out`"
        raise UsageError(f"the folder `{run}` is not empty and is no run", where="--out", hint=hint)
    return run


def require_same_job(path: Path, job: Job) -> bool:
    """Whether a folder holds a run of this job that has begun; raises UsageError where it is of another job."""
    written = path / "job.toml"
    begun = written.is_file() and (path / "decisions.jsonl").is_file()
    if begun and (others := _format_differences(path, job)):
        hint = "choose another folder with `--out`, or give the settings that job.toml holds to resume it"
        what = f"the run `{path}` belongs to another job: {'; '.join(others)}"
        raise UsageError(what, where=str(written), hint=hint)
    return begun


def _format_differences(path: Path, job: Job) -> list[str]:
    """As `jobs.format_differences`; of a run that came from another machine the last parts of its paths count."""
    stored = jobs.read_job(path / "job.toml")
    if not (path / jobs.LOCAL_FILE).is_file():
        paths = {name: (getattr(stored, name), getattr(job, name)) for name in jobs.PATH_SETTINGS}
        same: dict[str, Any] = {
            n: here
            for n, (there, here) in paths.items()
            if not is_absolute(there) and Path(there).name == _take_last_part(here)
        }
        stored = dataclasses.replace(stored, **same)
    return jobs.format_differences(job, stored)


def _take_last_part(path: str) -> str:
    return Path(resolve_location(path)).name if path else ""


@contextmanager
def open_run(path: Path, job: Job, console: Console, *, again: bool = False) -> Iterator[Context]:
    """Own a run folder for a job; with `again` what a run of the same job left there is removed first.

    A job that is wrong before anything was decided or trained leaves the folder free for another; one that is refused
    before anything was decided leaves no folder where there was none, but for a list of the problems of its data.

    Raises:
        UsageError: The folder holds a run of another job.
        BusyError: Another process owns it.
    """
    run, is_new = RunFolder(path), not path.exists()
    with run.lock_folder():
        begun = require_same_job(path, job)
        if begun and again:
            run.remove_contents()
            begun = False
        if not begun:
            jobs.write_run_job(job, path)
        if is_reachable(job.data):
            jobs.write_local_paths(job, path)
        try:
            yield Context(job=job, run=run, store=default_store(console), console=console)
        except HeadstartError as err:
            if not begun and isinstance(err, UsageError | NoOpError):
                _release_folder(path)  # what an earlier process decided stays: the same job goes on from there
            if is_new and not any((path / name).is_file() for name in ("decisions.jsonl", PROBLEMS)):
                run.remove_folder()
            raise


def _release_folder(path: Path) -> None:
    """Forget what was decided for a wrong job, unless a network was trained; all of it comes again from the cache."""
    has_trained = any((path / "adapt" / "trials").glob("*")) or (path / "adapt" / "tuning.json").is_file()
    if not has_trained and not (path / "report.html").is_file():
        shutil.rmtree(path / "adapt", ignore_errors=True)
        (path / "decisions.jsonl").unlink(missing_ok=True)
