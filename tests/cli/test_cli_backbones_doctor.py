"""What is told of backbones and of the machine, without loading or fetching anything."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from headstart.backbones import loading
from headstart.cli import machine_check
from headstart.cli.main import main
from headstart.core.extras import EXTRAS


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def said(capsys, *words, code=0):
    """The one JSON object that a command prints."""
    assert main([*words, "--json"]) == code
    [line] = capsys.readouterr().out.splitlines()
    return json.loads(line)


def test_the_list_has_every_backbone_with_its_facts(empty_cache, capsys):
    entries = said(capsys, "backbones", "list")["backbones"]
    assert [entry["name"] for entry in entries] == list(loading.list_backbones())
    for entry in entries:
        assert entry["params"] > 0
        assert entry["flops"] > 0
        assert entry["licence"]
        assert not entry["weights_here"]
    assert main(["backbones", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(entries)
    assert {"GFLOPs", "licence", "params"} <= set(lines[0].split())


def test_looking_makes_no_cache(empty_cache, capsys):
    main(["backbones", "list"])
    main(["doctor"])
    assert not empty_cache.exists()


def test_show_has_the_small_print(empty_cache, capsys):
    assert main(["backbones", "show", "bundled:efficientnet_lite0"]) == 0
    page = capsys.readouterr().out
    for word in ("Apache-2.0", "depths", "pull bundled:efficientnet_lite0", "trained on", "px"):
        assert word in page


@pytest.mark.parametrize("action", ["show", "pull"])
def test_an_unknown_backbone_names_the_nearest(empty_cache, action, capsys):
    assert main(["backbones", action, "bundled:eficientnet_lite0"]) == 2
    assert "`bundled:efficientnet_lite0`" in capsys.readouterr().err


def test_an_unknown_action_and_a_missing_name(empty_cache, capsys):
    assert main(["backbones", "shwo", "x"]) == 2
    assert "`show`" in capsys.readouterr().err
    assert main(["backbones", "pull"]) == 2
    assert "NAME" in capsys.readouterr().err


@pytest.mark.medium
def test_pull_keeps_what_is_here(shared_store, capsys):
    [pulled] = said(capsys, "backbones", "pull", "bundled:efficientnet_lite0")["pulled"]
    assert pulled["name"] == "bundled:efficientnet_lite0"
    assert loading.find_backbone(pulled["name"]).source.available("efficientnet_lite0", shared_store)


def test_doctor_finds_this_machine_in_order(empty_cache, capsys):
    found = said(capsys, "doctor")
    assert found["missing"] == []
    assert {"numpy", "openvino", "pillow"} <= found["packages"].keys()
    assert all(f"{name} " in found["extras"]["fit"] for name in ("keras", "tensorflow", "scikit-learn"))
    assert found["extras"].keys() == EXTRAS.keys()
    assert found["engine"]["inference"].startswith("OpenVINO ")
    assert found["engine"]["training"].startswith("Keras ")
    assert found["cache"]["folder"] == str(empty_cache)
    assert found["cache"]["bytes"] == 0
    assert found["cache"]["free_bytes"] > 0
    assert found["weights"] == dict.fromkeys(loading.list_backbones(), False)
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "nothing that is needed is missing" in text
    assert all(name in text for name in loading.list_backbones())
    assert "headstart backbones pull" in text


def test_doctor_measures_the_cache(empty_cache, capsys):
    (empty_cache / "kind").mkdir(parents=True)
    (empty_cache / "kind" / "file").write_bytes(bytes(1234))
    assert said(capsys, "doctor")["cache"]["bytes"] == 1234


def test_doctor_tells_of_a_cache_that_cannot_be_read(empty_cache, tmp_path):
    machine_check.check_machine()  # loads all that it needs
    (tmp_path / "cache" / "weights").mkdir(parents=True)
    (tmp_path / "cache").chmod(0)
    child = os.fork()
    if child == 0:  # root reads everything
        os.setuid(65534)
        whats = [each["what"] for each in machine_check.check_machine()["missing"]]
        os._exit(0 if any("cannot be read: Permission denied" in what for what in whats) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_doctor_names_what_is_missing_and_how_to_get_it(empty_cache, monkeypatch, capsys):
    monkeypatch.setattr(
        machine_check.metadata, "requires", lambda name: ["no-such-package>=2.1", "numpy>=99.0", "pillow>=1"]
    )
    found = said(capsys, "doctor", code=3)
    assert [entry["fix"] for entry in found["missing"]] == [
        'python -m pip install "no-such-package>=2.1"',
        'python -m pip install "numpy>=99.0"',
    ]
    assert found["packages"]["no-such-package"] == "not installed"


def test_doctor_reads_extras_apart_from_needs(empty_cache, monkeypatch):
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = declared["optional-dependencies"]  # an installation repeats them so
    more = [f'{one}; extra == "{extra}"' for extra, wanted in extras.items() for one in wanted]
    monkeypatch.setattr(machine_check.metadata, "requires", lambda name: ["tensorflow<3,>=2.21", *more])
    needed, found = machine_check.read_requirements()
    assert needed == {"tensorflow": "2.21"}
    assert (
        found["int8"] == ["nncf"] and found["hub"] == ["huggingface-hub", "keras-hub"] and found.keys() == extras.keys()
    )


def test_doctor_flags_a_mirror_that_can_give_nothing(empty_cache, monkeypatch, tmp_path, capsys):
    for place, why in ((tmp_path / "no_such", "there is no folder"), ("s3://bucket/x", "`s3://` cannot be read")):
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(place))
        [missing] = said(capsys, "doctor", code=3)["missing"]
        assert why in missing["what"] and missing["fix"]
    for place in (tmp_path.as_uri(), "https://mirror.example"):
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", place)
        assert said(capsys, "doctor")["missing"] == []


def test_doctor_shows_which_hub_is_asked(empty_cache, monkeypatch, capsys):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert said(capsys, "doctor")["settings"]["HF_ENDPOINT"] == "https://huggingface.co (not set)"
    monkeypatch.setenv("HF_ENDPOINT", "https://me:hunter2@hub.example")
    shown = said(capsys, "doctor")["settings"]["HF_ENDPOINT"]
    assert "hub.example" in shown and "hunter2" not in shown and "not set" not in shown


def test_doctor_shows_no_secret(empty_cache, monkeypatch, capsys):
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", "https://user:hunter2@mirror.example/weights?token=hunter3")
    monkeypatch.setenv("HEADSTART_CACHEE", "hunter4")
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "hunter" not in text
    assert "mirror.example/weights" in text
    assert "HEADSTART_CACHEE" in text
    assert "`HEADSTART_CACHE`" in text


def test_doctor_names_the_training_backend(empty_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert " on tensorflow " in machine_check.describe_training()
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    assert " on jax " in machine_check.describe_training()
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert " on torch " in machine_check.describe_training()


def test_neither_loads_a_framework(empty_cache):
    code = (
        "import sys\nfrom headstart.cli.main import main\n"
        "main(['doctor', '--quiet'])\nmain(['backbones', 'list'])\n"
        "print(*{'keras', 'tensorflow', 'openvino', 'sklearn', 'scipy', 'PIL'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
