"""The same job here and on Vertex AI, whose machine is taken away once; and a job there that says why it fails."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from vertex_emulator import BUCKET, serve_vertex

import headstart
from command_line import LITE0, cold, differing
from drawn_pictures import write_colours
from headstart.cli.main import main
from headstart.core.console import Console
from headstart.core.storage.locations import object_store
from headstart.remote.vertex import client

pytestmark = pytest.mark.medium


@pytest.fixture
def service(tmp_path, monkeypatch, shared_store):
    monkeypatch.setattr(client, "POLL_S", 0.5)
    monkeypatch.setenv("HEADSTART_STATE", str(tmp_path / "state"))
    object_store._make_store.cache_clear()
    image = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HEADSTART_OFFLINE": "1"}
    with serve_vertex(tmp_path / "service", image | cold(shared_store, tmp_path / "cache")) as service:
        yield service


def submit(service, data, *words):
    options = (f"bucket=gs://{BUCKET}/jobs", f"endpoint={service.address}")
    pairs = [word for option in options for word in ("--on-option", option)]
    return main(["fit", str(data), "--backbones", LITE0, "--budget", "10m", "--on", "gcp", *pairs, *map(str, words)])


def test_a_job_that_is_interrupted_anywhere_gives_the_files_of_the_run_here(service, tmp_path, capsys):
    data = write_colours(tmp_path / "colours", count=10)
    start = time.time()
    local = headstart.fit(data, out=tmp_path / "local", backbones=LITE0, budget="10m", console=Console(quiet=True))
    moment_s = random.uniform(1.0, 0.8 * (time.time() - start) + 1.0)
    begun = []

    def interrupt(job):
        if not begun and any(entry["jsonPayload"]["message"].startswith("job ") for entry in service.entries):
            begun.append(time.time())
        return not job.restarts and begun and time.time() - begun[0] > moment_s

    service.interrupt = interrupt
    assert (
        submit(service, data, "--spot", "--max-hours", "1", "--name", "colours-1", "--out", tmp_path / "fetched") == 0
    )
    (job,) = service.jobs.values()
    log = f"interrupted after {moment_s} s: {capsys.readouterr().err}"
    assert job.restarts == 1, log
    assert differing(local.path, tmp_path / "fetched") == [], log
    (tmp_path / "elsewhere").mkdir()
    words = ["jobs", "fetch", f"gs://{BUCKET}/jobs/colours-1/job.json", "--out", "again", "--quiet"]
    environment = os.environ | {"HEADSTART_STATE": str(tmp_path / "elsewhere")}
    command = [sys.executable, "-m", "headstart", *words]
    subprocess.run(command, cwd=tmp_path / "elsewhere", env=environment, check=True, capture_output=True)
    assert differing(local.path, tmp_path / "elsewhere" / "again") == []


def test_a_job_that_fails_says_why(service, tmp_path, capsys):
    write_colours(tmp_path / "colours", count=10)
    (tmp_path / "alone").mkdir()
    (tmp_path / "colours" / "red").rename(tmp_path / "alone" / "red")
    assert submit(service, tmp_path / "alone", "--name", "alone") == 3
    shown = capsys.readouterr().err
    assert "the job `alone` has ended, failed: only one class has usable pictures" in shown
    assert "(exit code 3: its data" in shown
