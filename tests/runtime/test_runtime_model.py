"""A saved model answers: in order, streaming, whatever the files are."""

import dataclasses
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headstart.core import model_manifest
from headstart.core.types import Feature
from headstart.runtime.inputs import decoded_batches
from headstart.runtime.model import load
from headstart.testing.tiny_model import write_tiny_model, write_tiny_trunk

COLOURS = ("red", "green", "blue")


def test_it_answers_what_the_pictures_show(saved, paint):
    files = [paint(f"{i}.png", colour) for i, colour in enumerate(COLOURS)]
    found = list(load(saved).predict(files))
    assert [p.answer for p in found] == list(COLOURS)
    assert [p.uri for p in found] == [str(file) for file in files]
    assert all(sum(p.probabilities.values()) == pytest.approx(1, abs=1e-6) for p in found)
    assert found[0].probabilities["red"] == max(found[0].probabilities.values()) > 0.9


def test_features_come_under_their_names(saved, paint):
    [chunk] = load(saved).extract_features([paint("a.png", "red")])
    np.testing.assert_allclose(chunk.features["tiny:32", "deep"], [[255, 0, 0]], atol=1e-3)
    np.testing.assert_allclose(chunk.features["tiny:32", "shallow"], [[255, 0, 0]], atol=1e-3)


def test_order_is_kept_over_many_batches(saved, paint):
    by_colour = {colour: paint(f"{colour}.png", colour) for colour in COLOURS}
    wanted = [COLOURS[i * i % 3] for i in range(5 * decoded_batches.INFERENCE_BATCH + 3)]
    found = list(load(saved).predict(by_colour[colour] for colour in wanted))
    assert [p.answer for p in found] == wanted


def test_the_same_pictures_give_the_same_bits(saved, paint):
    files = [paint(f"{i}.png", (i * 7 % 256, i * 31 % 256, i * 3 % 256)) for i in range(40)]
    assert list(load(saved).predict(files)) == list(load(saved).predict(files))


def test_it_streams_and_looks_only_a_few_batches_ahead(saved, paint):
    file, taken = paint("a.png", "red"), 0

    def endless():
        nonlocal taken
        for _ in itertools.count():
            taken += 1
            yield file

    found = load(saved).predict(endless())
    assert next(found).answer == "red"
    ahead = taken
    assert ahead <= 8 * decoded_batches.INFERENCE_BATCH
    for _ in range(10 * decoded_batches.INFERENCE_BATCH):
        next(found)
    assert taken - 10 * decoded_batches.INFERENCE_BATCH <= ahead + decoded_batches.INFERENCE_BATCH
    found.close()


def test_a_bad_file_costs_one_row(saved, paint, tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no picture")
    good = paint("good.png", "green")
    half = tmp_path / "half.png"
    half.write_bytes(good.read_bytes()[:60])
    files = [tmp_path / "empty.jpg", good, tmp_path / "text.jpg", tmp_path / "none.jpg", half, tmp_path / "no", good]
    found = list(load(saved).predict(files, errors="rows"))
    assert [bool(p.error) for p in found] == [True, False, True, True, True, True, False]
    assert all(not p.answer and not p.probabilities for p in found if p.error)
    assert found[1].answer == found[6].answer == "green"
    assert found[3].error.startswith("missing: ")


def test_only_bad_files(saved, tmp_path):
    found = list(load(saved).predict([tmp_path / str(i) for i in range(70)], errors="rows"))
    assert len(found) == 70
    assert all(p.error for p in found)
    assert list(load(saved).predict([])) == []


def test_names_of_any_bytes(saved, paint):
    name = os.fsdecode(b"caf\xe9\n.png")
    [found] = load(saved).predict([paint(name, "red")])
    assert found.answer == "red"
    assert found.uri.endswith(name)


def test_two_trunks_of_different_sizes(paint, tmp_path):
    folder = write_tiny_model(tmp_path / "two")
    known, other = model_manifest.read_manifest(folder), write_tiny_trunk(folder, "trunk1", size_px=16)
    features = (Feature(backbone="tiny:16", depth="deep", dim=3), Feature(backbone="tiny:32", depth="deep", dim=3))
    model_manifest.write_manifest(dataclasses.replace(known, trunks=(*known.trunks, other), features=features), folder)
    files = [paint(f"{colour}.png", colour) for colour in COLOURS] * 30
    assert [p.answer for p in load(folder).predict(files)] == ["red", "green", "blue"] * 30


def test_a_threshold_and_costs_decide(paint, tmp_path):
    file = paint("mixed.png", (120, 130, 0))
    for name, rule, answer in (
        ("plain", model_manifest.Decision(positive="", threshold=None, costs=None), "green"),
        ("threshold", model_manifest.Decision(positive="red", threshold=0.1, costs=None), "red"),
        (
            "costs",
            model_manifest.Decision(positive="", threshold=None, costs=((0, 9, 9), (0, 9, 9), (0, 9, 9))),
            "blue",
        ),
    ):
        [found] = load(write_tiny_model(tmp_path / name, decision=rule)).predict([file])
        assert found.answer == answer
        assert max(found.probabilities, key=found.probabilities.get) == "green"


def test_a_temperature_softens_without_changing_the_answer(paint, tmp_path):
    file = paint("mixed.png", (120, 130, 0))
    [sharp] = load(write_tiny_model(tmp_path / "sharp")).predict([file])
    soft = load(write_tiny_model(tmp_path / "soft", calibration=model_manifest.Calibration(temperature=4.0)))
    [softened] = soft.predict([file])
    assert softened.answer == sharp.answer
    assert softened.probabilities["green"] < sharp.probabilities["green"]
    assert sum(softened.probabilities.values()) == pytest.approx(1, abs=1e-6)


def test_folders_are_walked_in_order_and_loops_end(paint, tmp_path):
    for name in ("b/2.png", "b/1.PNG", "a.png", "c/.hidden.png", "c/d/x.png"):
        paint(name, "red")
    root = tmp_path / "pictures"
    (root / "notes.txt").write_text("no picture")
    (root / "b" / "loop").symlink_to(root, target_is_directory=True)
    found = [p.relative_to(root).as_posix() for p in decoded_batches.walk_paths([root])]
    assert found == ["a.png", "b/1.PNG", "b/2.png", "c/d/x.png"]
    assert list(decoded_batches.walk_paths([root / "notes.txt"])) == [root / "notes.txt"]  # named, so handed on


def test_a_folder_that_vanished_has_a_row(saved, paint, tmp_path):
    for name in ("a.jfif", "b/1.png", "c.png"):
        paint(name, "red")
    root = tmp_path / "pictures"
    walked = decoded_batches.walk_paths([root])
    assert next(walked) == root / "a.jfif"
    shutil.rmtree(root / "b")
    found = list(load(saved).predict(walked, errors="rows"))
    assert [(p.uri, p.answer) for p in found] == [(str(root / "b"), ""), (str(root / "c.png"), "red")]
    assert "No such file" in found[0].error


@pytest.mark.medium
def test_nothing_heavy_is_loaded_and_no_connection_is_made(saved, paint):
    code = (
        "import socket, sys, pathlib\n"
        "def refuse(*a): raise AssertionError('a connection')\n"
        "socket.socket.connect = socket.socket.connect_ex = refuse\n"
        "from headstart.runtime.model import load\n"
        "[found] = load(sys.argv[1]).predict([pathlib.Path(sys.argv[2])])\n"
        "assert found.answer == 'red'\n"
        "heavy = {'keras', 'tensorflow', 'sklearn', 'scipy', 'matplotlib', 'jinja2', 'pandas', 'torch'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, saved, paint("a.png", "red")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_uris_are_the_files_as_given(saved, paint, monkeypatch):
    file = paint("a.png", "red")
    monkeypatch.chdir(file.parent)
    [found] = load(saved).predict([Path("a.png")])
    assert found.uri == "a.png"


@pytest.mark.parametrize("kind", [str, Path])
def test_one_picture_need_not_stand_in_a_list(tmp_path, paint, kind):
    import headstart

    model = write_tiny_model(tmp_path / "run" / "model")
    (tmp_path / "run" / "format.json").write_text('{"format": 1}')
    one = kind(paint("a.png", "red"))
    for found in (
        headstart.load(tmp_path / "run").predict(one),
        load(model).predict(one),
        (each.prediction for each in headstart.explain(model, one)),
    ):
        assert [(told.uri, told.answer, told.error) for told in found] == [(str(one), "red", "")]
