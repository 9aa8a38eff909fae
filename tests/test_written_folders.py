"""What is looked for in written folders is found: names that other systems refuse, and what runs when it is read."""

import json
import pickle
import zipfile

import numpy as np
import pytest

from harmless import executable
from headstart.core import job as jobs
from headstart.core.run.opening import find_free_folder
from portable import absolute_paths, bad_name, unportable


@pytest.mark.parametrize(
    "name", ["con", "PRN.txt", "com1.json", "a:b", "what?", "a|b", "back\\slash", "dot.", "blank ", "tab\t", "x" * 201]
)
def test_names_that_windows_refuses(name):
    assert bad_name(name)


@pytest.mark.parametrize("name", ["console", "trunk0", "a.b.json", ".lock", "größe.npy", "com10"])
def test_names_that_every_system_takes(name):
    assert not bad_name(name)


def test_names_that_differ_by_case_alone_links_and_paths_of_this_machine(tmp_path):
    root = tmp_path / "run"
    (root / "model").mkdir(parents=True)
    (root / "model" / "a.json").write_text(json.dumps({"file": "model/a.json"}))
    assert unportable(root) == [] and absolute_paths(root) == []
    (root / "model" / "A.json").write_text(str(root / "model"))
    (root / "link").symlink_to(root / "model" / "a.json")
    assert unportable(root) == ["link", "model/a.json"]
    assert [told.split(":")[0] for told in absolute_paths(root)] == ["model/A.json"]


@pytest.mark.parametrize("name", ["a:b", "con.", "half open ", "x?*y", "..."])
def test_a_run_is_named_after_any_data_in_a_way_that_every_system_takes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_free_folder(name, jobs.make_job(data="unused"))
    assert found.parent.name == "runs" and not bad_name(found.name)


def test_what_runs_is_found(tmp_path):
    good = tmp_path / "good"
    good.mkdir()
    np.save(good / "a.npy", np.arange(3))
    (good / "b.json").write_text('{"class_name": "Dense"}')
    (good / "empty").touch()
    assert executable(good) == []
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "weights.bin").write_bytes(pickle.dumps({"a": 1}))
    (bad / "old.bin").write_bytes(pickle.dumps([1, 2], protocol=0))
    (bad / "layer.json").write_text(json.dumps({"class_name": "Lambda"}))
    (bad / "run.sh").write_text("true")
    (bad / "tool").write_bytes(b"#!/bin/sh\n")
    (bad / "tool").chmod(0o755)
    with zipfile.ZipFile(bad / "m.keras", "w") as packed:
        packed.writestr("config.json", json.dumps({"config": {"class_name": "__lambda__"}}))
    found = {told.split(":")[0] for told in executable(bad)}
    assert found == {"weights.bin", "old.bin", "layer.json", "run.sh", "tool", "m.keras"}
    assert "tool: may be executed" in executable(bad)
    np.save(bad / "objects.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        executable(bad)
