"""`headstart backbones` as it is typed: list, search, verify, prune."""

import json
import os
import shutil
import time
import warnings
from pathlib import Path

import pytest

from headstart.backbones import loading
from headstart.cli import options
from headstart.cli.commands.backbones import ACTIONS, Backbones
from headstart.cli.main import main
from headstart.cli.parser import Parser
from headstart.core.storage.cache import Store
from headstart.core.storage.files import write_json
from headstart.core.storage.hashing import to_plain
from own_files import own

LITE0 = "bundled:efficientnet_lite0"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, which the commands use."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return Store(tmp_path / "cache")


def said(capsys, *words, code=0):
    """The one JSON object that a command prints."""
    assert main(["backbones", *map(str, words), "--json"]) == code
    [line] = capsys.readouterr().out.splitlines()
    return json.loads(line)


def told(capsys, *words, code=0):
    """What a command prints for people."""
    assert main(["backbones", *map(str, words)]) == code
    streams = capsys.readouterr()
    return streams.out + streams.err


def put(store, key, kind="weights"):
    return store.make_entry(kind, key, lambda folder: (folder / "w.safetensors").write_bytes(b"12345") and None)


def test_list_gives_the_facts_of_the_named(cache, capsys):
    names = [f"bundled:efficientnet_lite{n}" for n in (2, 1, 0)]
    entries = said(capsys, "list", *names)["backbones"]
    assert [entry["name"] for entry in entries] == names and all(entry["params"] > 1e6 for entry in entries)
    assert told(capsys, "search", "zebra").startswith("no backbone fits")


def test_search_finds_by_words(cache, capsys):
    lines = told(capsys, "search", "edge", "detection").splitlines()
    assert [line.split()[0] for line in lines] == ["name", "bundled:vgg16_hed"]
    assert "needs a TEXT" in told(capsys, "search", code=2)


def test_show_says_what_the_licence_allows(cache, capsys):
    page = told(capsys, "show", LITE0)
    for word in ("permissive: commercial use is allowed", "not measured on this machine yet", "a guess by its weights"):
        assert word in page


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("pull", LITE0, "--dry-run"), "it is of prune"),
        (("pull", LITE0, "--scale", "0"), "it is of add"),
        (("prune", "--sha256", "00"), "it is of sync"),
    ],
)
def test_an_option_of_another_action_is_not_ignored(cache, capsys, words, hint):
    assert hint in told(capsys, *words, code=2)


@pytest.mark.parametrize("text", ["30", "d", "-1d", "0d", "30 days", "1y"])
def test_a_time_that_is_none_is_told(cache, capsys, text):
    assert "is not a time like 12h, 30d or 8w" in told(capsys, "prune", f"--older-than={text}", code=2)


def test_verify_ends_with_one_when_something_is_damaged(cache, capsys):
    found = loading.find_backbone(LITE0)
    assert "0 entries" in told(capsys, "verify")
    folder = put(cache, found.source.weights_folder(found.preset, cache).name)
    assert "1 entries, 5 B: all whole" in told(capsys, "verify").replace(f"{5 + seal(folder)} B", "5 B")
    (folder / "w.safetensors").write_bytes(b"12346")
    text = told(capsys, "verify", code=1)
    for word in (
        LITE0,
        "`w.safetensors` has other bytes",
        "1 damaged",
        f"headstart backbones pull {LITE0}",
        str(folder),
    ):
        assert word in text
    report = said(capsys, "verify", LITE0, code=1)
    assert (report["damaged"], report["absent"]) == (1, [])
    assert folder.is_dir()
    report = said(capsys, "verify", "bundled:efficientnet_lite1")
    assert (report["checked"], report["absent"]) == ([], ["bundled:efficientnet_lite1"])


def test_verify_asks_for_no_weights_of_a_random_twin(cache, capsys):
    twin = loading.find_backbone(f"random:{LITE0}")
    made = to_plain(loading.trunk_key(twin))
    cache.make_entry("trunks", made, lambda folder: write_json(folder / "key.json", made))
    put(cache, twin.source.weights_folder(twin.preset, cache).name)
    report = said(capsys, "verify", twin.name)
    assert [(one["kind"], one["name"], one["problems"]) for one in report["checked"]] == [("trunks", twin.name, [])]
    assert report["absent"] == []
    assert "pull" not in told(capsys, "verify", twin.name)


def test_verify_says_what_brings_a_lost_copy(cache, tmp_path, capsys):
    shutil.rmtree(own(cache))
    text = told(capsys, "verify", "saved_file:mine")
    assert "its copy is not in the cache; headstart backbones add FILE --name mine" in text
    assert "pull" not in text


def seal(folder):
    return (folder / "seal.json").stat().st_size


def test_prune_tells_before_it_does(cache, capsys):
    kept = loading.find_backbone(LITE0)
    mine = put(cache, kept.source.weights_folder(kept.preset, cache).name)
    old = put(cache, {"wheel": "of a version that is gone"})
    count = sum(path.stat().st_size for path in old.iterdir())
    assert "nothing was changed" in told(capsys, "prune", "--dry-run")
    assert old.is_dir()
    report = said(capsys, "prune")
    assert report["bytes"] == count
    assert [one["path"] for one in report["removed"]] == [str(old)]
    assert not old.exists()
    assert mine.is_dir()
    assert "there is nothing to remove" in told(capsys, "prune")
    os.utime(mine / "seal.json", (time.time() - 31 * 86400,) * 2)
    assert "there is nothing to remove" in told(capsys, "prune", "--older-than", "5w")
    assert "not used for 31 days" in told(capsys, "prune", "--older-than", "30d")
    assert not mine.exists()
    assert "takes no NAME" in told(capsys, "prune", LITE0, code=2)


@pytest.mark.medium
def test_copies_of_a_users_files_are_verified_and_kept(cache, tmp_path, capsys):
    import keras

    pictures = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(pictures)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Keras' writer and NumPy 2
        keras.Model(pictures, x).save(tmp_path / "mine.keras")
    assert main(["backbones", "add", str(tmp_path / "mine.keras"), "--quiet"]) == 0
    capsys.readouterr()
    [entry] = said(capsys, "verify")["checked"]
    assert (entry["kind"], entry["name"], entry["problems"]) == ("added", "saved_file:mine", [])
    report = said(capsys, "verify", "saved_file:mine")
    assert (len(report["checked"]), report["absent"]) == (1, [])
    assert "not in the cache" not in told(capsys, "verify", "mine")
    os.utime(Path(entry["path"]) / "seal.json", (time.time() - 99 * 86400,) * 2)
    assert "there is nothing to remove" in told(capsys, "prune", "--older-than", "30d")
    (Path(entry["path"]) / "model.keras").write_bytes(b"bent")
    assert "add your file again" in told(capsys, "verify", code=1)
    assert Path(entry["path"]).is_dir()


@pytest.mark.parametrize("spelling", ["--license", "--licence"])
def test_both_spellings_of_the_licence_are_one_option(spelling):
    parser = Parser("headstart backbones", None)
    Backbones().configure(parser)
    assert parser.parse_words(["add", "x.onnx", f"{spelling}=MIT"]).licence == "MIT"
    for names in ((), ("license",)):
        parser = Parser("headstart fit", None)
        options.add_settings(parser, *names)
        assert options.read_settings(parser.parse_words([spelling, "permissive"])) == {"license": "permissive"}


def test_help_has_every_action(capsys):
    text = told(capsys, "--help")
    for action in ACTIONS:
        assert f"\n{action} " in text
