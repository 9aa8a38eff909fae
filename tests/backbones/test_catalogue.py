"""The catalogue: facts and search over the real specs."""

from functools import partial

import pytest

from headstart.backbones import latency, loading
from headstart.backbones.inventory import catalogue
from headstart.core.settings import count_threads
from headstart.core.storage.files import write_json
from headstart.networks import openvino_engine

LITE0 = "bundled:efficientnet_lite0"


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A user's cache without networks of the user's own, which lists would show."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "own"))


@pytest.fixture
def entries(store):
    return catalogue.list_facts(store)


def test_every_backbone_has_its_facts(entries):
    assert [entry["name"] for entry in entries] == list(loading.list_backbones())
    assert all(entry["permissive"] for entry in entries if entry["licence"] in ("MIT", "Apache-2.0", "CC-BY-4.0"))
    assert {entry["images_per_s"] for entry in entries} == {None}


def test_search_wants_every_word(entries):
    found = catalogue.search_facts(entries, ["ResNet-50", "v2"])
    assert [entry["name"] for entry in found] == ["keras_applications:resnet50_v2"]
    assert catalogue.search_facts(entries, ["edge detection"])[0]["name"] == "bundled:vgg16_hed"
    assert catalogue.search_facts(entries, ["resnet", "zebra"]) == []


def test_what_was_measured_is_told(store):
    key = latency.latency_key(
        loading.find_backbone(LITE0).spec, threads=count_threads(), engine=openvino_engine.engine_name()
    )
    store.make_entry(latency.KIND, key, partial(written, 57.0))
    assert catalogue.read_facts(LITE0, store)["images_per_s"] == 57.0


def written(speed, folder):
    write_json(folder / "pace.json", {"images_per_s": speed, "latency_ms": 20.0})
