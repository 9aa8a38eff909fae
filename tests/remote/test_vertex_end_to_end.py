"""A job on Vertex AI by the command line: one that fails says why."""

import os
import sys
from pathlib import Path

import pytest
from vertex_emulator import BUCKET, serve_vertex

from command_line import LITE0, cold
from drawn_pictures import write_colours
from headstart.cli.main import main
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


def test_a_job_that_fails_says_why(service, tmp_path, capsys):
    write_colours(tmp_path / "colours", count=10)
    (tmp_path / "alone").mkdir()
    (tmp_path / "colours" / "red").rename(tmp_path / "alone" / "red")
    assert submit(service, tmp_path / "alone", "--name", "alone") == 3
    shown = capsys.readouterr().err
    assert "the job `alone` has ended, failed: only one class has usable pictures" in shown
    assert "(exit code 3: its data" in shown
