"""SageMaker as a target: jobs that an emulator really runs, to the files of the same job here."""

import json
import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sagemaker_emulator import create_role, serve_sagemaker

import headstart
from headstart.core import job as jobs
from headstart.core.console import Console
from headstart.core.errors import HeadstartError, NoOpError, Problem, UsageError
from headstart.remote import submit_job
from headstart.remote.sagemaker import inputs
from headstart.remote.sagemaker.clients import make_client
from headstart.remote.sagemaker.job_settings import read_settings
from headstart.remote.sagemaker.training_request import make_training_request
from headstart.remote.target import ENDED, JobRequest
from headstart.remote.targets.aws import PLUGIN as AWS

SETTINGS = {"backbones": "bundled:efficientnet_lite0", "budget": "10m"}
OPTIONS = {"bucket": "shop/jobs", "role": "headstart-training", "tags": "team=vision", "hyperparameters": "note=x"}
CONSOLE = Console(quiet=True)
# Of two runs of one job these differ: when it was, and how long it took.
_TIMES = ("timings.json", "decisions.jsonl", ".local.json", ".lock", "report.html")


class Interruption:
    """Takes the machine of a spot job away when so many files lie in its checkpoints; 0 never."""

    files = 0

    def __call__(self, checkpoints):
        return 0 < self.files <= sum(path.is_file() for path in checkpoints.rglob("*"))


@pytest.fixture(scope="module")
def interruption():
    return Interruption()


@pytest.fixture(scope="module")
def service(tmp_path_factory, interruption):
    """The service; its image is this machine's Python, which has all packages, so that nothing is installed."""
    names = ("PATH", "HEADSTART_CACHE", "HEADSTART_OFFLINE", "PIP_FIND_LINKS")
    image = {name: os.environ[name] for name in names} | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with serve_sagemaker(tmp_path_factory.mktemp("sagemaker"), image, interrupt=interruption) as service:
        create_role(service)
        create_role(service, "lambda-only", "lambda.amazonaws.com")
        s3 = service.client("s3", "eu-west-1")
        s3.create_bucket(Bucket="far", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield service


@pytest.fixture(scope="module")
def pictures(textile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "set"
    for name in ("global", "local"):
        for path in sorted((textile / name).glob("*.jpg"))[:12]:
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / path.name).write_bytes(path.read_bytes())
    return folder


def make_request(name, data, *, spot=False, max_hours=1.0, max_usd=None, options=OPTIONS, **settings):
    job = jobs.make_job(data=str(data), **SETTINGS | settings)
    return JobRequest(name=name, job=job, options=options, max_hours=max_hours, max_usd=max_usd, spot=spot)


def wait(state, seconds=900):
    """The last status of a job."""
    deadline = time.monotonic() + seconds
    while (status := AWS.read_status(state)).state not in ENDED:
        assert time.monotonic() < deadline, (status, list(AWS.read_logs(state, follow=False))[-20:])
        time.sleep(0.2)
    return status


def list_keys(service, prefix=""):
    pages = service.client("s3").get_paginator("list_objects_v2").paginate(Bucket="shop", Prefix=prefix)
    return {entry["Key"] for page in pages for entry in page.get("Contents", ())}


def read_files(run):
    names = {path.relative_to(run).as_posix(): path for path in run.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in names.items() if path.name not in _TIMES}


@pytest.mark.medium
def test_an_interrupted_spot_job_gives_the_files_of_the_run_here(service, interruption, pictures, tmp_path):
    here = headstart.fit(pictures, out=tmp_path / "run", console=CONSOLE, **SETTINGS)
    count = sum(path.is_file() for path in here.path.rglob("*"))
    interruption.files = random.randint(2, count - 2)
    request = make_request("textile-1", pictures, spot=True)
    assert AWS.find_problems(request) == []
    state = AWS.submit(request, CONSOLE)
    assert all(isinstance(value, str) for value in state.values())
    state = json.loads(json.dumps(state))  # as another machine reads it
    lines = list(AWS.read_logs(state, follow=True))
    status = wait(state)
    assert status.state == "done", (interruption.files, status, lines[-20:])
    assert status.ended > status.started
    job = service.jobs["textile-1"]
    assert job.interruptions == 1, f"never {interruption.files} files of {count}"
    assert any("SageMaker" in line for line in lines)
    run = AWS.fetch(state, tmp_path / "fetched", CONSOLE)
    there = headstart.Run(run)
    assert there.evaluation.scores == here.evaluation.scores, interruption.files
    assert np.array_equal(there.evaluation.probabilities, here.evaluation.probabilities)
    ours, theirs = read_files(here.path), read_files(run)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == [], interruption.files
    assert job.request["HyperParameters"] == {"note": "x"}
    assert job.request["Tags"] == [{"Key": "team", "Value": "vision"}]
    assert AWS.find_problems(request)[0].where == "--name"
    with pytest.raises(HeadstartError, match="something at"):
        AWS.submit(request, CONSOLE)
    assert "jobs/textile-1/output/textile-1/output/model.tar.gz" in list_keys(service)


@pytest.mark.medium
def test_a_job_is_cancelled_and_another_says_why_it_failed(service, interruption, pictures, tmp_path):
    interruption.files = 0
    few = tmp_path / "few"
    (few / "a").mkdir(parents=True)
    (few / "a" / "x.jpg").write_bytes(b"no picture")
    service.lost_answers.add("CreateTrainingJob")  # the client asks again, and the name is taken
    cancelled = AWS.submit(make_request("cancelled", pictures, seed=1), CONSOLE)
    assert not service.lost_answers
    inputs = list_keys(service, "jobs/inputs/")
    AWS.cancel(cancelled)
    with pytest.raises(HeadstartError, match="cannot be stopped"):
        AWS.cancel(cancelled | {"name": "never-was"})
    failed = AWS.submit(make_request("failed", few), CONSOLE)
    assert wait(cancelled).state == "cancelled"
    status = wait(failed)
    lines = list(AWS.read_logs(failed, follow=False))
    assert status.state == "failed" and "AlgorithmError" in status.reason, lines
    assert any("x.jpg" in line or "error:" in line for line in lines)
    with pytest.raises(NoOpError, match="has left nothing yet"):
        AWS.fetch(cancelled | {"address": "s3://shop/jobs/nothing"}, tmp_path / "none", CONSOLE)
    assert not (tmp_path / "none").exists()
    assert len(list_keys(service, "jobs/inputs/")) == len(inputs) + 1  # the same pictures are there once


@pytest.mark.parametrize(
    ("options", "words", "hint"),
    (
        ({"role": "nobody"}, "there is no role", "doctor"),
        ({"role": "lambda-only"}, "SageMaker may not take on the role", "sts:AssumeRole"),
        ({"bucket": "no-such-bucket"}, "there is no bucket", "aws s3 mb"),
        ({"bucket": "far"}, "is in eu-west-1, the job in us-east-1", "region=eu-west-1"),
        ({"instance": "ml.m5.xxlarge"}, "has no `ml.m5.xxlarge`", "ml.m5.xlarge"),
        ({"image": "docker.io/python"}, "is no image of ECR", ""),
        ({"image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1"}, "there is no image", "push it"),
        ({"image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1"}, "not of the region", ""),
        ({"subnets": "subnet-1"}, "a VPC needs", "both"),
        ({"cache": "s3://shop/no-cache"}, "there is nothing at", ""),
        ({"max_wait_hours": "0.5"}, "max_wait_hours is below", ""),
    ),
)
def test_what_stands_in_the_way_is_told_before_anything_is_uploaded(options, words, hint, service, pictures):
    problems = AWS.find_problems(make_request("x", pictures, spot=True, options=OPTIONS | options))
    assert [words in problem.what for problem in problems] == [True], problems
    assert hint in problems[0].hint
    assert problems[0].where.startswith("--on-option")


def test_money_and_credentials(service, pictures, monkeypatch):
    dear = OPTIONS | {"instance": "ml.p4d.24xlarge"}
    assert AWS.estimate(make_request("a", pictures, options=dear)).usd_per_hour is None
    named = AWS.estimate(make_request("a", pictures, options=dear | {"usd_per_hour": "40"}))
    assert named.usd_per_hour == 40
    estimate = AWS.estimate(make_request("a", pictures, max_hours=0.1))
    assert estimate.seconds == 360 and estimate.usd == pytest.approx(0.023)
    assert estimate.upload_bytes == sum(path.stat().st_size for path in pictures.rglob("*.jpg"))
    assert any("us-east-1" in text and "2025" in text for text in estimate.assumptions)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # which remembers the credentials
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (problem,) = AWS.find_problems(make_request("a", pictures))
    assert "no credentials" in problem.what and "aws configure" in problem.hint
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    (problem,) = AWS.find_problems(make_request("a", pictures))
    assert "region" in problem.what


def test_everything_that_stands_in_the_way_is_told_at_once(service, pictures):
    """Form of the request, options and what AWS says; the same fault once."""
    options = {"role": "nobody", "bucket": "no-such-bucket", "disk_gb": "much", "tags": "a", "instance": "ml.x"}
    with pytest.raises(UsageError) as error:
        submit_job.make_request(
            AWS,
            jobs.read_settings({"data": str(pictures), "seed": -1, "budget": "10m"}),
            options=options | {"rolle": "x", "image": "docker.io/python", "cache": "s3://no-such/x"},
            name="A_",
            max_usd=5.0,
            problems=(Problem("--out", "is an address"),),
        )
    words = (
        *(
            "is an address",
            "has no option `rolle`",
            "seed `-1`",
            "`A_` is no name",
            "disk_gb `much`",
            "`a` is not NAME",
        ),
        *("has no `ml.x`", "there is no role", "there is no bucket `no-such-bucket`", "is no image of ECR"),
        *("`s3://no-such/x` cannot be listed", "the price of ml.x is not known here, so --max-usd"),
    )
    text = error.value.what
    assert [word for word in words if text.count(word) != 1] == [], text
    assert text.count("; ") == len(words) - 1
    with pytest.raises(UsageError) as error:
        submit_job.make_request(AWS, jobs.make_job(data=str(pictures)), options={})
    assert error.value.what == "target `aws` needs the option `bucket`; target `aws` needs the option `role`"


def test_a_refused_job_leaves_only_data_that_another_may_read_and_names_them(service, pictures, capsys):
    pictures = pictures / "local"
    before = list_keys(service)
    for options, words in (
        ({"instance": "ml.p3.2xlarge"}, "quota is used up"),
        ({"role": "nobody"}, "Could not assume role"),
        ({"environment": "X=" + "y" * 600}, "between"),
    ):
        with pytest.raises(HeadstartError, match=words):
            AWS.submit(make_request("refused", pictures, options=OPTIONS | options), Console(quiet=True))
        left = list_keys(service) - before
        assert len(left) == 12 and {key.rpartition("/data/")[0] for key in left} == {(folder := min(left)[:36])}
        assert (
            f"warning: the job's files stay for the next job that reads the same; `aws s3 rm --recursive s3://shop/{folder}`"
            in capsys.readouterr().err
        )


def test_data_that_another_job_found_outlive_the_failed_upload_of_the_first(service, pictures, tmp_path):
    """Both submits upload the same pictures; the first fails in the middle of it, the second has its job already."""
    places = {"data/set": tmp_path / "set"}
    (tmp_path / "set").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "set" / name).write_bytes(name.encode())
    address = inputs.locate_inputs("s3://shop/shared", places)

    class OtherSubmit(Console):
        def show_progress(self, *args):
            inputs.upload_inputs(address, places, CONSOLE)
            (tmp_path / "set" / "b.jpg").unlink()
            return super().show_progress(*args)

    with pytest.raises(FileNotFoundError):
        inputs.upload_inputs(address, places, OtherSubmit(quiet=True))
    assert len(list_keys(service, "shared/inputs/")) == 2


def test_options_reach_the_service_as_it_wants_them(service, pictures):
    options = OPTIONS | {
        "subnets": "subnet-0a1,subnet-0b2",
        "security_groups": "sg-0c3",
        "kms_key": "alias/results",
        "volume_kms_key": "alias/disk",
        "environment": "A=1,B=2",
        "cache": "s3://shop/jobs",
    }
    settings = read_settings(make_request("whole", pictures, spot=True, options=options))
    role = "arn:aws:iam::123456789012:role/headstart-training"
    body = make_training_request(settings, role=role, data="s3://shop/i", environment=settings.environment)
    shape = service.shapes.operation_model("CreateTrainingJob").input_shape
    service.check_shape(shape, body, "whole")
    assert body["VpcConfig"] == {"Subnets": ["subnet-0a1", "subnet-0b2"], "SecurityGroupIds": ["sg-0c3"]}
    assert body["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}
    assert body["Environment"]["HEADSTART_CACHE"] == "/opt/ml/input/data/cache"


def test_a_job_that_sagemaker_stops_at_its_longest_time_says_so(service, pictures):
    """Its own limit comes first; this is the second fence, for a job that does not keep it."""
    settings = read_settings(make_request("too-long", pictures, max_hours=1 / 3600))
    role = "arn:aws:iam::123456789012:role/headstart-training"
    body = make_training_request(settings, role=role, data="", environment={})
    assert body["StoppingCondition"] == {"MaxRuntimeInSeconds": 1}
    body["AlgorithmSpecification"]["ContainerEntrypoint"] = ["bash", "-c", "trap 'exit 0' TERM; sleep 60 & wait"]
    make_client("sagemaker", settings.region).create_training_job(**body)
    status = wait({"name": "too-long", "region": settings.region}, seconds=60)
    assert status.state == "failed" and "the time is over in which it may run;" in status.reason


def test_access_is_described_with_the_least_policies(service):
    access = AWS.describe_access(OPTIONS)
    assert access["missing"] == [] and access["seen"]["account"] == "123456789012"
    policies = access["policy"]
    assert set(policies) == {"submitter", "role", "role_trust"}
    text = json.dumps(policies)
    assert '"*"' not in json.dumps(policies["submitter"]) and "BUCKET" not in text and "ACCOUNT" not in text
    for name in ("submitter", "role"):  # IAM itself reads them
        iam = service.client("iam")
        arn = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(policies[name]))["Policy"]["Arn"]
        iam.delete_policy(PolicyArn=arn)
    assert "there is no bucket" in AWS.describe_access(OPTIONS | {"bucket": "none-such"})["missing"][0]
