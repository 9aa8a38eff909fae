"""Labelling in the studio: saved at each key, resumed by another studio, nothing outside shown; and fitted again."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from headstart.core.storage.files import write_json
from headstart.studio import app, state

TOKEN, PORT = "a-token-of-this-session", 7862
BASE = f"http://127.0.0.1:{PORT}"


@pytest.fixture
def own(tmp_path):
    for number in range(3):
        (tmp_path / "new").mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), (number * 60, 90, 90)).save(tmp_path / "new" / f"{number}.png")
    studio = state.open_studio(tmp_path / "runs", tmp_path / "new")
    write_run(studio, classes=["cat", "dog"])
    return studio


@pytest.fixture
def asking(own):
    application = app.make_application(own, token=TOKEN, port=PORT)
    with TestClient(application, base_url=BASE, headers={"origin": BASE}) as client:
        client.get(f"/?token={TOKEN}", follow_redirects=False)
        yield client


def write_run(studio, name="first", *, classes, task="classification", job=""):
    run = studio.runs.folder / name
    (run / "read").mkdir(parents=True, exist_ok=True)
    write_json(run / "read" / "value.json", {"task": task, "class_names": classes, "unlabelled": ["a.png"]})
    (run / "job.toml").write_text(f'data = "{studio.places.root}"\nbudget = "1m"\n{job}')
    write_json(run / "format.json", {"format": 1})
    return run


def suggest(studio, files, *, most=50, run="first"):
    """What is left of a `headstart suggest` that has ended."""
    task = studio.tasks.folder / f"{len(list(studio.tasks.folder.iterdir())):019d}-0a0a0a0a"
    words = ["suggest", str(studio.runs.folder / run), "-n", str(most)]
    write_json(task / "task.json", {"name": task.name, "kind": "suggest", "words": words, "run": f"runs/{run}"})
    write_json(task / "started.json", {"pid": 2**30, "born": "", "at": 0})
    rows = [{"file": str(file), "answer": "cat", "uncertainty": 0.5, "label": ""} for file in files]
    (task / "result").write_text("".join(json.dumps(row) + "\n" for row in rows))


def pictures(studio):
    return sorted(studio.places.root.glob("*.png"))


def label(client, row, text, run="first"):
    return client.post(f"/api/runs/{run}/labels", json={"row": row, "label": text})


def read_rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_each_label_is_on_disk_and_another_studio_goes_on(own, asking, tmp_path):
    suggest(own, pictures(own)[:2])
    shown = asking.get("/api/runs/first/labels").json()
    assert [row["name"] for row in shown["rows"]] == ["0.png", "1.png"] and shown["unlabelled"] == 1
    assert (shown["task"], shown["classes"]) == ("classification", ["cat", "dog"])
    assert label(asking, 1, " =cow ").json() == {"row": 1, "label": "=cow", "labelled": 1}
    table = Path(shown["table"])
    assert [row["label"] for row in read_rows(table)] == ["", "'=cow"]  # no formula for a spreadsheet
    later = state.open_studio(own.runs.folder, own.places.root)  # as after the first was killed
    suggest(later, pictures(own), most=3)
    with TestClient(app.make_application(later, token=TOKEN, port=PORT), base_url=BASE) as client:
        client.get(f"/?token={TOKEN}", follow_redirects=False)
        for _ in range(2):  # what is suggested is added once
            rows = client.get("/api/runs/first/labels").json()["rows"]
            assert [(row["name"], row["label"]) for row in rows] == [("0.png", ""), ("1.png", "=cow"), ("2.png", "")]
    assert label(asking, 1, "").json()["labelled"] == 0


def test_what_was_suggested_on_top_of_the_count_is_left_out(own, asking):
    suggest(own, pictures(own)[:1], most=1)
    assert len(asking.get("/api/runs/first/labels").json()["rows"]) == 1
    suggest(own, pictures(own)[1:], most=2)
    assert len(asking.get("/api/runs/first/labels").json()["rows"]) == 2


def test_the_command_names_the_run_the_pictures_and_how_many_are_there(own, asking):
    suggest(own, pictures(own)[:2])
    asked = asking.post("/api/runs/first/suggestions", json={"data": "", "count": 5}).json()
    assert asked["command"] == f"headstart suggest {own.runs.folder / 'first'} -n 7"
    folder = {"data": str(own.places.root), "count": 1}
    command = asking.post("/api/runs/first/suggestions", json=folder).json()["command"]
    assert command == f"headstart suggest {own.runs.folder / 'first'} {own.places.root} -n 3"


@pytest.mark.parametrize(
    ("task", "classes", "text", "told"),
    [
        ("classification", ["a"], "a|b", "is several labels"),
        ("classification", ["a"], "nan", "means that a label is missing"),
        ("classification", ["a"], "a\u202eb", "printable characters"),
        ("classification", ["a"], "x" * 201, "printable characters"),
        ("regression", [], "deep", "is no number"),
        ("ordinal", ["1", "2"], "3", "is none of the grades 1, 2"),
    ],
)
def test_a_label_that_cannot_be_learnt_is_refused(own, asking, task, classes, text, told):
    write_run(own, classes=classes, task=task)
    suggest(own, pictures(own))
    refused = label(asking, 0, text)
    assert refused.status_code == 422 and told in refused.json()["error"]["what"]
    assert asking.get("/api/runs/first/labels").json()["rows"][0]["label"] == ""


def test_several_labels_none_of_them_and_numbers_are_kept(own, asking):
    write_run(own, classes=["a", "b"], task="multilabel")
    suggest(own, pictures(own))
    assert [label(asking, row, text).json()["label"] for row, text in enumerate(["a|b", "|", "c"])] == ["a|b", "|", "c"]
    write_run(own, "depth", classes=[], task="regression")
    suggest(own, pictures(own), run="depth")
    assert label(asking, 0, "12.5", run="depth").json()["labelled"] == 1


def test_only_pictures_of_the_table_are_shown_and_only_those_inside_are_looked_at(own, asking, tmp_path):
    suggest(own, pictures(own)[:1])
    assert asking.get("/api/runs/first/labels/0/picture").headers["content-type"] == "image/jpeg"
    for row in (-1, 1, 99):
        assert asking.get(f"/api/runs/first/labels/{row}/picture").status_code == 404
        assert label(asking, row, "cat").status_code == 404
    Image.new("RGB", (9, 9)).save(tmp_path / "mine.png")
    (own.places.root / "outside.csv").write_text(f"file\n0.png\n{tmp_path / 'mine.png'}\n")
    (own.places.root / "link").symlink_to(tmp_path)
    for data in (str(tmp_path), "outside.csv", "..", "link"):
        refused = asking.post("/api/runs/first/suggestions", json={"data": data, "count": 5})
        assert refused.status_code == 422 and "is outside of" in refused.json()["error"]["what"], data
    for count in (0, 1001):
        assert asking.post("/api/runs/first/suggestions", json={"data": "", "count": count}).status_code == 422
    assert asking.get("/api/runs/absent/labels").status_code == 404


def test_a_table_of_more_labels_names_no_pictures_outside(own, asking, tmp_path):
    root = own.places.root
    for name in ("a", "b"):
        (root / "set" / name).mkdir(parents=True)
        Image.new("RGB", (9, 9), "red" if name == "a" else "blue").save(root / "set" / name / "1.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "mine.png")
    for file, status in ((root / "0.png", 200), (tmp_path / "mine.png", 422)):
        (root / "more.csv").write_text(f"file,label\n{file},a\n")
        asked = {"data": "set", "settings": {"more": "more.csv"}}
        assert asking.post("/api/commands/fit", json=asked).status_code == status


@pytest.mark.parametrize("path", ["labels", "labels/0/picture"])
def test_a_stranger_sees_no_labels(own, path):
    suggest(own, pictures(own))
    with TestClient(app.make_application(own, token=TOKEN, port=PORT), base_url=BASE) as stranger:
        assert stranger.get(f"/api/runs/first/{path}").status_code == 401
        for change in ("labels", "suggestions", "refits"):
            assert stranger.post(f"/api/runs/first/{change}", json={}, headers={"origin": BASE}).status_code == 401
            assert stranger.post(f"/api/runs/first/{change}", json={}).status_code == 403


def test_a_new_fit_learns_from_a_copy_and_what_was_learnt_before(own, asking, tmp_path):
    earlier = own.places.root / "earlier.csv"
    earlier.write_text("img,class,patient\n0.png,cat,p1\n1.png,cat,p2\n")
    write_run(own, classes=["cat", "dog"], job=f'seed = 7\nmore = "{earlier}"\n')
    suggest(own, pictures(own)[1:])
    assert asking.post("/api/runs/first/refits").json()["error"]["what"] == "no picture has a label yet"
    label(asking, 0, "dog")  # 1.png, otherwise than before
    label(asking, 1, "cat")
    fit = asking.post("/api/runs/first/refits").json()
    table = own.home / "labels" / fit["run"] / "learnt.csv"
    words = f"--budget 1m --strategy probe --seed 7 --more {table} --test-of {own.runs.folder / 'first'}"
    assert fit["command"] == f"headstart fit {own.places.root} {words} --out {own.runs.folder / fit['run']}"
    root = own.places.root
    assert read_rows(table) == [
        {"img": str(root / "0.png"), "class": "cat", "patient": "p1"},
        {"img": str(root / "1.png"), "class": "dog", "patient": "p2"},
        {"img": str(root / "2.png"), "class": "cat", "patient": ""},
    ]
    label(asking, 1, "dog")
    assert [row["class"] for row in read_rows(table)] == ["cat", "dog", "cat"]
