"""A finished run at an endpoint of Vertex AI: deployed, asked by the service's own form, removed."""

import base64
import os
import sys
from pathlib import Path

import pytest
from vertex_emulator import BUCKET, ServiceError, serve_vertex

from headstart.core.console import Console
from headstart.core.errors import DataError, HeadstartError, SetupError
from headstart.core.storage.locations import object_store
from headstart.core.storage.locations.uploads import list_below
from headstart.remote.endpoints.gcp import PLUGIN as HOST
from headstart.remote.vertex import client
from headstart.remote.vertex.settings import read_options
from headstart.testing.tiny_model import write_tiny_model
from serving_bench import GREEN, RED

pytestmark = pytest.mark.medium
QUIET, IMAGE = Console(quiet=True), "us-central1-docker.pkg.dev/shop-project/images/headstart:1"


@pytest.fixture
def service(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "POLL_S", 0.1)
    object_store._make_store.cache_clear()
    image = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with serve_vertex(tmp_path / "service", image) as service:
        yield service


@pytest.fixture
def run(tmp_path):
    write_tiny_model(tmp_path / "run" / "model")
    return tmp_path / "run"


def make_options(service, **options):
    return {"bucket": f"{BUCKET}/served", "image": IMAGE, "endpoint": service.address} | options


def ask(service, endpoint, *pictures):
    vertex = client.open_client(read_options(make_options(service)))
    instances = [{"b64": base64.b64encode(picture).decode()} for picture in pictures]
    return vertex.ask("POST", f"v1/{endpoint}:predict", {"instances": instances})["predictions"]


def test_a_run_is_deployed_asked_and_removed(service, run):
    answer = HOST.deploy(run, "colours", make_options(service), QUIET)
    assert f"{answer['endpoint']}:predict" in answer["ask"]
    rows = ask(service, answer["endpoint"], RED, b"no picture", GREEN)
    assert [row["answer"] for row in rows] == ["red", None, "green"] and rows[1]["error"]
    with pytest.raises(HeadstartError, match="none of the 2 pictures could be read|the model server answered 422"):
        ask(service, answer["endpoint"], b"none", b"none")
    with pytest.raises(SetupError, match="named `colours` is there already"):
        HOST.deploy(run, "colours", make_options(service), QUIET)
    HOST.remove("colours", make_options(service), QUIET)
    assert not (service.endpoints or service.models or list_below(f"gs://{BUCKET}"))


def test_what_is_refused_leaves_nothing(service, run, tmp_path):
    refused = [
        ({"image": "docker.io/headstart:1"}, "not in Artifact Registry"),
        ({"machine": "n1-odd-1"}, "not supported"),
    ]
    for options, words in refused:
        with pytest.raises(HeadstartError, match=words):
            HOST.deploy(run, "refused", make_options(service, **options), QUIET)
        assert not (service.endpoints or service.models or list_below(f"gs://{BUCKET}"))
    with pytest.raises(DataError, match="no saved model"):
        HOST.deploy(tmp_path, "refused", make_options(service), QUIET)
    service.faults["POST .*deployModel"] = ServiceError(429, "aiplatform.googleapis.com/custom_model_serving_cpus")
    service.faults["DELETE .*/models/"] = ServiceError(403, "no")
    with pytest.raises(SetupError, match="no quota left for it: custom_model_serving_cpus") as error:
        HOST.deploy(run, "refused", make_options(service), QUIET)
    assert not service.endpoints and f"left: models {next(iter(service.models.values()))['name']}" in error.value.hint


def test_a_container_that_does_not_start_is_removed(service, run):
    (run / "model" / "manifest.json").write_text("{}")
    with pytest.raises(SetupError, match="Model server terminated"):
        HOST.deploy(run, "damaged", make_options(service), QUIET)
    assert not (service.endpoints or service.models or list_below(f"gs://{BUCKET}"))
