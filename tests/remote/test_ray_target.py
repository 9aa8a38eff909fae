"""A job on Ray from its submission to its run, on a cluster that is started on this machine."""

import dataclasses
import hashlib
import os
import signal
import time
from pathlib import Path

import pytest

import headstart
from headstart.core.console import Console
from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.job import make_job
from headstart.remote.cluster import driver_process
from headstart.remote.submit_job import find_target, make_request, submit_job

SETTINGS = {"backbones": "bundled:efficientnet_lite0", "budget": "10m", "repeats": 1, "folds": 2}
CLOCKED = ("timings.json", "decisions.jsonl", "report.html", "README.md", "local.toml")


@pytest.fixture
def target(monkeypatch, tmp_path):
    """The target, with an empty list of jobs."""
    monkeypatch.setenv("HEADSTART_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return find_target("ray")


def digests(run):
    """Path in a run folder -> digest of the file, of files that no clock writes into."""
    files = [path for path in Path(run).rglob("*") if path.is_file() and not path.name.startswith(".")]
    names = {path.relative_to(run).as_posix(): path for path in files if path.name not in CLOCKED}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items()}


def request_of(target, data, out, **options):
    job = make_job(data=str(data), **SETTINGS)
    return make_request(
        target, job, options={name: str(value) for name, value in options.items()}, name="mine", out=out
    )


@pytest.mark.medium
def test_a_job_on_ray_leaves_the_files_of_a_local_run(target, small_textile, shared_store, tmp_path, monkeypatch):
    data = small_textile(6)
    runs = {}
    for name in ("here", "there"):
        cache = tmp_path / f"cache-{name}"
        cache.mkdir()
        for kind in ("weights", "trunks", "paces", "wheels", "data"):
            (shared_store.root / kind).mkdir(parents=True, exist_ok=True)
            (cache / kind).symlink_to(shared_store.root / kind, target_is_directory=True)
        monkeypatch.setenv("HEADSTART_CACHE", str(cache))
        if name == "here":
            here = headstart.fit(data, out=tmp_path / name, console=Console(quiet=True), **SETTINGS)
            runs[name] = here.path
            continue
        request = request_of(target, data, tmp_path / name, chunk_s=0.01, threads=1)
        record = submit_job(target, request, Console(quiet=True))
        log = "\n".join(target.read_logs(record.state, follow=True))
        assert target.read_status(record.state).state == "done", log
        assert (
            here.format_text().splitlines()[-1].split(here.path.as_posix())[0] not in log
        )  # who fetches the run prints its result
        assert "1 machine, " in log and "a fit without --on ray is faster" in log and "(raylet)" not in log
        runs[name] = target.fetch(record.state, tmp_path / name, Console(quiet=True))
    assert digests(runs["here"]) == digests(runs["there"])
    copy = target.fetch(record.state, tmp_path / "copy", Console(quiet=True))
    assert digests(copy) == digests(runs["there"])


@pytest.mark.medium
def test_the_plan_of_a_local_cluster_says_that_staying_is_faster(target, small_textile, tmp_path, monkeypatch):
    request = request_of(target, small_textile(4), tmp_path / "run")
    (sentence,) = target.estimate(request).assumptions
    assert sentence.startswith("embedding about ") and sentence.endswith("a fit without --on ray is faster")
    tuned = dataclasses.replace(request, job=dataclasses.replace(request.job, strategy="finetune"))
    _, folds, training = target.estimate(tuned).assumptions
    assert folds.startswith("all networks train on this machine: fewer than two machines have the ")
    assert folds.endswith("a fit without --on ray is as fast")
    assert training.startswith("one network trains on one machine alone: ")
    monkeypatch.setattr(target, "_count_cores_and_slots", lambda request, console: (8, 4))
    assert target.estimate(tuned).assumptions[1].startswith("fine-tuning trains up to 4 folds or waiting recipes at a ")


def test_a_wrong_request_is_refused(target, tmp_path):
    (tmp_path / "data").mkdir()
    for options, error, words in (
        ({"address": "127.0.0.1:9"}, SetupError, "does not answer"),
        ({"threads": "few"}, UsageError, "threads `few` is not a whole number"),
    ):
        with pytest.raises(error, match=words):
            request_of(target, tmp_path / "data", None, **options)
    assert target.describe_access({"address": "127.0.0.1:9"})["missing"]


def test_a_driver_that_ended_is_told_by_its_log_and_can_be_cancelled_no_more(target, tmp_path):
    state = {"process": "4194305", "birth": "1", "folder": str(tmp_path), "run": str(tmp_path / "run"), "begun": "1"}
    with pytest.raises(DataError, match="there is no log"):
        list(target.read_logs(state, follow=False))
    (tmp_path / "log.txt").write_text("read        6 pictures\nerror: the disk is full")
    status = target.read_status(state)
    assert (status.state, status.reason, status.started) == ("failed", "the disk is full", 1.0)
    assert list(target.read_logs(state, follow=True))[-1] == "error: the disk is full"
    with pytest.raises(DataError, match="there is no run"):
        target.fetch(state, tmp_path / "out", Console(quiet=True))
    target.cancel(state)
    assert target.read_status(state).state == "cancelled"


def test_a_driver_is_stopped_with_its_state_kept(target, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    started = driver_process.subprocess.Popen
    monkeypatch.setattr(driver_process.subprocess, "Popen", lambda command, **how: started(["/bin/sleep", "60"], **how))
    state = target.submit(request_of(target, tmp_path / "data", tmp_path / "run"), Console(quiet=True))
    assert target.read_status(state).state == "running"
    target.cancel(state)
    assert target.read_status(state).state == "cancelled"


def test_a_driver_that_takes_its_time_to_end_is_told_so(target, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    started, script = driver_process.subprocess.Popen, "trap '' TERM; echo ready >&2; exec /bin/sleep 60"
    monkeypatch.setattr(
        driver_process.subprocess, "Popen", lambda command, **how: started(["/bin/sh", "-c", script], **how)
    )
    monkeypatch.setattr(driver_process, "_END_S", 0.1)
    state = target.submit(request_of(target, tmp_path / "data", tmp_path / "run"), Console(quiet=True))
    log = Path(state["folder"]) / "log.txt"
    while not log.read_text():
        time.sleep(0.01)
    target.cancel(state)
    status = target.read_status(state)
    os.kill(int(state["process"]), signal.SIGKILL)
    assert (status.state, status.reason) == ("running", "it is being ended, with its state kept")
