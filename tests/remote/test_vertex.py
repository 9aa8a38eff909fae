"""Vertex AI through its emulator: what is refused before it costs money, and what a job's container is told."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from vertex_emulator import BUCKET, PROJECT, ServiceError, serve_vertex

from headstart.core.console import Console
from headstart.core.errors import DataError, NoOpError, SetupError, UsageError, make_error
from headstart.core.job import make_job
from headstart.core.storage.locations import object_store
from headstart.core.storage.locations.uploads import list_below, write_text_object
from headstart.remote.target import JobRequest
from headstart.remote.targets.gcp import PLUGIN as GCP
from headstart.remote.vertex import access, client, training_jobs
from headstart.remote.vertex.settings import read_options

QUIET = Console(quiet=True)
pytestmark = pytest.mark.medium


@pytest.fixture
def service(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "POLL_S", 0.1)
    monkeypatch.setattr(object_store, "RETRIES", 0)
    object_store._make_store.cache_clear()
    image = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with serve_vertex(tmp_path / "service", image, grace_s=2.0) as service:
        yield service


def make_request(
    service, name="stripes-1", data="gs://shop/sets/none", *, spot=False, max_hours=None, max_usd=None, **options
):
    options = {"bucket": f"gs://{BUCKET}/jobs", "endpoint": service.address} | options
    job = make_job(data=str(data), backbones="bundled:efficientnet_lite0", budget="10m")
    return JobRequest(name=name, job=job, options=options, spot=spot, max_hours=max_hours, max_usd=max_usd)


def start_script(service, script, name="stripes-1", **settings):
    """Start a job whose code is a script of ours."""
    request = make_request(service, name, **settings)
    vertex = client.open_client(read_options(request.options))
    write_text_object(f"gs://{BUCKET}/jobs/{name}/code/start.sh", script)
    answer = vertex.ask("POST", f"v1/{vertex.place}/customJobs", training_jobs.make_job_body(vertex.settings, request))
    return {"name": answer["name"], "address": f"gs://{BUCKET}/jobs/{name}", **request.options, "project": PROJECT}


def wait(state):
    while (status := GCP.read_status(state)).state in ("pending", "running"):
        time.sleep(0.05)
    return status


def list_problems(service, **settings):
    return [f"{problem.what}; {problem.hint}" for problem in GCP.find_problems(make_request(service, **settings))]


def test_all_that_is_needed_is_there(service):
    assert list_problems(service) == []
    access = GCP.describe_access({"bucket": BUCKET, "endpoint": service.address})
    seen = {"project": PROJECT, "region": "us-central1", "account": f"tests@{PROJECT}.iam.gserviceaccount.com"}
    assert access["seen"] == seen | {"bucket": "gs://shop in us-central1"} and access["missing"] == []


def test_what_stands_in_the_way_is_named_before_anything_is_uploaded(service, monkeypatch):
    wrong = list_problems(service, region="Frankfurt", accelerators="3")
    assert [line.partition(";")[0] for line in wrong] == ["region `Frankfurt` is none", "accelerators `3` is none"]
    wrong = list_problems(service, region="mars-west1", bucket="other", accelerators="3", machine="c-9", max_usd=1.0)
    starts = (
        "accelerators `3` is none",
        "the price of c-9",
        "Vertex AI refuses: Unsupported region",
        "there is no bucket",
    )
    assert [line.startswith(start) for line, start in zip(wrong, starts, strict=True)] == [True] * 4, wrong
    assert list_problems(service, bucket="") == []  # it is told by who asks for options
    assert list_problems(service, bucket="other") == [
        "there is no bucket `other`; gcloud storage buckets create gs://other --location=us-central1"
    ]
    assert list_problems(service, region="europe-west4")[0].startswith(
        "the bucket `shop` lies in us-central1, the job would run in europe-west4; --on-option region=us-central1"
    )
    assert list_problems(service, region="mars-west1")[0].startswith(
        "Vertex AI refuses: Unsupported region 'mars-west1'"
    )
    assert list_problems(service, project="foreign")[0].startswith("Google Cloud does not permit it: Permission denied")
    assert list_problems(service, machine="c9-strange-4", max_usd=1.0)[0].startswith("the price of c9-strange-4 is not")
    service.permissions = {"aiplatform.customJobs.list", "storage.buckets.get"}
    missing = list_problems(service)
    assert missing[1].startswith("the permission `aiplatform.customJobs.create` is missing") and len(missing) == 8
    service.permissions = None
    write_text_object(f"gs://{BUCKET}/jobs/stripes-1/code/start.sh", "")
    assert "the name `stripes-1` is taken" in list_problems(service)[0]
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nowhere")
    assert list_problems(service)[0].startswith(
        "there are no credentials of Google Cloud; gcloud auth application-default"
    )


@pytest.mark.parametrize(
    ("location", "regions", "other"),
    (
        ("EU", ("europe-west4", "europe-north1"), "europe-west2"),
        ("US", ("us-central1",), "europe-west4"),
        ("NAM4", ("us-central1", "us-east1"), "us-west1"),
        ("EUR4", ("europe-north1", "europe-west4"), "europe-west1"),
        ("US+US-EAST1+US-WEST1", ("us-east1", "us-west1"), "us-central1"),
    ),
)
def test_a_bucket_of_several_regions_serves_those_it_lies_in(service, location, regions, other):
    service.bucket_regions[BUCKET] = location
    client_of = {
        name: client.open_client(read_options({"bucket": BUCKET, "region": name, "endpoint": service.address}))
        for name in (*regions, other)
    }
    assert all(access._find_bucket_problems(client_of[name]) == [] for name in regions)
    (problem,) = access._find_bucket_problems(client_of[other])
    assert "the bucket `shop` lies in " in problem.what and f"a bucket in {other}" in problem.hint


def test_the_roles_hold_all_that_a_job_asks_for(service, tmp_path):
    access = GCP.describe_access({"bucket": BUCKET, "endpoint": service.address})
    service.permissions = set(access["policy"]["submitter"]["includedPermissions"])
    assert list_problems(service) == []
    state = start_script(service, "echo ready; sleep 60")
    assert wait_for_line(state, "ready")
    GCP.cancel(state)
    assert wait(state).state == "cancelled"


def wait_for_line(state, text):
    deadline = time.time() + 20
    while time.time() < deadline:
        if any(text in line for line in GCP.read_logs(state, follow=False)):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    (
        ("quota", SetupError, "there is no quota left for it: custom_model_training_cpus"),
        ("machine", UsageError, 'Vertex AI refuses: Machine type "n1-standard-5" is not supported'),
        ("permission", SetupError, "does not permit it: `aiplatform.customJobs.create` is missing"),
        ("server", SetupError, "Google Cloud answers 503: overloaded"),
    ),
)
def test_a_refused_job_leaves_nothing_behind(fault, kind, words, service, tmp_path):
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "1.png").write_bytes(b"1")
    options = {"machine": "n1-standard-5"} if fault == "machine" else {}
    if fault == "quota":
        service.cpu_quota = 4
    if fault == "permission":
        service.permissions = {"storage.buckets.get"}
    if fault == "server":
        service.faults["POST .*/customJobs"] = ServiceError(503, "overloaded")
    with pytest.raises(kind) as error:
        GCP.submit(make_request(service, data=tmp_path / "set", **options), QUIET)
    assert words in error.value.what and error.value.hint
    assert not list_below(f"gs://{BUCKET}/jobs") and service.jobs == {}


def test_what_cannot_be_removed_after_a_refusal_is_listed(service):
    service.cpu_quota = 4

    class AfterUpload(Console):
        def print_line(self, stage, text):
            service.objects.write_faults["stripes-1"] = ("403 Forbidden", b"")

    with pytest.raises(SetupError, match="no quota") as error:
        GCP.submit(make_request(service), AfterUpload())
    assert "objects are left below gs://shop/jobs/stripes-1: remove them" in error.value.hint


def test_the_container_has_the_official_surroundings(service):
    script = 'env | grep -E "^(AIP|CLOUD_ML|CLUSTER)_" | sort; ls /gcs/*; echo "$0"; echo oops >&2; exit 3'
    state = start_script(service, script)
    status = wait(state)
    lines = list(GCP.read_logs(state, follow=True))
    base = f"gs://{BUCKET}/jobs/stripes-1"
    assert f"AIP_CHECKPOINT_DIR={base}/checkpoints/" in lines and f"AIP_MODEL_DIR={base}/model/" in lines
    assert f"CLOUD_ML_JOB_ID={state['name'].rpartition('/')[2]}" in lines and lines[-1] == "oops"
    assert "/gcs/shop/jobs/stripes-1/code/start.sh" in lines
    assert status.state == "failed" and status.reason.startswith("exit code 3: its data, the set-up or the disk")
    assert status.started <= status.ended
    with pytest.raises(DataError, match="has not written anything"):
        GCP.fetch(state, Path("nowhere"), QUIET)
    with pytest.raises(NoOpError, match="has ended: failed"):
        GCP.cancel(state)


def test_a_failed_job_tells_its_reason_and_an_image_that_is_not_there(service):
    state = start_script(service, "echo 'error: the set has one class'; echo 'hint: more'; exit 3")
    assert (
        wait(state).reason
        == "the set has one class (exit code 3: its data, the set-up or the disk stand in the way; the log names it)"
    )
    state = start_script(service, "true", "other", image="docker.io/nobody/nothing:1")
    assert wait(state).reason == "Unable to pull image docker.io/nobody/nothing:1: it does not exist."


def test_the_service_ends_a_job_beyond_its_limit_and_begins_a_spot_job_again(service, monkeypatch):
    monkeypatch.setattr(training_jobs, "GRACE_S", 1)
    state = start_script(service, "exec sleep 60", max_hours=0.0001)
    assert wait(state).reason == "The job ran longer than its timeout."
    script = (
        "trap 'echo stopped; exit 143' TERM; echo start; if [ -e {0} ]; then exit 0; fi; touch {0}; sleep 60 & wait"
    )
    service.interrupt = lambda job: not job.restarts and any("start" in str(entry) for entry in service.entries)
    state = start_script(service, script.format(service.folder / "mark"), "spot", spot=True)
    assert wait(state).state == "done"
    assert list(GCP.read_logs(state, follow=True)) == ["start", "stopped", "start"]


def test_a_log_is_followed_over_a_gap_of_the_service(service):
    state = start_script(service, "echo first; sleep 1; echo last")
    service.faults["POST /v2/entries:list"] = ServiceError(503, "unavailable")
    threading.Timer(0.7, service.faults.clear).start()
    assert list(GCP.read_logs(state, follow=True)) == ["first", "last"]


def test_costs_are_estimated_with_their_date(service):
    estimate = GCP.estimate(make_request(service, accelerator="NVIDIA_TESLA_T4"))
    assert estimate.usd_per_hour == pytest.approx(0.8395) and estimate.seconds == 960
    assert "a price of us-central1 noted in 2025-06" in estimate.assumptions[1] and estimate.upload_bytes == 0
    assert GCP.estimate(make_request(service, usd_per_hour="2")).usd == pytest.approx(2 * 960 / 3600)


def test_options_that_name_no_thing_are_one_error():
    request = JobRequest(name="a", job=make_job(data="x"), options={"bucket": "shop", "labels": "=", "kms_key": "k"})
    with pytest.raises(UsageError, match="kms_key `k` is none; labels `=` is none"):
        raise make_error(GCP.find_problems(request))
