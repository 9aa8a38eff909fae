"""The driver of a job on Ray: `headstart run` as a process of its own on this machine, which outlives its submitter.

Its job file and log lie in a folder of their own; the run lies where it was asked for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core.errors import DataError
from headstart.core.settings import state_folder
from headstart.core.storage.files import translate_disk_errors, write_text
from headstart.remote.job_file import NAME, JobFile, write_job_file
from headstart.remote.target import JobStatus

if TYPE_CHECKING:
    from headstart.remote.target import JobRequest

_LOG, _CANCELLED = "log.txt", "cancelled"
_POLL_S = 0.5
_END_S = 10.0  # that a cancelled driver is waited for: it ends at its next safe moment
_FINISHED = "report.html"  # of a run, written last


def start_driver(request: JobRequest) -> dict[str, str]:
    """Start the driver of a job; its state: process, folder and run."""
    folder = state_folder() / "ray" / request.name
    run = (request.out or Path("runs") / request.name).absolute()
    with translate_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        content = JobFile(
            job=request.job,
            target="ray",
            name=request.name,
            max_hours=request.max_hours,
            options=request.options,
        )
        write_job_file(content, folder / NAME)
        command = [sys.executable, "-m", "headstart", "run", str(folder / NAME), "--out", str(run)]
        with (folder / _LOG).open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,  # its result: who fetches the run prints it
                stderr=log,
                start_new_session=True,
            )
        process.returncode = 0  # it outlives this process: nobody is to wait for it
    state = {"process": str(process.pid), "folder": str(folder), "run": str(run), "begun": str(time.time())}
    return {**state, "birth": _read_birth(process.pid)}


def read_driver_status(state: Mapping[str, str]) -> JobStatus:
    """How the driver is, by its process and what its run folder holds."""
    begun = float(state["begun"])
    log = Path(state["folder"]) / _LOG
    is_cancelled = (Path(state["folder"]) / _CANCELLED).is_file()
    if _is_alive(state):
        reason = "it is being ended, with its state kept" if is_cancelled else ""
        return JobStatus(state="running", reason=reason, started=begun)
    ended = log.stat().st_mtime if log.is_file() else None
    if (Path(state["run"]) / _FINISHED).is_file():
        return JobStatus(state="done", started=begun, ended=ended)
    if is_cancelled:
        return JobStatus(state="cancelled", reason="what it has done is kept", started=begun, ended=ended)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    errors = [line for line in lines if line.startswith("error: ")]
    reason = errors[-1].removeprefix("error: ") if errors else "the driver's process ended without a word"
    return JobStatus(state="failed", reason=reason, started=begun, ended=ended)


def read_driver_log(state: Mapping[str, str], *, follow: bool) -> Iterator[str]:
    """Lines of the driver's log; with `follow` until its process ends.

    Raises:
        DataError: There is no log.
    """
    path = Path(state["folder"]) / _LOG
    if not path.is_file():
        raise DataError(f"there is no log `{path}`", where=str(path), hint="a job on Ray is followed where it began")
    with path.open(encoding="utf-8", errors="replace") as log:
        unfinished = ""
        while True:
            is_alive = follow and _is_alive(state)
            *lines, unfinished = (unfinished + log.read()).split("\n")
            yield from lines
            if not is_alive:
                break
            time.sleep(_POLL_S)
        if unfinished:
            yield unfinished


def fetch_run(state: Mapping[str, str], out: Path) -> Path:
    """The run, copied where it is to lie elsewhere; raises DataError where there is none."""
    run = Path(state["run"])
    if not (run / "job.toml").is_file():
        raise DataError(f"there is no run `{run}`", where=str(run), hint="headstart jobs logs shows why")
    if out.absolute() != run:
        with translate_disk_errors(out):
            shutil.copytree(run, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".lock", ".owner.json"))
    return out


def stop_driver(state: Mapping[str, str]) -> None:
    """Ask the driver to stop with its state kept, and wait a moment for its end."""
    write_text(Path(state["folder"]) / _CANCELLED, "")
    if _is_alive(state):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(state["process"]), signal.SIGTERM)
    until = time.monotonic() + _END_S
    while _is_alive(state) and time.monotonic() < until:
        time.sleep(_POLL_S / 5)


def _is_alive(state: Mapping[str, str]) -> bool:
    process = int(state["process"])
    with contextlib.suppress(ChildProcessError):  # it is a child of this process only where this one submitted it
        os.waitpid(process, os.WNOHANG)
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return _read_birth(process) == state["birth"]  # else another process has its number


def _read_birth(process: int) -> str:
    """When a process began, in ticks since the machine did; empty where the system does not say."""
    try:
        return (
            Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
        )
    except OSError:
        return ""
