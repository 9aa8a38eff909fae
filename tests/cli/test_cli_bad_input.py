"""Wrong data, wrong names and a disk that refuses, through the command line: what, where, what to do, exit code."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from headstart.api import commands
from headstart.cli.main import main
from headstart.core import job as jobs
from headstart.core.recipe import Recipe

LITE0 = "bundled:efficientnet_lite0"


@pytest.fixture
def pictures(tmp_path):
    """A function that makes a data set of one-colour pictures: `pictures(a=3, b=3)`."""

    def make(**counts):
        for name, count in counts.items():
            (tmp_path / "data" / name).mkdir(parents=True)
            for i in range(count):
                colour = (40 * i % 256, 90 * i % 256, hash(name) % 256)
                Image.new("RGB", (40, 40), colour).save(tmp_path / "data" / name / f"{i}.png")
        return str(tmp_path / "data")

    return make


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs without `--out` and crash files go to an empty folder."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def failed(capsys, *words, code):
    """The error of a command, as JSON."""
    assert main([*words, "--json"]) == code
    [line] = capsys.readouterr().out.splitlines()
    return json.loads(line)["error"]


@pytest.mark.parametrize("words", [("audit",), ("report",), ("predict", "a.jpg"), ("evaluate", "folder")])
def test_a_name_that_no_file_can_have_is_no_bug(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    err = failed(capsys, words[0], "x" * 300, *words[1:], code=3)
    assert "too long" in err["what"]
    assert not list(tmp_path.glob("**/headstart-crash*"))


def test_one_class(pictures, capsys):
    err = failed(capsys, "fit", pictures(only=4), code=3)
    assert "`only`" in err["what"]
    assert "one class" in err["what"]
    assert not list(Path("runs").glob("*"))  # nothing was decided, so no folder is left


def test_a_class_without_training_pictures_leaves_no_folder(pictures, tmp_path, capsys):
    pictures(train=0, test=0)
    for split, name in (("train", "a"), ("test", "a"), ("test", "b")):
        folder = tmp_path / "data" / split / name
        folder.mkdir()
        for i in range(12):
            Image.new("RGB", (40, 40), (20 * i, 90, 30)).save(folder / f"{i}.png")
    failed(capsys, "fit", str(tmp_path / "data"), "--out", "new", code=3)
    assert not Path("new").exists()
    Path("own").mkdir()
    failed(capsys, "fit", str(tmp_path / "data"), "--out", "own", code=3)
    assert Path("own").is_dir()  # somebody else made it


def test_a_folder_without_pictures_names_what_is_there(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("text")
    err = failed(capsys, "fit", str(tmp_path / "data"), code=3)
    assert ".txt" in err["what"]
    assert not list(Path("runs").glob("*"))


def test_a_file_where_a_folder_is_wanted(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("text")
    err = failed(capsys, "fit", str(tmp_path / "notes.txt"), code=3)
    assert "notes.txt" in err["what"]


def test_an_unknown_backbone_names_the_nearest(pictures, capsys):
    err = failed(capsys, "fit", pictures(a=12, b=12), "--backbones", "bundled:eficientnet_lite0", code=2)
    assert f"`{LITE0}`" in err["hint"]


def test_a_preset_that_is_not_here_names_what_fetches_it(pictures, capsys):
    err = failed(capsys, "fit", pictures(a=12, b=12), "--backbones", "dinov2_base", code=2)
    assert "`dinov2_base` is not here yet" in err["what"] and "keras_hub:dinov2_base" in err["hint"]


@pytest.mark.medium
def test_an_unknown_class_of_interest_names_the_nearest(pictures, capsys):
    err = failed(capsys, "fit", pictures(good=12, bad=12), "--backbones", LITE0, "--positive", "baad", code=2)
    assert "`bad`" in err["hint"]


@pytest.mark.parametrize("number", ["ENOSPC", "EROFS", "EACCES"])
def test_a_disk_that_refuses_is_told(pictures, tmp_path, number, monkeypatch, capsys):
    import errno
    import os

    make, out = os.mkdir, str(tmp_path / "refused")

    def refuse(path, *args, **named):
        if str(path).startswith(out):
            raise OSError(getattr(errno, number), "refused", str(path))
        return make(path, *args, **named)

    monkeypatch.setattr(os, "mkdir", refuse)
    err = failed(capsys, "fit", pictures(a=3, b=3), "--out", out, code=3)
    assert out in err["what"]
    assert err["hint"]
    assert err["type"] == "SetupError"


@pytest.mark.parametrize("command", ["fit", "audit", "embed", "rank", "demo"])
def test_an_empty_out_is_refused(command, capsys):
    err = failed(capsys, command, *([] if command == "demo" else ["data"]), "--out", "", code=2)
    assert "--out" in err["what"]
    assert "empty" in err["what"]


def test_out_on_a_file(pictures, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    err = failed(capsys, "fit", pictures(a=3, b=3), "--out", str(tmp_path / "file"), code=3)
    assert "a file is in its place" in err["what"]


@pytest.mark.parametrize("command", ["fit", "audit", "embed", "rank"])
def test_out_among_other_files_leaves_them_as_they_are(command, pictures, tmp_path, capsys):
    mine = tmp_path / "mine"
    (mine / "model").mkdir(parents=True)
    for name in ("README.md", "report.html", "model/weights.bin"):
        (mine / name).write_text("precious")
    err = failed(capsys, command, pictures(a=3, b=3), "--out", str(mine), code=2)
    assert f"`{mine}` is not empty and is no run" in err["what"]
    assert "--out" in err["hint"]
    assert sorted(p.name for p in mine.rglob("*")) == ["README.md", "model", "report.html", "weights.bin"]
    assert (mine / "README.md").read_text() == "precious"


def test_a_cache_that_cannot_be_made(pictures, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file" / "cache"))
    err = failed(capsys, "fit", pictures(a=3, b=3), "--out", str(tmp_path / "run"), code=3)
    assert "HEADSTART_CACHE" in err["hint"]


def test_out_below_a_file(pictures, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    err = failed(capsys, "fit", pictures(a=3, b=3), "--out", str(tmp_path / "file" / "run"), code=3)
    assert "a part of the path is a file" in err["what"]


def test_a_dry_run_is_one_object_and_leaves_nothing(pictures, tmp_path, capsys):
    data = pictures(a=12, b=12)
    assert main(["fit", data, "--backbones", LITE0, "--dry-run", "--json", "--out", str(tmp_path / "run")]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["candidates"] == [LITE0]
    assert not (tmp_path / "run").exists()
    assert main(["fit", data, "--backbones", LITE0, "--dry-run"]) == 0
    assert LITE0 in capsys.readouterr().out


def test_a_dry_run_refuses_what_the_audit_of_the_files_would(pictures, capsys):
    data = Path(pictures(a=12, b=12))
    for folder in ("a", "b"):
        for number, picture in enumerate(sorted((data / folder).iterdir())):
            (data / folder / ("one", "two")[number % 2]).mkdir(exist_ok=True)
            picture.rename(data / folder / ("one", "two")[number % 2] / picture.name)
    assert main(["fit", str(data), "--backbones", LITE0, "--dry-run"]) == 3
    assert "D009" in capsys.readouterr().err


@pytest.mark.medium
def test_audit_prints_every_check(pictures, tmp_path, capsys):
    from headstart.core import registry

    data = pictures(a=12, b=12)
    assert main(["audit", data, "--backbones", LITE0, "--out", str(tmp_path / "run"), "--quiet"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("24 pictures")
    for name in registry.list_plugins("data_checks"):
        assert registry.load_plugin("data_checks", name).code in text


def test_a_bug_in_a_stage_is_told_as_one(pictures, tmp_path, monkeypatch, capsys):
    from headstart.api import commands

    def broken(*args, **named):
        return {}["missing"]

    monkeypatch.setattr(commands, "fit", broken)
    err = failed(capsys, "fit", pictures(a=3, b=3), code=70)
    assert "KeyError" in err["what"]
    assert "Traceback" in Path(err["where"]).read_text()


@pytest.mark.medium
def test_control_c_at_the_start_is_one_sentence(pictures, tmp_path):
    data = pictures(a=200, b=200)
    words = [sys.executable, "-m", "headstart", "fit", data, "--out", str(tmp_path / "run"), "--json"]
    env_free = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, **env_free) as process:
        while not (tmp_path / "run").exists():
            time.sleep(0.01)
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "resume" in err
    assert json.loads(out)["error"]["exit_code"] == 130


@pytest.mark.medium
def test_rank_shows_the_candidates_best_first_and_why(textile, tmp_path, capsys):
    import shutil

    for folder in ("global", "nominal"):
        (tmp_path / "few" / folder).mkdir(parents=True)
        for picture in sorted((textile / folder).glob("*.jpg"))[:10]:
            shutil.copy(picture, tmp_path / "few" / folder)
    words = ["rank", str(tmp_path / "few"), "--backbones", LITE0, "--out", str(tmp_path / "run"), "--quiet"]
    assert main(words) == 0
    head, first, *rest = capsys.readouterr().out.splitlines()
    assert head.startswith("candidate")
    assert " chosen " in first
    assert "n=20" in first
    assert any("control" in line for line in rest)
    assert any(line.startswith(f"`{LITE0}@") for line in rest)
    assert rest[-1] == f"run  {(tmp_path / 'run').as_posix()}"
    assert main([*words, "--json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["ranking"]["rows"][0]["status"] == "chosen"


@pytest.mark.parametrize("form", ["text", "file", "python"])
def test_a_recipe_that_will_hardly_train_is_warned_of_before_anything_starts(
    form, pictures, capsys, tmp_path, shared_store
):
    data = pictures(a=8, b=8)
    settings = {"backbones": LITE0, "strategy": "finetune", "recipe": "rate=5,batch=1"}
    if form == "python":
        commands.plan(data, **settings | {"recipe": Recipe(rate=5.0, batch=1)})
    if form == "text":
        assert main(["fit", data, *(f"--{name}={value}" for name, value in settings.items()), "--dry-run"]) == 0
    if form == "file":
        jobs.write_job(jobs.make_job(data=data, **settings), tmp_path / "job.toml")
        assert main(["fit", str(tmp_path / "job.toml"), "--dry-run"]) == 0
    batch, rate = capsys.readouterr().err.splitlines()[:2]
    assert rate.startswith("warning: --recipe: recipe rate `5` is over 0.1: ") and "write rate=0.001" in rate
    assert batch.startswith("warning: --recipe: recipe batch `1` is under 4: ") and "write batch=32" in batch
