"""`fit --on` and `jobs`: a job written as manifests, run from their folder, followed and fetched from elsewhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from command_line import call, cold, differing
from drawn_pictures import draw_picture, write_colours
from headstart.cli import remote_fit
from headstart.cli.main import main
from headstart.core.console import Console
from headstart.core.errors import SetupError
from headstart.core.job import make_job
from headstart.core.storage.locations.uploads import upload_folder
from headstart.remote.job_records import JobRecord, save_record
from headstart.remote.submit_job import submit_job
from headstart.remote.target import JobRequest, JobStatus
from headstart.remote.targets.manifest import PLUGIN
from object_servers import serve_s3

LITE0 = "bundled:efficientnet_lite0"
RUN = "s3://shop/runs/colours"
OPTIONS = {option.name: option.default for option in PLUGIN.options} | {"run": RUN}


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_STATE", str(tmp_path / "state"))
    return tmp_path / "state" / "jobs"


def submit(tmp_path: Path, *words: str, data: str = "") -> int:
    if not (tmp_path / "colours").is_dir():
        write_colours(tmp_path / "colours", count=10)
    settings = ("--backbones", LITE0, "--budget", "10m", "--on", "manifest", "--out", tmp_path / "folder")
    return main(["fit", data or str(tmp_path / "colours"), *map(str, settings), *words])


@pytest.mark.medium
def test_a_manifest_s_job_gives_the_files_of_a_local_fit_and_is_fetched_from_elsewhere(
    tmp_path, state, shared_store, monkeypatch
):
    """Its pictures lie in a bucket; its weights come there by the submitter, and no package index is asked."""
    with serve_s3() as server:
        write_colours(tmp_path / "colours", count=10)
        server.put("shop", {})
        upload_folder(tmp_path / "colours", "s3://shop/colours", Console(quiet=True))
        monkeypatch.setenv("HEADSTART_SHARED_CACHE", "s3://shop/shared")
        words = ("--on-option", f"run={RUN}", "--name", "colours-1", "--detach")
        assert submit(tmp_path, *words, data="s3://shop/colours") == 0
        assert not (tmp_path / "folder" / "code" / "inputs").exists()
        monkeypatch.delenv("HEADSTART_SHARED_CACHE")
        env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), **cold(shared_store, tmp_path / "c", ("trunks",))}
        script = tmp_path / "folder" / "code" / "start.sh"
        done = subprocess.run(["bash", script], env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "installing" not in done.stderr  # the same versions are here
        assert f"{LITE0} from s3://shop/shared/weights/" in done.stderr
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        code = (
            "import os, sys; os.chdir(sys.argv[1]); from headstart.cli.main import main; sys.exit(main(sys.argv[2:]))"
        )
        words = [sys.executable, "-c", code, elsewhere, "jobs"]
        listed = subprocess.run([*words, "list", "--json"], capture_output=True, text=True, check=True)
        assert [job["state"] for job in json.loads(listed.stdout)["jobs"]] == ["done"]
        subprocess.run([*words, "fetch", "colours-1", "--out", "run"], capture_output=True, text=True, check=True)
    call("fit", tmp_path / "colours", "--backbones", LITE0, "--budget", "10m", "--out", tmp_path / "local", light=False)
    assert differing(tmp_path / "local", elsewhere / "run") == []


def test_manifests_say_what_the_job_is_to_get(tmp_path, state, capsys):
    words = ("--on-option", f"run={RUN}", "--on-option", "gpu=L4", "--on-option", "secret=keys")
    assert submit(tmp_path, *words, "--max-hours", "2", "--spot", "--name", "colours-1") == 0
    captured = capsys.readouterr()
    assert (
        "job.yaml has the image REGISTRY/NAME:TAG: replace it" in captured.err and "no credentials" not in captured.err
    )
    assert "headstart jobs status colours-1" in captured.out and "sky jobs launch sky.yaml" in captured.err
    job, task = (yaml.safe_load((tmp_path / "folder" / name).read_text()) for name in ("job.yaml", "sky.yaml"))
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert job["spec"]["activeDeadlineSeconds"] == 2 * 3600 + 1800
    assert task["resources"] == {"cpus": "4+", "memory": "16+", "use_spot": True, "accelerators": "L4:1"}
    assert len([*(tmp_path / "folder" / "code" / "inputs" / "data" / "colours").rglob("*.png")]) == 30
    assert main(["fit", str(state / "colours-1.toml"), "--on", "manifest", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["max_hours"] == 2.0


def test_a_dry_run_tells_time_money_and_bytes_and_writes_nothing(tmp_path, state, capsys):
    words = ("--on-option", f"run={RUN}", "--on-option", "usd_per_hour=1.2", "--max-usd", "0.2", "--dry-run")
    assert submit(tmp_path, *words) == 0
    text = capsys.readouterr().out
    assert "about 20 min 00 s, about 0.20 USD" in text and "at most 0.2 USD" in text
    assert not (tmp_path / "folder").exists() and not state.exists()


def test_all_that_is_wrong_with_a_request_is_told_at_once(tmp_path, state, capsys):
    assert submit(tmp_path, "--on-option", "rum=x", "--name", "A_", "--seed", "-1", "--max-usd", "-1") == 2
    text = capsys.readouterr().err
    for part in ("no option `rum`", "needs the option `run`", "`A_` is no name", "seed `-1`", "`-1` is not above"):
        assert part in text
    assert submit(tmp_path, "--on-option", "run=shop", "--max-usd", "5") == 2
    assert "no address of a bucket" in capsys.readouterr().err
    assert submit(tmp_path, "--on-option", f"run={RUN}", "--max-usd", "5") == 2
    assert "knows no price" in capsys.readouterr().err
    assert main(["fit", str(tmp_path / "none"), "--on", "manifest", "--on-option", f"run={RUN}"]) == 3
    assert "there is no" in capsys.readouterr().err
    assert not (tmp_path / "folder").exists()


def test_a_new_domain_travels_and_is_refused_before_anything_is_submitted(tmp_path, state, capsys):
    for number in range(30):
        draw_picture(tmp_path / "new" / f"{number}.png", number)
    words = ("--on-option", f"run={RUN}", "--unlabeled", str(tmp_path / "new"))
    assert submit(tmp_path, *words, "--adaptation", "none", "--target-labels", "learn") == 2
    assert "adaptation `none` does nothing" in capsys.readouterr().err
    assert submit(tmp_path, *words[:-1], str(tmp_path / "nwe")) == 3
    assert "there is no folder" in capsys.readouterr().err and not (tmp_path / "folder").exists()
    assert submit(tmp_path, *words, "--name", "colours-1", "--detach") == 0
    assert len([*(tmp_path / "folder" / "code" / "inputs" / "unlabeled" / "new").rglob("*.png")]) == 30


def test_a_name_is_taken_once_and_an_unknown_one_is_named(tmp_path, state, capsys):
    image = ("--on-option", "image=example.com/a:1")
    assert submit(tmp_path, "--on-option", f"run={RUN}", "--name", "colours-1", "--detach", *image) == 0
    said = capsys.readouterr().err
    assert "job.yaml has no credentials" in said and "docker push example.com/a:1" in said and "REGISTRY" not in said
    assert submit(tmp_path, "--on-option", f"run={RUN}", "--name", "colours-1", "--detach") == 2
    assert "was submitted before" in capsys.readouterr().err
    assert main(["jobs", "status", "colour-1"]) == 2
    assert "did you mean `colours-1`?" in capsys.readouterr().err
    assert main(["jobs", "cancel", "colours-1"]) == 3
    assert "only wrote the manifests" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("fit", "x", "--spot"), "`--spot` has no effect without --on"),
        (("fit", "x", "--on", "manifst"), "did you mean `manifest`?"),
        (("fit", "x", "--on", "manifest", "--again"), "`--again` is about a run that is here"),
        (("fit", "x", "--on", "manifest", "--on-option", "run"), "`run` is not NAME=VALUE"),
        (("jobs", "lst"), "did you mean `list`"),
        (("jobs", "status"), "needs a NAME"),
        (("jobs", "list", "--follow"), "jobs list has no option `--follow`"),
        (("doctor", "--on-option", "run=x"), "`--on-option` has no effect without --on"),
        (("doctor", "--on", "manifest", "--on-option", "rum=x"), "has no option `rum`"),
    ],
)
def test_wrong_words_are_refused(state, capsys, words, problem):
    assert main([*words]) == 2
    assert problem in capsys.readouterr().err


def test_doctor_tells_what_a_target_takes(capsys):
    facts = {"cluster": "1 machine", "missing": [], "policy": {}}
    assert remote_fit.format_access(facts) == "cluster\n  1 machine\n\nmissing\n  nothing"
    assert main(["doctor", "--on", "manifest", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["missing"] == [] and "(required)" in facts["options"]["run"] and facts["policy"]


def test_a_job_is_followed_from_another_machine_by_the_copy_of_its_record(tmp_path, monkeypatch, capsys):
    state = {"run": "s3://shop/runs/none", "folder": "there", "record": "s3://shop/jobs/one/job.json"}
    record = JobRecord(name="one", target="manifest", state=state, submitted=1.0, data="photos", out="runs/one")
    with serve_s3() as server:
        server.put("shop", {"readme.txt": b"", "other.json": b"[1]"})
        monkeypatch.setenv("HEADSTART_STATE", str(tmp_path / "here"))
        save_record(record, Console())
        monkeypatch.setenv("HEADSTART_STATE", str(tmp_path / "there"))
        assert main(["jobs", "status", "one"]) == 2
        assert main(["jobs", "status", state["record"]]) == 0
        assert main(["jobs", "fetch", state["record"], "--out", str(tmp_path / "run")]) == 3
        assert main(["jobs", "status", "s3://shop/other.json"]) == 3
        assert main(["jobs", "status", "s3://shop/none.json"]) == 3
    captured = capsys.readouterr()
    assert "pending" in captured.out
    for words in ("the job `one` is pending and has left no run yet", "is no record of a job", "there is no job at"):
        assert words in captured.err


def test_a_job_that_nobody_could_find_again_is_cancelled(tmp_path, monkeypatch):
    cancelled = []
    target = replace_functions(submit=lambda request, console: {"id": "7"}, cancel=cancelled.append)
    (tmp_path / "state").write_text("a file where the folder should be")
    monkeypatch.setenv("HEADSTART_STATE", str(tmp_path / "state"))
    request = JobRequest(name="one", job=make_job(data=str(tmp_path)), options=OPTIONS)
    with pytest.raises(SetupError):
        submit_job(target, request, Console(quiet=True))
    assert cancelled == [{"id": "7"}]


REASON = "the disk of the machine is full, and that is told in many words so that it is a long line"


@pytest.mark.parametrize(
    ("interrupted", "code", "words"),
    [
        (False, 3, (f"`colours-1` has ended, failed: {REASON}", "headstart jobs logs colours-1; headstart jobs fetch")),
        (True, 130, ("the job `colours-1` goes on", "headstart jobs logs colours-1 --follow", "jobs cancel colours-1")),
    ],
)
def test_a_followed_job_that_fails_says_why_and_ctrl_c_ends_the_following_alone(
    tmp_path, state, monkeypatch, capsys, interrupted, code, words
):
    def read_logs(target, state, *, follow):
        yield "read        30 pictures"
        if interrupted:
            raise KeyboardInterrupt

    monkeypatch.setattr(type(PLUGIN), "read_logs", read_logs)
    monkeypatch.setattr(type(PLUGIN), "read_status", lambda target, state: JobStatus(state="failed", reason=REASON))
    assert submit(tmp_path, "--name", "colours-1", "--on-option", f"run={RUN}") == code
    said = capsys.readouterr().err
    assert "30 pictures" in said and not [part for part in words if part not in said], said
    assert main(["jobs", "list"]) == 0
    assert REASON in capsys.readouterr().out  # whole


def replace_functions(**functions):
    """The target of manifests with some functions of its own."""
    target = type(PLUGIN)()
    for name, function in functions.items():
        setattr(target, name, function)
    return target


def test_a_table_takes_no_home_folder_along(tmp_path, state, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "labels.csv").write_text("path,label\na.png,cat\n")
    words = ["--on", "manifest", "--on-option", f"run={RUN}", "--out", str(tmp_path / "folder")]
    assert main(["fit", str(tmp_path / "labels.csv"), *words]) == 2
    said = capsys.readouterr().err
    assert f"the whole folder `{tmp_path}` would travel" in said and "--images" in said
    assert not (tmp_path / "folder").exists()
