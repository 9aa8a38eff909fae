"""The index of names: sealed by its digest, refused when anything in it is no plain fact, and never in the way."""

import dataclasses
import hashlib
import json

import pytest

from headstart.backbones import loading, remote_index
from headstart.backbones.inventory import catalogue
from headstart.backbones.remote_index import IndexEntry
from headstart.core.errors import DataError
from headstart.core.storage.cache import Store

ONE = IndexEntry(
    name="huggingface:acme/one",
    family="vit",
    revision="a" * 40,
    licence="mit",
    pretrained_on="imagenet-1k",
    method="supervised",
    domains=("photos",),
    task="image-classification",
    gated=False,
    updated="2026-01-31",
)
TWO = dataclasses.replace(ONE, name="huggingface:acme/two", licence="cc-by-nc-4.0", domains=("medical",))
PRESET = dataclasses.replace(ONE, name="keras_hub:resnet_9000_imagenet", family="resnet")


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A user's cache without networks of the user's own, which lists would show."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "own"))


def take(store, *entries, **how):
    return remote_index.install_index(remote_index.encode_index(entries), store, origin="a test", **how)


def row(**other):
    return json.loads(remote_index.encode_index([ONE]))["entries"][0] | other


def file_of(*rows, **other):
    return json.dumps({"format": 1, "entries": list(rows), **other}).encode()


def test_the_file_is_named_by_its_digest_and_the_same_names_give_the_same_bytes(store):
    found = take(store, TWO, ONE)
    assert remote_index.encode_index([ONE, TWO]) == found.path.read_bytes()
    assert found.path.stem == found.sha256 == hashlib.sha256(found.path.read_bytes()).hexdigest()
    assert dict(remote_index.read_index(store)) == {ONE.name: ONE, TWO.name: TWO}
    assert (
        remote_index.list_entries("huggingface", store) == (ONE, TWO)
        and remote_index.list_entries("keras_hub", store) == ()
    )
    assert (
        remote_index.read_origin(store)["sha256"] == found.sha256
        and remote_index.read_origin(store)["origin"] == "a test"
    )


def test_what_is_new_changed_and_gone_is_told(store):
    assert take(store, ONE, TWO).new == (ONE.name, TWO.name)
    second = take(store, dataclasses.replace(ONE, licence="apache-2.0"), PRESET)
    assert (second.new, second.changed, second.gone) == ((PRESET.name,), (ONE.name,), (TWO.name,))
    third = take(store, dataclasses.replace(ONE, licence="apache-2.0"), PRESET)
    assert (third.new, third.changed, third.gone) == ((), (), ()) and third.count == 2
    assert sorted(path.name for path in third.path.parent.iterdir()) == sorted([third.path.name, "current.json"])


def test_a_known_digest_can_be_asked_for(store):
    sha256 = hashlib.sha256(remote_index.encode_index([ONE])).hexdigest()
    take(store, TWO)
    with pytest.raises(DataError, match=f"expected `{'0' * 64}`; the one before stays"):
        take(store, ONE, sha256="0" * 64)
    assert set(remote_index.read_index(store)) == {TWO.name}
    take(store, ONE, sha256=sha256.upper())
    assert set(remote_index.read_index(store)) == {ONE.name}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"[" * 100_000,
        file_of(row(), format=2),
        file_of(row(), row()),
        file_of("x"),
        file_of({"name": ONE.name}),
        json.dumps({"format": 1, "entries": {}}).encode(),
        *(
            file_of(row(name=name))
            for name in (
                "huggingface:../../etc/passwd",
                "huggingface:acme/..",
                "huggingface:acme/a/b",
                "huggingface:acme/one\n",
                "huggingface:acme/\x1b[2Jone",
                "huggingface:acme/one\u202e",
                "huggingface:acme/" + "x" * 400,
                "keras_hub:../x",
                "keras_hub:a/b",
                "run:/tmp/x",
                "bundled:efficientnet_lite0",
                "saved_file:mine",
                "",
                7,
            )
        ),
        file_of(row(licence="mit\x1b]0;x\x07")),
        file_of(row(family="a\nb")),
        file_of(row(task="x" * 301)),
        file_of(row(domains=["photos", 7])),
        file_of(row(domains="photos")),
        file_of(row(gated="no")),
        file_of(row(revision=None)),
    ],
)
def test_a_hostile_or_broken_index_is_refused_and_the_old_one_stays(store, content):
    before = take(store, TWO)
    with pytest.raises(DataError) as caught:
        remote_index.install_index(content, store, origin="somewhere")
    assert caught.value.format_text().isprintable() or "\x1b" not in caught.value.format_text()
    assert set(remote_index.read_index(store)) == {TWO.name} and before.path.is_file()
    assert sorted(path.name for path in before.path.parent.iterdir()) == sorted([before.path.name, "current.json"])


def test_a_damaged_index_is_reported_and_stops_nothing(tmp_path):
    told = []
    store = Store(tmp_path / "cache", report=told.append)
    found = take(store, ONE)
    found.path.write_bytes(found.path.read_bytes().replace(b"mit", b"MIT"))
    assert (
        remote_index.read_index(store) == {}
        and "not those of its SHA-256" in told[-1]
        and remote_index.SYNC_COMMAND in told[-1]
    )
    assert ONE.name not in {entry["name"] for entry in catalogue.list_index_facts(store)}
    found.path.unlink()
    assert remote_index.read_index(store) == {} and "it is gone" in told[-1]
    (found.path.parent / "current.json").write_text('{"sha256": "../../x"}')
    assert remote_index.read_index(store) == {} and "it has no SHA-256" in told[-1]
    assert take(store, ONE).new == (ONE.name,)


def test_without_an_index_nothing_is_said(tmp_path):
    told = []
    assert remote_index.read_index(Store(tmp_path / "cache", report=told.append)) == {} and told == []


def test_other_peoples_texts_become_one_short_plain_line():
    assert (
        remote_index.clean_text(" a\n b\x07 ") == "a b\\x07"
        and remote_index.clean_text(None) == remote_index.clean_text("") == "not stated"
    )
    assert len(remote_index.clean_text("long " * 200)) <= 300


# ---------------------------------------------------------------- in the catalogue


def test_what_the_index_alone_has_is_listed_without_numbers(store):
    take(store, ONE, TWO, PRESET)
    entries = catalogue.list_facts(store) + catalogue.list_index_facts(store)
    by_name = {entry["name"]: entry for entry in entries}
    one = by_name[ONE.name]
    assert one["indexed"] and not one["weights_here"] and one["permissive"] and one["licence"] == "mit"
    unknown = ("params", "flops", "prior", "download_bytes", "input", "images_per_s", "latency_ms", "memory_bytes")
    assert [one[field] for field in unknown] == [None] * len(unknown) and one["depths"] == []
    assert catalogue.read_facts(ONE.name, store) == one
    assert not by_name["bundled:efficientnet_lite0"]["indexed"]
    found = catalogue.search_facts(entries, ["resnet", "9000"])
    assert [entry["name"] for entry in found] == [PRESET.name]


def test_search_reads_domains(store):
    take(store, ONE, TWO)
    entries = catalogue.list_facts(store) + catalogue.list_index_facts(store)
    assert TWO.name in {entry["name"] for entry in catalogue.search_facts(entries, ["medical"])}


def test_every_shipped_backbone_says_how_and_on_what_it_was_trained():
    for spec in (loading.find_backbone(name).spec for name in loading.list_backbones()):
        if spec.name.partition(":")[0] in ("bundled", "keras_applications"):
            assert spec.method == "supervised" and spec.domains, spec.name
    assert loading.find_backbone("random:bundled:efficientnet_lite0").spec.method == "none"
