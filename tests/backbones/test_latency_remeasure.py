"""Speed and memory of a trunk that is ready here, measured again."""

import json

import numpy as np
import pytest

import hub_server
from headstart.backbones import latency, loading
from headstart.cli.main import main
from headstart.core.console import Console
from headstart.core.settings import count_threads
from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json, write_json
from headstart.networks import openvino_engine

NAME = "huggingface:acme/small-net"
QUIET = Console(quiet=True)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A cache of this test's own with a small trunk whose pace was taken while the machine stood nearly still."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path / "mirror"))
    hub_server.repository(tmp_path / "mirror" / "huggingface" / "acme" / "small-net")
    store, found = Store(tmp_path / "own"), loading.find_backbone(NAME, fetching=True, console=QUIET)
    pictures = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    loading.load_engine(found, store, QUIET, pictures, threads=count_threads())
    folder = store.entry_path(
        latency.KIND, latency.latency_key(found.spec, threads=count_threads(), engine=openvino_engine.engine_name())
    )
    measured = read_json(folder / "pace.json")
    assert measured["images_per_s"] > 20 and measured["latency_ms"] < 1000
    (folder / "seal.json").unlink()
    folder_again = store.make_entry(
        latency.KIND,
        folder.name,
        lambda draft: write_json(draft / "pace.json", {"images_per_s": 0.5, "latency_ms": 2e3}),
    )
    assert folder_again == folder and latency.read_latency(found.spec, store)["images_per_s"] == 0.5
    return store


def test_what_was_taken_on_a_busy_machine_is_taken_again(own, capsys):
    assert main(["backbones", "measure", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["measured"]
    assert one["name"] == NAME and one["before"] == {"images_per_s": 0.5, "latency_ms": 2000.0}
    assert one["now"]["images_per_s"] > 20 and latency.read_latency(loading.find_backbone(NAME).spec, own) == one["now"]
    assert main(["backbones", "measure", NAME]) == 0
    assert NAME in capsys.readouterr().out
    assert main(["backbones", "show", NAME]) == 0
    shown = capsys.readouterr().out
    assert "images/s here, one alone in" in shown and ("measured here" in shown) == ("memory_bytes" in one["now"])


def test_one_that_is_not_ready_is_named(own, capsys):
    assert main(["backbones", "measure", NAME, "vgg19"]) == 2
    assert "the trunk of `keras_applications:vgg19`" in capsys.readouterr().err
    assert latency.read_latency(loading.find_backbone(NAME).spec, own)["images_per_s"] == 0.5


def test_a_busy_machine_is_warned_of(monkeypatch, capsys):
    monkeypatch.setattr("os.getloadavg", lambda: (9000.0, 0.0, 0.0))
    latency.warn_if_busy(Console(quiet=True))
    assert "the machine is busy (load 9000.0" in capsys.readouterr().err
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 9000.0, 9000.0))
    latency.warn_if_busy(Console(quiet=True))
    assert capsys.readouterr().err == ""
