"""Picking from the catalogue: filters, order and search over the real specs."""

from functools import partial

import pytest

from headstart.backbones import latency, loading
from headstart.backbones.inventory import catalogue
from headstart.core.errors import UsageError
from headstart.core.settings import count_threads
from headstart.core.storage.files import write_json

LITE0 = "bundled:efficientnet_lite0"


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A user's cache without networks of the user's own, which lists would show."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "own"))


@pytest.fixture
def entries(store):
    return catalogue.every(store)


def picked(entries, *filters):
    return {entry["name"] for entry in catalogue.pick(entries, filters)}


def test_every_backbone_has_its_facts(entries):
    assert [entry["name"] for entry in entries] == list(loading.names())
    assert all(entry["permissive"] for entry in entries if entry["licence"] in ("MIT", "Apache-2.0", "CC-BY-4.0"))
    assert {entry["images_per_s"] for entry in entries} == {None}


def test_texts_are_compared_without_case(entries):
    assert picked(entries, "family=ResNet") == {f"keras_applications:resnet{n}" for n in (50, 101, 152)}
    assert picked(entries, "family=resnet*") > picked(entries, "family=resnet")
    assert picked(entries, "source=bundled") == {name for name in loading.names() if name.startswith("bundled:")}
    everything = {entry["name"] for entry in entries}
    assert picked(entries, "source!=bundled") == everything - picked(entries, "source=bundled")
    assert picked(entries, "weights=here") == set()
    assert picked(entries, "weights=pull") == everything


def test_permissive_is_a_licence(entries):
    one = entries[0] | {"name": "x:bound", "licence": "CC-BY-NC-4.0", "permissive": False}
    assert picked([*entries, one], "licence!=permissive") == {"x:bound"}
    assert "x:bound" not in picked([*entries, one], "license=permissive")
    assert picked([*entries, one], "licence=cc-by-nc-4.0") == {"x:bound"}


def test_numbers_are_compared_with_units(entries):
    for field, limit, text in (("params", 10e6, "10M"), ("flops", 1e9, "1G"), ("download_bytes", 5e7, "50MB")):
        name = "size" if field == "download_bytes" else field
        wanted = {entry["name"] for entry in entries if entry[field] < limit}
        assert picked(entries, f"{name}<{text}") == picked(entries, f" {name} < {text.lower()} ") == wanted
        assert picked(entries, f"{name}>={text}") == {entry["name"] for entry in entries} - wanted
    assert picked(entries, "prior>0.86") == {f"keras_applications:convnext_{size}" for size in ("large", "xlarge")}
    assert picked(entries, "px=299", "params>50000k") == {"keras_applications:inception_resnet_v2"}
    assert picked(entries, "dim<=512", "family=vgg", "source!=bundled") == {
        f"keras_applications:vgg{n}" for n in (16, 19)
    }


def test_a_word_is_searched_for(entries):
    assert picked(entries, "lite") == {f"bundled:efficientnet_lite{n}" for n in range(3)}
    assert picked(entries, "mobilenet v3") == {f"keras_applications:mobilenet_v3_{size}" for size in ("small", "large")}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("famly=resnet", "family"),
        ("family<resnet", "="),
        ("params<many", "10M"),
        ("params=", "10M"),
        ("prior>1e9e", "10M"),
        ("nothing=1", "known:"),
    ],
)
def test_a_filter_that_cannot_be_read_is_told(entries, text, word):
    with pytest.raises(UsageError) as caught:
        catalogue.pick(entries, [text])
    assert word in caught.value.format_text()


@pytest.mark.parametrize("by", catalogue.SORTS)
def test_every_order(entries, by):
    ordered = catalogue.order(entries, by)
    assert sorted(entry["name"] for entry in ordered) == sorted(loading.names())
    field = {"size": "download_bytes", "memory": "memory_bytes", "speed": "name", "latency": "name"}.get(by, by)
    values = [entry[field] for entry in ordered]
    assert values == sorted(values, reverse=by == "prior")


def test_an_unknown_order_names_the_nearest(entries):
    with pytest.raises(UsageError, match="`parms`") as caught:
        catalogue.order(entries, "parms")
    assert "`params`" in caught.value.hint


def test_search_wants_every_word(entries):
    found = catalogue.search(entries, ["ResNet-50", "v2"])
    assert [entry["name"] for entry in found] == ["keras_applications:resnet50_v2"]
    assert catalogue.search(entries, ["edge detection"])[0]["name"] == "bundled:vgg16_hed"
    assert catalogue.search(entries, ["resnet", "zebra"]) == []


def test_what_was_measured_is_told_and_comes_first(store):
    for name, speed in ((LITE0, 57.0), ("bundled:efficientnet_lite2", 36.0)):
        key = latency.key(loading.find(name).spec, threads=count_threads(), engine=loading.engine_name())
        store.make_entry(latency.KIND, key, partial(written, speed))
    entries = catalogue.order(catalogue.every(store), "speed")
    assert [entry["images_per_s"] for entry in entries[:3]] == [57.0, 36.0, None]
    assert picked(entries, "speed>=40") == {LITE0}
    assert catalogue.facts(LITE0, store)["images_per_s"] == 57.0


def written(speed, folder):
    write_json(folder / "pace.json", {"images_per_s": speed, "latency_ms": 20.0})
