"""A job file run as a target runs it: the same files, after SIGTERM too; limits, versions and inputs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from pathlib import Path

import pytest

from command_line import call, differing, start
from drawn_pictures import write_colours
from headstart.api import commands
from headstart.core.console import Console
from headstart.core.errors import SetupError, UsageError
from headstart.core.job import make_job
from headstart.core.run import termination
from headstart.remote import code_package, job_file, platforms, run_job, start_script
from headstart.remote.submit_job import explain_exit_code

LITE0 = "bundled:efficientnet_lite0"


def write_plain_job(folder: Path, **remote) -> Path:
    job = make_job(data=str(folder / "colours"), backbones=LITE0, budget="10m")
    job_file.write_job_file(job_file.JobFile(job=job, **remote), folder / "job.toml")
    return folder / "job.toml"


@pytest.mark.medium
def test_a_job_stopped_by_sigterm_and_run_again_gives_the_files_of_an_unbroken_fit(tmp_path, shared_store):
    write_colours(tmp_path / "colours", count=10)
    job = write_plain_job(tmp_path, name="colours-1", versions=code_package.describe_versions())
    call("fit", tmp_path / "colours", "--backbones", LITE0, "--budget", "10m", "--out", tmp_path / "local", light=False)
    process = start("run", job, "--out", tmp_path / "run", light=False)
    while not (tmp_path / "run" / "decisions.jsonl").is_file():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == termination.TERMINATED, stderr
    assert "stopped by SIGTERM; what is done is kept" in stderr
    assert not (tmp_path / "run" / "report.html").exists() and not (tmp_path / "run" / ".owner.json").exists()
    stdout, _ = call("run", job, "--out", tmp_path / "run", "--json", light=False)
    assert json.loads(stdout)["run"].endswith("run")
    assert differing(tmp_path / "local", tmp_path / "run") == []


LIMITED = """
import sys, time
from headstart.core.console import Console
from headstart.core.errors import GateFailed
from headstart.core.job import make_job
from headstart.remote import job_file, run_job
content = job_file.JobFile(job=make_job(data="x"), max_usd=0.5, usd_per_hour=600.0, max_hours=1.0)
for spent_s in (2.6, 0.0):
    try:
        with run_job._keep_limits(content, sys.argv[1], time.time() - spent_s, Console()):
            assert spent_s, "a job whose limit is used up was started"
            time.sleep(30)
    except GateFailed as err:
        print(err.what)
"""


def test_a_limit_ends_the_block_and_time_counts_over_all_starts(tmp_path):
    command = [sys.executable, "-c", LIMITED, tmp_path / "run"]  # a process of its own: it is the one that is stopped
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.count("--max-usd 0.5 at 600 USD an hour") == 2 and "state is kept" in done.stdout, done.stderr
    assert 2.9 < json.loads((tmp_path / "run.spent.json").read_text())["seconds"] < 25


def test_code_that_does_not_return_is_ended_hard(tmp_path):
    code = (  # what winds up takes longer than it may
        "import threading\nfrom headstart.core.run.termination import stop_orderly\n"
        "with stop_orderly(grace_s=0.3):\n    print('ready', flush=True)\n"
        "    try:\n        threading.Event().wait(60)\n    finally:\n        threading.Event().wait(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == termination.TERMINATED
    process.stdout.close()


def test_other_versions_than_the_submitters_are_named_with_both_sides():
    versions = code_package.describe_versions()
    run_job.require_same_versions(versions)
    with pytest.raises(SetupError, match=rf"numpy {versions['numpy']} here, 1\.0 there; jax missing here, 0\.4 there"):
        run_job.require_same_versions(versions | {"numpy": "1.0", "jax": "0.4"})


def test_the_platform_is_known_by_its_own_variables(tmp_path):
    sagemaker = platforms.find_platform({"TRAINING_JOB_NAME": "a"}, tmp_path)
    assert (sagemaker.name, sagemaker.data) == ("SageMaker", "/opt/ml/input/data/inputs")
    assert sagemaker.run == "/opt/ml/checkpoints/run" and sagemaker.output == Path("/opt/ml/model")
    vertex = platforms.find_platform({"CLOUD_ML_JOB_ID": "1", "AIP_CHECKPOINT_DIR": "gs://b/o/checkpoints/"}, tmp_path)
    assert (vertex.name, vertex.run) == ("Vertex AI", "gs://b/o/checkpoints/run")
    with pytest.raises(SetupError, match="AIP_CHECKPOINT_DIR is not set"):
        platforms.find_platform({"CLOUD_ML_JOB_ID": "1"}, tmp_path)
    assert platforms.find_platform({"RAY_JOB_ID": "1"}, tmp_path).name == "Ray"
    assert platforms.find_platform({}, tmp_path).name == "this machine"


def test_a_package_holds_what_the_other_side_needs(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "costs.csv").write_text("x")
    job = make_job(data=str(tmp_path / "photos"), costs=str(tmp_path / "costs.csv"), test_of="s3://bucket/run")
    shipped, inputs, uploads = code_package.place_inputs(job)
    assert inputs == {"data": "data/photos", "costs": "costs/costs.csv"}
    assert uploads == {"data/photos": tmp_path / "photos", "costs/costs.csv": tmp_path / "costs.csv"}
    content = job_file.JobFile(job=shipped, name="one", inputs=inputs, options={"bucket": "b"}, shared_cache="s3://b/c")
    packages = [code_package.build_code_package(tmp_path / name, content) for name in ("first", "second")]
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in packages)
    assert first == second and {"job.toml", "requirements.txt", "start.sh"} < set(first)
    assert job_file.read_job_file(packages[0] / "job.toml") == content
    with zipfile.ZipFile(next(packages[0].glob("*.whl"))) as wheel:
        assert {"headstart/core/job.py", "headstart/reporting/templates/audit.html"} <= set(wheel.namelist())
    pins = (packages[0] / "requirements.txt").read_text().splitlines()
    assert all("==" in pin for pin in pins) and not any(pin.startswith("headstart=") for pin in pins)
    assert subprocess.run(["bash", "-n", packages[0] / "start.sh"]).returncode == 0
    platform = platforms.Platform(name="here", data=str(tmp_path / "none"), run="")
    with pytest.raises(SetupError, match="should have travelled with the job"):
        run_job.locate_inputs(content, platform)


def test_pictures_of_a_new_domain_travel(tmp_path):
    for name in ("old", "new", "table"):
        (tmp_path / name).mkdir()
    (tmp_path / "table" / "new.csv").write_text("file\n1.png\n")
    for unlabeled, place, upload in (("new", "unlabeled/new", "new"), ("table/new.csv", "unlabeled/new.csv", "table")):
        job = make_job(data=str(tmp_path / "old"), unlabeled=str(tmp_path / unlabeled))
        shipped, inputs, uploads = code_package.place_inputs(job)
        assert inputs["unlabeled"] == place and tmp_path / upload in uploads.values()
        for where, path in uploads.items():
            shutil.copytree(path, tmp_path / "there" / unlabeled / where)
        content = job_file.JobFile(job=shipped, inputs=inputs)
        platform = platforms.Platform(name="there", data=str(tmp_path / "there" / unlabeled), run="")
        assert run_job.locate_inputs(content, platform).unlabeled == str(tmp_path / "there" / unlabeled / place)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[job", "is not TOML"),
        ("[job]\ndata = 'x'\n[remot]\n", "`remot` is no key of a job file"),
        ("[job]\ndata = 'x'\n[remote]\nmax_usd = -1\n", "max_usd `-1` is not a number above zero"),
        ("[job]\ndata = 'x'\nseeds = 1\n", "seeds"),
        ("[job]\ndata = 'x'\n[remote]\nversions = 3\n", "versions"),
        ("remote = 1\n[job]\ndata = 'x'\n", "are tables"),
    ],
)
def test_a_wrong_job_file_is_refused(tmp_path, text, problem):
    (tmp_path / "job.toml").write_text(text)
    with pytest.raises(UsageError, match=problem):
        job_file.read_job_file(tmp_path / "job.toml")
    with pytest.raises(UsageError, match=r"^there is no `.*none.toml`$"):
        job_file.read_job_file(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        job_file.read_job_file(tmp_path)


def test_memory_that_is_used_up_is_told_by_the_job_and_by_who_asks_after_it(tmp_path, monkeypatch):
    def fill_memory(*data, **settings):
        raise MemoryError

    monkeypatch.setenv("HEADSTART_SHARED_CACHE", "s3://own/cache")  # of the machine: it comes first
    monkeypatch.setattr(commands, "fit", fill_memory)
    (tmp_path / "colours").mkdir()
    job = write_plain_job(tmp_path, shared_cache="s3://other/cache")
    with pytest.raises(SetupError, match="the memory of this machine is used up") as error:
        run_job.run_job(job, out=tmp_path / "run", console=Console(quiet=True))
    assert error.value.hint == "choose a machine with more memory"
    assert os.environ["HEADSTART_SHARED_CACHE"] == "s3://own/cache"
    assert explain_exit_code(137).startswith("exit code 137: it was killed, most often because the memory was used up")


@pytest.fixture
def base_path(tmp_path):
    """A PATH whose `python3` has pip and the packages of this one, but installs into an environment of its own."""
    venv.create(tmp_path / "venv")
    packages = next((tmp_path / "venv" / "lib").glob("*/site-packages"))
    (packages / "base.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return tmp_path / "venv" / "bin"


def write_wheel(folder, name, files):
    info = f"{name}-1.0.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for place, text in files.items():
            archive.writestr(place, text)


# What `uv venv --quiet --seed --python VERSION FOLDER` leaves, of the Python that is here.
_UV = """
import shutil, sys, sysconfig
assert sys.argv[1:6] == ["venv", "--quiet", "--seed", "--python", "3.99"], sys.argv
shutil.copytree(sys.prefix, sys.argv[6], symlinks=True)
"""


@pytest.mark.medium
def test_a_machine_without_the_python_and_the_packages_of_the_submitter_gets_them(tmp_path, base_path):
    """The real script, pip and Python; a stand-in for uv, which would fetch a Python."""
    code, shelf = tmp_path / "code", tmp_path / "shelf"
    for folder in (code, shelf):
        folder.mkdir()
    (code / "start.sh").write_text(start_script.format_start_script("3.99"))
    (code / "requirements.txt").write_text("headstart_test_data==1.0\n")
    (code / "job.toml").write_text("[job]\ndata = 'x'\nseeds = 1\n")
    code_package.write_wheel(code)
    write_wheel(shelf, "headstart_test_data", {"headstart_test_data.py": ""})
    write_wheel(shelf, "uv", {"uv/__init__.py": "", "uv/__main__.py": _UV})
    env = {**os.environ, "PATH": f"{base_path}:/usr/bin:/bin", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shelf)}
    command = ["bash", code / "start.sh"]
    done = subprocess.run(command, env=env | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=400)
    assert "the image has no Python 3.99; uv brings one" in done.stderr
    assert "installing the packages of the submitter" in done.stderr
    assert done.returncode == 2 and "did you mean `seed`" in done.stderr, done.stderr  # the job began
    (installed,) = tmp_path.rglob("headstart_test_data.py")
    assert "venv" in installed.parts and not installed.is_relative_to(base_path.parent)
