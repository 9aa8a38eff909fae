"""The studio's server: who may speak to it, what it takes, what it starts, and that all of it is on disk."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from headstart.core.console import Console
from headstart.core.errors import BusyError, SetupError, UsageError
from headstart.reporting.sections.result import QUESTIONS
from headstart.studio import app, process_identity, state
from headstart.studio import command_lines as words
from headstart.studio.event_stream import _log_offset, _parse_line
from headstart.studio.image_folders import MAX_FILE, ImageFolders
from headstart.studio.task_runner import TaskRunner

TOKEN, PORT = "a-token-of-this-session", 7861
BASE = f"http://127.0.0.1:{PORT}"


@pytest.fixture
def own(tmp_path):
    (tmp_path / "pictures" / "cats").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (40, 30), (number * 60, 90, 90)).save(tmp_path / "pictures" / "cats" / f"{number}.png")
    return state.open_studio(tmp_path / "runs", tmp_path / "pictures")


@pytest.fixture
def asking(own):
    """A browser that came in by the printed address."""
    application = app.make_application(own, token=TOKEN, port=PORT)
    with TestClient(application, base_url=BASE, headers={"origin": BASE}) as client:
        assert client.get(f"/?token={TOKEN}", follow_redirects=False).status_code == 303
        yield client


@pytest.fixture
def stranger(own):
    application = app.make_application(own, token=TOKEN, port=PORT)
    with TestClient(application, base_url=BASE) as client:
        yield client


def fake_run(own, name, *, finished=True):
    """A run folder as far as the list of runs reads it."""
    run = own.runs.folder / name
    (run / "evaluate").mkdir(parents=True)
    (run / "job.toml").write_text('data = "pictures"\nbudget = "5m"\nstrategy = "probe"\n')
    score = {"split": "test", "name": "accuracy", "value": 0.9, "low": 0.8, "high": 0.95, "n": 60, "subject": ""}
    (run / "evaluate" / "value.json").write_text(json.dumps({"split": "test", "scores": [score], "verdicts": []}))
    if finished:
        (run / "report.html").write_text("<!doctype html><title>told</title><p>all of it")
    return run


# ---------------------------------------------------------------- who may speak


def test_without_the_token_nothing_is_told(stranger):
    page = stranger.get("/")
    assert page.status_code == 401 and "headstart studio" in page.text
    for path in ("/api/start", "/api/runs", "/static/studio.js", "/runs/a/report"):
        assert stranger.get(path).status_code == 401, path
    assert stranger.get("/?token=another", follow_redirects=False).status_code == 401
    stranger.cookies.set(f"headstart_studio_{PORT}", "another")
    assert stranger.get("/api/runs").status_code == 401


def test_the_token_becomes_a_strict_cookie_and_leaves_the_address(stranger):
    entered = stranger.get(f"/?token={TOKEN}", follow_redirects=False)
    assert entered.headers["location"] == "/"
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(entered.headers["set-cookie"].split("; "))
    assert stranger.get("/").status_code == 200


def test_a_page_that_another_one_leads_to_gets_its_cookie_all_the_same(stranger):
    entered = stranger.get(f"/?token={TOKEN}", headers={"sec-fetch-site": "cross-site"}, follow_redirects=False)
    assert entered.status_code == 200 and 'content="0; url=/"' in entered.text and TOKEN not in entered.text


def test_a_code_lets_in_once(own):
    application = app.make_application(own, token=TOKEN, port=PORT, code="a-code")
    with TestClient(application, base_url=BASE) as client:
        assert client.post("/?token=a-code", headers={"origin": BASE}).status_code == 401
        assert client.get("/?token=a-code", follow_redirects=False).status_code == 303
        client.cookies.clear()
        assert client.get("/?token=a-code", follow_redirects=False).status_code == 401
        assert client.get("/?token=", follow_redirects=False).status_code == 401


@pytest.mark.parametrize("other", ['layout=[1,"x"]', "a=b c", '{"q":1}', "=", "é=1"])
def test_cookies_of_programs_at_other_ports_are_passed_over(stranger, other):
    for cookies in (f"{other}; headstart_studio_{PORT}={TOKEN}", f"headstart_studio_{PORT}={TOKEN}; {other}"):
        headers = {b"cookie": cookies.encode("latin-1")}
        assert stranger.get("/api/runs", headers=headers).status_code == 200
    wrong = f"{other}; headstart_studio_{PORT + 1}={TOKEN}; headstart_studio_{PORT}=é".encode("latin-1")
    assert stranger.get("/api/runs", headers={b"cookie": wrong}).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", ""])
def test_a_foreign_name_for_this_machine_is_refused(asking, host):
    refused = asking.get("/api/runs", headers={"host": host})
    assert refused.status_code == 403 and "not known by that host name" in refused.json()["error"]["what"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", f"http://127.0.0.1:{PORT + 1}", f"https://127.0.0.1:{PORT}"]
)
def test_another_page_cannot_ask(asking, origin):
    assert asking.post("/api/uploads", headers={"origin": origin}).status_code == 403
    assert asking.get("/api/runs", headers={"origin": origin}).status_code == 403


def test_what_changes_something_says_where_it_comes_from(stranger):
    stranger.get(f"/?token={TOKEN}")
    refused = stranger.post("/api/uploads")
    assert refused.status_code == 403 and "`Origin`" in refused.json()["error"]["what"]
    assert stranger.get("/api/runs", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert stranger.get("/api/runs", headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_every_answer_has_a_policy_without_inline_script(asking):
    for path in ("/", "/api/runs", "/static/studio.js", "/api/nothing"):
        policy = asking.get(path).headers["content-security-policy"]
        assert "script-src 'self'" in policy and "unsafe" not in policy and "default-src 'none'" in policy
    page = asking.get("/").text
    assert "<script>" not in page and "style=" not in page and "http" not in page


def test_a_report_is_shown_apart(asking, own):
    (fake_run(own, "a") / "map.html").write_text("<!doctype html><title>map</title><p>all of it")
    for page in ("report", "map"):
        shown = asking.get(f"/runs/a/{page}")
        assert "all of it" in shown.text
        assert shown.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert asking.get("/runs/a/job").status_code == 422
    fake_run(own, "b", finished=False)
    assert asking.get("/runs/b/report").json()["error"]["what"] == "the run `b` has no report yet"


# ---------------------------------------------------------------- places


def test_folders_are_shown_below_the_root_only(asking, own, tmp_path):
    found = asking.get("/api/folders").json()
    assert found["above"] is None
    assert [(one["name"], one["pictures"]) for one in found["folders"]] == [("cats", 3)]
    (own.places.root / "out").symlink_to(tmp_path)
    for path in ("..", str(tmp_path), "cats/../..", "out", "/"):
        refused = asking.get("/api/folders", params={"path": path})
        assert refused.status_code == 422 and "headstart studio --root" in refused.json()["error"]["hint"], path
    assert asking.get("/api/folders", params={"path": "dogs"}).status_code == 404
    assert asking.get("/api/folders", params={"path": "a\0b"}).status_code == 422


def test_files_that_settings_name_lie_below_the_root(asking, own, tmp_path):
    """Costs, and any later setting that is a path, and backbones that are: links followed, the same said of all."""
    secret = tmp_path / "secret.csv"
    secret.write_text("root:x:0:0\n")
    (own.places.root / "link.csv").symlink_to(secret)
    (own.places.root / "costs.csv").write_text(",cats\ncats,0\n")
    for route in ("/api/plans", "/api/fits", "/api/commands/fit"):
        for costs in (str(secret), "../secret.csv", "link.csv", "cats/../../secret.csv", str(tmp_path / "nothing")):
            refused = asking.post(route, json={"data": "cats", "settings": {"costs": costs}})
            error = refused.json()["error"]
            assert refused.status_code == 422 and "is outside of" in error["what"] and error["where"] == "--costs"
        for name in ("run:../x", f"run:{tmp_path}", f"random:run:{tmp_path}", f"keras_hub:{tmp_path}", "run:/etc"):
            refused = asking.post(route, json={"data": "cats", "settings": {"backbones": f"auto,{name}"}})
            assert refused.status_code == 422 and refused.json()["error"]["where"] == "--backbones", name
    assert not list(own.tasks.folder.iterdir())
    asked = {"costs": "costs.csv", "backbones": "run:cats,keras_hub:resnet_50_imagenet,bundled:efficientnet_lite0"}
    command = asking.post("/api/commands/fit", json={"data": "cats", "settings": asked}).json()["command"]
    names = f"run:{own.places.root}/cats,keras_hub:resnet_50_imagenet,bundled:efficientnet_lite0"
    assert f"--costs {own.places.root}/costs.csv" in command and f"--backbones {names}" in command


def test_a_setting_that_is_a_path_is_known_by_its_type():
    from headstart.core import job as jobs

    assert sorted(jobs.list_path_options()) == ["costs", "exclude", "images", "more", "test_of", "unlabeled"]
    named = [
        option.name
        for option in jobs.list_options()
        if re.search("(?i)file|folder|^table of|^run of", option.metadata["help"])
    ]
    assert sorted(jobs.list_path_options()) == sorted(named)


def test_no_link_in_a_folder_leads_to_pictures_outside(asking, own, tmp_path):
    (tmp_path / "mine" / "cats").mkdir(parents=True)
    (own.places.root / "set").mkdir()
    (own.places.root / "set" / "cats").symlink_to(own.places.root / "cats")
    ask = {"data": "set", "settings": {}}
    assert asking.post("/api/commands/fit", json=ask).status_code == 200
    (own.places.root / "cats" / "more").symlink_to(tmp_path / "mine")
    for route, body in (("/api/looks", {"data": "set"}), ("/api/fits", ask), ("/api/looks", {"data": ""})):
        refused = asking.post(route, json=body)
        assert refused.status_code == 422 and "is outside of" in refused.json()["error"]["what"]
    assert asking.get("/api/folders", params={"path": "cats"}).json()["folders"] == []


def write_table(path, rows):
    path.write_text("file,kind\n" + "".join(f"{name},{label}\n" for name, label in rows))
    return path


def test_a_table_an_archive_or_a_file_of_labels_is_learnt_from(asking, own):
    root = own.places.root
    write_table(root / "labels.csv", [(f"{at}.png", "ab"[at % 2]) for at in range(3)])
    shutil.make_archive(str(root / "set"), "zip", root, "cats")
    listing = asking.get("/api/folders").json()
    assert [file["name"] for file in listing["files"]] == ["labels.csv", "set.zip"]
    settings = {"images": "cats", "target": "kind", "path": "file", "task": "auto", "seed": 7}
    looked = asking.post("/api/looks", json={"data": "labels.csv", "settings": settings}).json()
    told = f"{root / 'labels.csv'} --images {root / 'cats'} --path file --target kind"
    assert looked["command"] == f"headstart audit {told} --out {own.audits.folder / 'labels'}"
    fit = asking.post("/api/commands/fit", json={"data": "labels.csv", "settings": settings}).json()["command"]
    assert "labels.csv --budget 5m --strategy probe --seed 7 --images" in fit and "--target kind" in fit
    for data, run in (("set.zip", "set"), ("set.zip/cats", "cats"), ("cats", "cats")):
        assert asking.post("/api/commands/fit", json={"data": data, "settings": {}}).json()["run"] == run
    wrong = asking.post("/api/commands/fit", json={"data": "labels.csv", "settings": {"target": "kinds"}})
    assert "did you mean `kind`?" in wrong.json()["error"]["hint"]
    draft = asking.post("/api/uploads").json()["upload"]
    asking.put(f"/api/uploads/{draft}/files/set.zip", content=(root / "set.zip").read_bytes())
    assert asking.post(f"/api/uploads/{draft}/done").json()["path"].endswith(f"{draft}/set.zip")


def test_a_table_names_no_pictures_outside(asking, own, tmp_path):
    root, other = own.places.root, tmp_path / "mine"
    shutil.copytree(root / "cats", other)
    (root / "link.png").symlink_to(other / "0.png")
    tables = [[(other / "0.png", "a"), (other / "1.png", "b")], [("cats/0.png", "a"), ("../mine/1.png", "b")]]
    tables += [[("cats/0.png", "a"), ("link.png", "b")], [("s3://bucket/0.png", "a"), ("s3://bucket/1.png", "b")]]
    for at, rows in enumerate(tables):
        write_table(root / f"{at}.csv", rows)
        for route in ("/api/looks", "/api/commands/fit"):
            refused = asking.post(route, json={"data": f"{at}.csv", "settings": {}})
            assert refused.status_code == 422, (rows, refused.text)
            assert "is outside of" in refused.text or "reads this machine" in refused.text
    outside = asking.post("/api/looks", json={"data": str(write_table(other / "t.csv", tables[0]))})
    assert outside.status_code == 422 and own.tasks.list_tasks() == []


@pytest.mark.parametrize(
    ("value", "groups"),
    [
        (
            {"task": "regression", "class_names": [], "targets": [3.0, 1.0, 2.0], "target_name": "depth"},
            [("depth", [1, 2, 0])],
        ),
        (
            {"task": "multilabel", "class_names": ["a", "b"], "targets": [[True, True], [False, False], [False, True]]},
            [("a", [0]), ("b", [0, 2])],
        ),
        ({"task": "classification", "class_names": ["a", "b"], "targets": [1, 0, 1]}, [("a", [1]), ("b", [0, 2])]),
    ],
)
def test_pictures_of_every_task_are_shown(asking, own, value, groups):
    run = fake_run(own, "a")
    (run / "read").mkdir()
    content = {"root": str(own.places.root), "uris": ["0", "1", "2"], **value}
    (run / "read" / "value.json").write_text(json.dumps(content))
    pictures = asking.get("/api/runs/a/facts").json()["pictures"]
    assert [(group["name"], group["rows"]) for group in pictures["classes"]] == groups
    assert pictures["task"] == value["task"]


@pytest.mark.parametrize("path", ["~nobody-at-all/x", "\ud800", "x" * 5000, "a\0b"], ids=["~", "bytes", "long", "zero"])
def test_a_path_that_cannot_be_one_is_told(asking, path):
    body = json.dumps({"data": path, "settings": {}})
    told = asking.post("/api/commands/fit", content=body, headers={"content-type": "application/json"})
    assert told.status_code == 422 and "cannot be a path" in told.json()["error"]["what"]


@pytest.mark.parametrize(
    "name",
    [
        *("../a.jpg", "a/../../b.jpg", "/etc/a.jpg", "a//b.jpg", "a/./b.jpg", "..\\a.jpg", "c:a.jpg", "a\nb.jpg", " "),
        *("nul.jpg", "a" * 201, "/".join("abcdefghi"), "\u202ea.jpg"),
    ],
)
def test_a_name_that_leads_elsewhere_is_no_name(tmp_path, name):
    places = ImageFolders(tmp_path, tmp_path / "drafts", tmp_path / "runs")
    with pytest.raises(UsageError, match="not a name that a picture can have"):
        places.require_target(places.make_draft(), name)


def test_dropped_files_land_in_their_draft_and_nowhere_else(asking, own, tmp_path):
    draft = asking.post("/api/uploads").json()["upload"]
    before = {path for path in tmp_path.rglob("*") if ".studio/uploads" not in path.as_posix()}
    assert asking.put(f"/api/uploads/{draft}/files/set/cats/1.jpg", content=b"one").json()["bytes"] == 3
    assert asking.put(f"/api/uploads/{draft}/files/set/dogs/2.jpg", content=b"four").json()["bytes"] == 4
    for name in ("%2e%2e/x.jpg", "set/%2e%2e/%2e%2e/%2e%2e/x.jpg", "..%5cx.jpg", "%2fetc/x.jpg"):
        refused = asking.put(f"/api/uploads/{draft}/files/{name}", content=b"bad")
        assert refused.status_code in (404, 405, 422), name
    assert {path for path in tmp_path.rglob("*") if ".studio/uploads" not in path.as_posix()} == before
    done = asking.post(f"/api/uploads/{draft}/done").json()["path"]
    assert done == str(own.home / "uploads" / draft / "set")
    assert sorted(p.name for p in (own.home / "uploads").rglob("*.jpg")) == ["1.jpg", "2.jpg"]
    assert asking.put("/api/uploads/2026-01-01-00000000/files/a.jpg", content=b"x").status_code == 404


def test_a_picture_that_is_too_large_leaves_nothing(asking, own, monkeypatch):
    draft = asking.post("/api/uploads").json()["upload"]
    large = asking.put(f"/api/uploads/{draft}/files/a.jpg", headers={"content-length": str(MAX_FILE + 1)}, content=b"x")
    assert large.status_code == 422 and "at most" in large.json()["error"]["what"]
    monkeypatch.setattr("headstart.studio.image_folders.MAX_TOTAL", 5)
    assert asking.put(f"/api/uploads/{draft}/files/a.jpg", content=b"123").status_code == 200
    full = asking.put(f"/api/uploads/{draft}/files/b.jpg", content=b"456")
    assert full.status_code == 404 and "point to it" in full.json()["error"]["hint"]
    assert [p.name for p in (own.home / "uploads" / draft).rglob("*") if p.is_file()] == ["a.jpg"]


def test_only_a_runs_own_pictures_can_be_asked_for(asking, own):
    run = fake_run(own, "a")
    (run / "read").mkdir()
    value = {
        "root": str(own.places.root),
        "uris": ["cats/0.png", "cats/gone.png"],
        "class_names": ["cats"],
        "targets": [0, 0],
    }
    (run / "read" / "value.json").write_text(json.dumps(value))
    shown = asking.get("/api/runs/a/pictures/0")
    assert Image.open(io.BytesIO(shown.content)).size == (40, 30)
    value["reading"] = {"ranges": {"integers": [0, 4095], "precise": True}}
    (run / "read" / "value.json").write_text(json.dumps(value))
    Image.fromarray(np.full((30, 40), 1000, np.uint16)).save(own.places.root / "cats" / "0.png")
    shown = asking.get("/api/runs/a/pictures/0")
    assert abs(np.asarray(Image.open(io.BytesIO(shown.content))).mean() - 1000 / 4095 * 255) < 2
    assert asking.get("/api/runs/a/pictures/1").status_code == 404
    for row in ("2", "-1"):
        assert "has no picture" in asking.get(f"/api/runs/a/pictures/{row}").json()["error"]["what"]


@pytest.mark.parametrize("name", ["list.csv", "list.JSONL", "many.zip", "many.tar.gz"])
def test_what_names_other_pictures_is_not_tried(asking, own, name):
    """A table could name any file on this machine."""
    fake_run(own, "a")
    refused = asking.post(f"/api/runs/a/tries?file={name}", content=b"file\n/etc/passwd\n")
    assert refused.status_code == 404 and f"`{name}` is no picture" in refused.json()["error"]["what"]
    assert own.tasks.list_tasks() == [] and list((own.home / "tries").iterdir()) == []


# ---------------------------------------------------------------- commands


def test_each_click_shows_the_command_that_does_the_same(asking, own):
    settings = {"budget": "1m", "strategy": "auto", "seed": 3, "folds": 5, "profile": True, "backbones": "auto"}
    told = asking.post("/api/commands/fit", json={"data": "cats", "settings": settings}).json()
    data, out = own.places.root / "cats", own.runs.folder / "cats"
    assert told["command"] == f"headstart fit {data} --budget 1m --strategy auto --seed 3 --profile --out {out}"
    assert words.format_command(["audit", "my pictures"]) == "headstart audit 'my pictures'"
    assert own.tasks.list_tasks() == []


def test_what_is_wrong_is_told_as_the_command_line_tells_it(asking):
    bad = {"data": "cats", "settings": {"budget": "soon", "folds": 1}}
    told = asking.post("/api/fits", json=bad).json()["error"]
    assert "folds `1` is not between 2 and 50" in told["what"] and "`soon` is not a time" in told["what"]
    assert told["where"] == "--folds, --budget" and told["hint"] == "headstart fit --help lists the settings"
    assert asking.post("/api/fits", json={"data": "cats"}).status_code == 422
    run = asking.post("/api/runs/none/exports", json={"to": "onnx"})
    assert run.status_code == 404 and "there is no run `none`" in run.json()["error"]["what"]


@pytest.mark.parametrize("name", ["none", ".studio", "..", "a%2fb", "%2e%2e%2fa", "a%5cb", "a" * 300])
def test_unknown_runs_are_not_found(asking, own, name):
    fake_run(own, "a")
    for path in ("facts", "events", "pictures/0"):
        assert asking.get(f"/api/runs/{name}/{path}").status_code == 404
    assert asking.post(f"/api/runs/{name}/cancel").status_code == 404


def test_settings_cannot_name_other_pictures_or_unknown_things(asking):
    told = asking.post("/api/commands/fit", json={"data": "cats", "settings": {"data": "dogs"}}).json()
    assert "cats" in told["command"] and "dogs" not in told["command"]
    error = asking.post("/api/commands/fit", json={"data": "cats", "settings": {"budgte": "1m"}}).json()["error"]
    assert "unknown setting `budgte`; did you mean `budget`?" in error["what"]


def test_folders_that_a_page_cannot_name_are_left_out(asking, own):
    (own.places.root / os.fsdecode(b"odd\xff")).mkdir()
    (own.places.root / ".hidden").mkdir()
    assert [one["name"] for one in asking.get("/api/folders").json()["folders"]] == ["cats"]


def test_every_setting_of_a_job_is_offered(asking):
    offered = {one["name"]: one for one in asking.get("/api/start").json()["options"]}
    assert {"budget", "strategy", "seed", "backbones", "max_latency"} <= offered.keys() and "data" not in offered
    assert offered["strategy"]["choices"][0] == "probe" and offered["folds"]["default"] == 5
    assert offered["profile"]["kind"] == "bool" and offered["backbones"]["default"] == "auto"


def test_runs_are_listed_with_what_they_came_to(asking, own):
    fake_run(own, "a")
    fake_run(own, "b", finished=False)
    found = {one["name"]: one for one in asking.get("/api/runs").json()["runs"]}
    assert found["a"]["state"] == "done" and found["a"]["scores"][0]["value"] == 0.9
    assert found["b"]["state"] == "cut short"
    (own.runs.folder / "b" / ".owner.json").write_text(json.dumps({"pid": os.getpid()}))
    assert {one["name"]: one["state"] for one in asking.get("/api/runs").json()["runs"]}["b"] == "running"
    assert asking.get("/api/runs/b/facts").json()["command"].endswith(f"{own.runs.folder / 'b'}")


def test_one_odd_run_does_not_hide_the_others(asking, own):
    fake_run(own, "a")
    odd = fake_run(own, "my run (ü)")
    (odd / "timings.json").write_text("[1]")
    (odd / "evaluate" / "value.json").write_text('{"scores": [{"name": "accuracy"}]}')
    fake_run(own, os.fsdecode(b"odd\xff"))  # no page could send this name back
    found = {one["name"]: one["scores"] for one in asking.get("/api/runs").json()["runs"]}
    assert found.keys() == {"a", "my run (ü)"} and found["my run (ü)"] == []
    assert asking.get("/api/runs/my run (ü)/facts").json()["name"] == "my run (ü)"


def test_curves_are_there_while_networks_are_trained(asking, own):
    run = fake_run(own, "a", finished=False)
    (run / "adapt" / "trials").mkdir(parents=True)
    names = ("log_loss", "accuracy", "precision", "recall")
    first, nothing = dict(zip(names, (2.0, 0.5, 0.25, 0.75), strict=True)), dict.fromkeys(names)
    rows = [{"epoch": e, "train": {"log_loss": 1 / e}, "val": first if e < 2 else None} for e in (1, 2)]
    log = {"name": "trial 0, fold 1", "epochs": rows, "stopped": "all 2 epochs"}
    (run / "adapt" / "trials" / "trial000-fold1.json").write_text(json.dumps({"log": log}))
    (run / "adapt" / "trials" / "trial000-fold2.json").write_text("half wri")
    found = asking.get("/api/runs/a/facts").json()
    train = [nothing | {"log_loss": loss} for loss in (1.0, 0.5)]
    epochs = [{"epoch": 1, "train": train[0], "held_out": first}, {"epoch": 2, "train": train[1], "held_out": nothing}]
    scores = [[name, name.replace("_", " ")] for name in names]
    curve = {"name": "trial 0, fold 1", "epochs": epochs, "stopped": "all 2 epochs", "scores": scores}
    assert found["curves"] == [curve]
    rows = [{"epoch": 1, "train": {"squared_error": 0.5, "r2": 0.5, "mae": 7.0}, "val": None}]
    file = run / "adapt" / "trials" / "trial000-fold1.json"
    file.write_text(json.dumps({"log": {"name": "numbers", "epochs": rows}}))
    [curve] = asking.get("/api/runs/a/facts").json()["curves"]
    assert curve["epochs"][0]["train"] == rows[0]["train"] and curve["scores"][0] == ["squared_error", "squared error"]
    assert [one["step"] for one in found["steps"] if one["done"]] == ["evaluate"] and len(found["steps"]) == 11


def test_a_training_at_work_is_shown_epoch_by_epoch(asking, own):
    """By what the training loop itself keeps of a training that was cut short."""
    import small_network
    from headstart.core.console import Console
    from headstart.finetuning.training import trainer
    from headstart.studio import run_browser

    run = fake_run(own, "a", finished=False)
    folder, recipe = run / "adapt" / ".work" / "trial000-fold0", small_network.recipe(epochs=3)
    stamps, shown = [], []

    def look(row):
        stamps.append(run_browser.stamp_run(run))
        shown.append([curve["epochs"] for curve in asking.get("/api/runs/a/facts").json()["curves"]])
        if row.epoch == 3:
            raise KeyboardInterrupt
        return False

    x, y = small_network.pictures(48)
    held = small_network.Held(*small_network.pictures(30, seed=1))
    with pytest.raises(trainer.TrainingInterrupted) as cut:
        trainer.train_network(
            small_network.network(recipe), recipe, small_network.Feed(x, y, recipe), held=held, class_weight=None,
            folder=folder, keep_epochs=True, on_epoch=look, console=Console(quiet=True), name="trial 0, fold 0",
        )  # fmt: skip
    assert len(set(stamps)) == 3, "the page is told of each"
    assert [len(epochs) for (epochs,) in shown[1:]] == [1, 2] and not shown[0]
    [curve] = asking.get("/api/runs/a/facts").json()["curves"]
    names = ("log_loss", "accuracy", "precision", "recall")
    rows = cut.value.trained.rows
    assert [row["train"] for row in curve["epochs"]] == [{n: getattr(r.train, n) for n in names} for r in rows]
    assert [row["held_out"] for row in curve["epochs"]] == [{n: getattr(r.val, n) for n in names} for r in rows]
    assert (curve["name"], curve["stopped"]) == ("trial 0, fold 0", "")


# ---------------------------------------------------------------- the desk


@pytest.fixture
def slow(monkeypatch):
    """Children that wait for Ctrl-C instead of learning, and end as the command line does."""
    code = (
        "import signal, sys, time, json\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('read        ready', file=sys.stderr, flush=True)\n"
        "try:\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    print(json.dumps({'error': {'what': 'interrupted; what is done is kept', 'exit_code': 130}}))\n"
        "    sys.exit(130)\n"
    )
    monkeypatch.setattr("headstart.studio.task_runner._START", code)


def until(true, seconds=15):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_fits_wait_for_each_other_and_can_be_stopped(asking, own, slow):
    ask = {"data": "cats", "settings": {"budget": "1m"}}
    first, second = (asking.post("/api/fits", json=ask).json() for _ in range(2))
    assert (first["run"], second["run"]) == ("cats", "cats-2")
    assert (first["state"], second["state"]) == ("running", "queued")
    task = own.tasks.require_task(first["task"])
    until(lambda: own.tasks.read_lines(task))
    assert asking.post("/api/runs/cats/resume").json()["error"]["what"].startswith("there is no run")
    assert asking.post("/api/runs/cats/cancel").status_code == 200
    until(lambda: own.tasks.find_state(task) == "cancelled")
    until(lambda: own.tasks.find_state(own.tasks.require_task(second["task"])) == "running")
    until(lambda: own.tasks.read_lines(own.tasks.require_task(second["task"])))
    third = asking.post("/api/fits", json=ask).json()
    asking.post(f"/api/runs/{third['run']}/cancel")
    assert own.tasks.find_state(own.tasks.require_task(third["task"])) == "cancelled"
    states = {one["name"]: one["state"] for one in asking.get("/api/runs").json()["runs"]}
    assert states == {"cats": "cancelled", "cats-2": "running", "cats-3": "cancelled"}
    asking.post("/api/runs/cats-2/cancel")
    until(lambda: own.tasks.find_state(own.tasks.require_task(second["task"])) == "cancelled")


def test_another_studio_finds_a_child_at_work_and_what_became_of_it(own, slow):
    task = own.tasks.start_task("fit", ["fit", "x"], run="runs/x")
    until(lambda: own.tasks.read_lines(task))
    later = TaskRunner(own.tasks.folder)
    assert later.find_state(task) == "running" and later.list_tasks() == [task]
    waits = later.start_task("fit", ["fit", "y"], run="runs/y")
    assert later.find_state(waits) == "queued"
    later.stop_task(task)
    until(lambda: later.find_state(task) == "cancelled")
    later.update_queue()
    assert later.find_state(waits) == "running"
    os.kill(later.read_start(waits)["pid"], signal.SIGKILL)
    until(lambda: later.find_state(waits) == "cut short")


def test_a_child_that_is_stopped_twice_leaves_nothing_behind(own, monkeypatch):
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, file=sys.stderr, flush=True)\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr("headstart.studio.task_runner._START", code)
    task = own.tasks.start_task("export", ["export", "x"])
    until(lambda: own.tasks.read_lines(task))
    other = int(own.tasks.read_lines(task)[0][1])
    own.tasks.stop_task(task)
    assert own.tasks.find_state(task) == "running" and process_identity.is_alive(other, "")
    own.tasks.stop_task(task)
    until(lambda: own.tasks.find_state(task) == "cancelled" and not process_identity.is_alive(other, ""))


def test_what_nobody_waits_for_any_more_is_not_begun(own, slow):
    asked = [own.tasks.start_task("predict", ["predict", "x", "y"]) for _ in range(4)]
    assert [own.tasks.find_state(task) for task in asked] == ["running"] * 3 + ["queued"]
    own.tasks.clear_tasks(("predict",))
    assert own.tasks.list_tasks() == asked[:3]
    for task in asked[:3]:
        until(lambda task=task: own.tasks.read_lines(task))
        own.tasks.stop_task(task)
    until(lambda: all(own.tasks.find_state(task) == "cancelled" for task in asked[:3]))


def test_a_number_that_was_given_to_another_process_is_not_ours():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = process_identity.find_birth(child.pid)
    assert mark and process_identity.is_alive(child.pid, mark)
    assert not process_identity.is_alive(child.pid, "1")
    child.communicate(b"\n")
    assert not process_identity.is_alive(child.pid, mark)


def test_an_error_of_a_child_is_shown_as_it_is(own):
    task = own.tasks.start_task("predict", ["predict", "nowhere", "a.jpg"])
    assert own.tasks.wait_for_end(task, seconds=60) == "failed"
    error = own.tasks.find_error(task)
    assert "`nowhere" in error["what"] and error["exit_code"] == 3


def test_events_go_on_where_a_client_was(own):
    name = "1" * 19 + "-00000000"
    folder = own.tasks.folder / name
    folder.mkdir()
    task = {"name": name, "kind": "fit", "words": ["fit"], "run": "runs/x"}
    (folder / "task.json").write_text(json.dumps(task))
    (folder / "log").write_bytes(b"read        3 pictures\n\rembed       1 of 3 pictures\nhalf a li")
    (folder / "started.json").write_text(json.dumps({"pid": 2**22 + 1, "born": "", "at": 1.0}))
    (folder / "result").write_bytes(b'{"run": "x"}')
    application = app.make_application(own, token=TOKEN, port=PORT)
    with TestClient(application, base_url=BASE, headers={"origin": BASE}) as client:
        client.get(f"/?token={TOKEN}")
        whole = client.get("/api/runs/x/events").text
        later = client.get("/api/runs/x/events", headers={"last-event-id": f"{name}.23"}).text
    assert f'id: {name}.23\nevent: line\ndata: {{"stage": "read", "text": "3 pictures", "moving": false}}' in whole
    assert '"moving": true' in whole and "half" not in whole and whole.endswith('data: {"state": "done"}\n\n')
    assert "3 pictures" not in later.split("1 of 3 pictures")[0] and "1 of 3 pictures" in later
    found = own.tasks.require_task(name)
    assert (_log_offset(found, f"{name}.20"), _log_offset(found, "another.20"), _log_offset(found, "")) == (20, 0, 0)
    assert _log_offset(found, f"{name}.²") == _log_offset(found, f"{name}.{'9' * 5000}") == 0
    assert _parse_line("warning: no space") == {"stage": "warning", "text": "no space", "moving": False}
    err = io.StringIO()
    Console(err=err).print_line("uncertainty", "measured")
    assert _parse_line(err.getvalue().rstrip()) == {"stage": "uncertainty", "text": "measured", "moving": False}


def test_an_export_is_a_command_that_can_be_watched(asking, own):
    run = fake_run(own, "a")
    told = asking.post("/api/runs/a/exports", json={"to": "onnx", "precision": "int8"}).json()
    out = own.runs.folder / "exports" / "a-onnx-int8"
    assert told["command"] == f"headstart export {run} --to onnx --precision int8 --out {out}"
    again = asking.post("/api/runs/a/exports", json={"to": "onnx", "precision": "int8"}).json()
    assert again["out"] == f"{out}-2"  # the first has its name, though its folder is not there yet
    until(lambda: own.tasks.find_state(own.tasks.require_task(again["task"])) == "failed")
    watched = asking.get(f"/api/tasks/{told['task']}/events")
    assert watched.headers["content-type"].startswith("text/event-stream")
    assert watched.text.endswith('event: end\ndata: {"state": "failed"}\n\n')
    listed = asking.get("/api/runs/a/exports").json()["exports"]
    assert [(one["to"], one["state"], one["out"]) for one in listed][1:] == [("onnx", "failed", str(out))]
    assert listed[0]["error"]["exit_code"] == 3
    assert asking.get("/api/tasks/none/events").status_code == 404
    wrong = asking.post("/api/runs/a/exports", json={"to": "pickle"}).json()["error"]
    assert (
        wrong["what"] == "`pickle` is none of keras, saved_model, onnx, openvino, litert" and wrong["where"] == "--to"
    )


# ---------------------------------------------------------------- the door


def test_one_studio_a_folder_and_one_a_port(own):
    with state.lock_studio(own), pytest.raises(BusyError, match="another studio"), state.lock_studio(own):
        raise AssertionError("it was opened twice")
    with app.bind_loopback(0) as door:
        door.listen()
        assert door.getsockname()[0] == "127.0.0.1"
        with pytest.raises(SetupError, match="cannot listen"):
            app.bind_loopback(door.getsockname()[1])


def test_the_command_line_prints_the_address_and_ends_by_ctrl_c(tmp_path):
    line = [sys.executable, "-m", "headstart", "studio", "--runs", tmp_path / "runs", "--root", tmp_path, "--port", "0"]
    child = subprocess.Popen(
        [*map(str, line), "--no-browser", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    address = json.loads(child.stdout.readline())["address"]
    assert address.startswith("http://127.0.0.1:") and "/?token=" in address
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert child.returncode in (0, 130) and "Traceback" not in said
    shutil.rmtree(tmp_path / "runs")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminal can be made here")
def test_no_process_shows_the_token_and_no_other_user_reads_the_code(tmp_path):
    """A real studio in a terminal, with a browser that notes its arguments and what `ps` shows of all processes."""
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\nprintf "%s" "$1" > {tmp_path}/arguments\ncat /proc/[0-9]*/cmdline > {tmp_path}/ps 2>/dev/null\n'
        f"touch {tmp_path}/noted\n"
    )
    browser.chmod(0o755)
    line = [sys.executable, "-m", "headstart", "studio", "--runs", tmp_path / "runs", "--root", tmp_path, "--port", "0"]
    outer, inner = os.openpty()
    environment = os.environ | {"BROWSER": f"{browser} %s"}
    child = subprocess.Popen([*map(str, line)], stdin=inner, stdout=inner, stderr=subprocess.PIPE, env=environment)
    try:
        os.close(inner)
        until((tmp_path / "noted").exists, seconds=60)
        address = os.read(outer, 1000).decode().split()[0]
        page = tmp_path / "runs" / ".studio" / "open.html"
        code = re.search('token=([^"]+)', page.read_text())[1]
        token = address.partition("token=")[2]
        assert (tmp_path / "arguments").read_text() == page.as_uri() and token != code
        shown = (tmp_path / "ps").read_bytes().decode("utf-8", "replace")
        assert "studio" in shown and token not in shown and code not in shown
        assert page.stat().st_mode & 0o777 == 0o600 and page.parent.stat().st_mode & 0o777 == 0o700
        if os.geteuid() == 0:  # another user cannot read it
            code_of_other = f"import os; os.setuid(65534); open({str(page)!r})"
            assert b"PermissionError" in subprocess.run([sys.executable, "-c", code_of_other], stderr=-1).stderr
        site = address.partition("?")[0]
        with httpx.Client(base_url=site, headers={"origin": site[:-1]}, trust_env=False) as client:
            assert client.get(f"/?token={code}").status_code == 303
            ask = {"data": "", "settings": {"costs": "/etc/passwd"}}
            refused = client.post("/api/plans", json=ask)
            assert refused.status_code == 422 and "is outside of" in refused.json()["error"]["what"]
        assert httpx.get(f"{site}?token={code}", trust_env=False).status_code == 401
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
        os.close(outer)


def test_the_command_line_refuses_what_cannot_be(tmp_path, capsys):
    from headstart.cli.main import main

    assert main(["studio", "--root", str(tmp_path / "none")]) == 2
    assert main(["studio", "--port", "70000", "--root", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "there is no folder" in told and "`70000` is not a port" in told


def test_verdicts_have_the_titles_of_the_report():
    """A verdict's answer is to one question, wherever it is shown."""
    script = Path(app.__file__).with_name("static") / "studio-run.js"
    titles = dict(re.findall(r'(\w+): "([^"]+\?)"', script.read_text()))
    assert {code: titles.get(code) for code in QUESTIONS} == QUESTIONS
