"""What lies in the cache: whose it is, whether it is whole, what may go. Real weights, sealed entries, real clocks."""

import os
import shutil
import time

import numpy as np
import pytest

from headstart.backbones import loading
from headstart.backbones.inventory import cache_inventory
from headstart.core.console import Console
from headstart.core.run.folder import RunFolder
from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json, write_json
from headstart.core.storage.hashing import to_plain
from own_files import own

LITE0 = "bundled:efficientnet_lite0"
DAY_S = 86400


@pytest.fixture
def filled(store):
    """A cache with weights of today and of yesterday, and trunks of today, of an old revision, and of nobody."""
    found = loading.find_backbone(LITE0)
    put(store, "weights", found.source.weights_folder(found.preset, store).name, {"w.safetensors": b"12345"})
    put(store, "weights", {"wheel": "old"}, {"w.safetensors": b"1234567"})
    key = to_plain(loading.trunk_key(found))
    put_trunk(store, key)
    put_trunk(store, key | {"revision": "1-old"})
    put_trunk(store, key | {"backbone": "bundled:forgotten"})
    put_trunk(store, key | {"format": 0})
    put_trunk(store, key | {"engine": "openvino 2020.1"})
    return store


def put(store, kind, key, files):
    def write(folder):
        for name, content in files.items():
            (folder / name).write_bytes(content)

    return store.make_entry(kind, key, write)


def put_trunk(store, key):
    def write(folder):
        (folder / "trunk.bin").write_bytes(b"123")
        write_json(folder / "key.json", key)

    return store.make_entry("trunks", key, write)


def age(store, days, kind="*"):
    """Let everything be last used some days ago."""
    then = time.time() - days * DAY_S
    for seal in store.root.glob(f"{kind}/*/seal.json"):
        os.utime(seal, (then, then))


def test_entries_are_named(filled):
    assert sorted((one.kind, one.name, one.note, bool(one.gone)) for one in cache_inventory.list_entries(filled)) == [
        ("trunks", LITE0, "f32", False),
        ("trunks", LITE0, "f32", False),
        ("trunks", LITE0, "f32", True),
        ("trunks", LITE0, "f32", True),
        ("trunks", "bundled:forgotten", "f32", True),
        ("weights", "", "", True),
        ("weights", LITE0, "", False),
    ]


def test_a_trunk_without_its_key_is_known_by_its_address(store):
    found = loading.find_backbone(LITE0)
    put(store, "trunks", loading.trunk_key(found), {"trunk.bin": b"1"})
    put(store, "trunks", loading.trunk_key(found) | {"maps": True}, {"trunk.bin": b"1"})
    put(store, "trunks", loading.trunk_key(loading.find_backbone(f"random:{LITE0}")), {"trunk.bin": b"1"})
    put(store, "trunks", "f" * 64, {"trunk.bin": b"1"})
    assert [(one.name, one.note, one.gone) for one in cache_inventory.list_entries(store)] == [
        ("", "", ""),
        (LITE0, "f32", ""),
        (LITE0, "f32, with feature maps", ""),
        (f"random:{LITE0}", "f32", ""),
    ]


def test_what_nothing_can_use_goes_and_nothing_else(filled):
    doomed = cache_inventory.list_prunable(filled)
    assert sorted(why for _, why in doomed) == sorted(
        [
            "no backbone of this installation has it",
            "no backbone of this installation has it",
            f"made of revision 1-old, which is {loading.find_backbone(LITE0).spec.revision} now",
            "made for another format",
        ]
    )
    for entry, _ in doomed:
        cache_inventory.remove_entry(entry)
    assert [(one.kind, one.name) for one in cache_inventory.list_entries(filled)] == [
        ("weights", LITE0),
        ("trunks", LITE0),
        ("trunks", LITE0),
    ]
    assert cache_inventory.list_prunable(filled) == []
    assert not list(filled.root.rglob(".tmp-*"))


def test_age_counts_from_the_last_use(filled):
    for entry, _ in cache_inventory.list_prunable(filled):
        cache_inventory.remove_entry(entry)
    age(filled, 40)
    assert cache_inventory.list_prunable(filled) == []
    assert len(cache_inventory.list_prunable(filled, 50 * DAY_S)) == 0
    assert {why for _, why in cache_inventory.list_prunable(filled, 30 * DAY_S)} == {"not used for 40 days"}
    put_trunk(
        filled, to_plain(loading.trunk_key(loading.find_backbone(LITE0)))
    )  # asked for again: it is used, and its weights with it
    [(entry, _)] = cache_inventory.list_prunable(filled, 30 * DAY_S)
    assert (entry.kind, read_json(entry.path / "key.json")["engine"]) == ("trunks", "openvino 2020.1")


def test_looking_is_no_use(filled):
    age(filled, 40)
    found = loading.find_backbone(LITE0)
    assert found.source.available(found.preset, filled)
    cache_inventory.list_entries(filled)
    assert all(one.used_s < time.time() - 39 * DAY_S for one in cache_inventory.list_entries(filled))


def test_left_overs_go_after_a_week(store):
    for name in ("weights/.tmp-x/half", "partial/y.part", "partial/y.part.json", ".tmp-unpacked/0"):
        path = store.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1234")
    assert cache_inventory.list_prunable(store) == []
    for path in [*store.root.rglob("*")]:
        os.utime(path, (time.time() - 8 * DAY_S,) * 2)
    doomed = cache_inventory.list_prunable(store)
    assert sorted(entry.kind for entry, _ in doomed) == ["drafts", "drafts", "partial", "partial"]
    assert sum(entry.bytes for entry, _ in doomed) == 16
    for entry, _ in doomed:
        cache_inventory.remove_entry(entry)
    assert not [path for path in store.root.rglob("*") if path.is_file()]


def test_each_kind_of_damage_is_told(store):
    folder = put(store, "weights", "a" * 64, {"one": b"1", "two": b"2", "three": b"3"})
    assert cache_inventory.find_damage(folder) == []
    (folder / "one").write_bytes(b"x")
    (folder / "two").unlink()
    (folder / "planted.pkl").write_bytes(b"x")
    assert cache_inventory.find_damage(folder) == [
        "`two` is missing",
        "`one` has other bytes",
        "`planted.pkl` does not belong there",
    ]
    (folder / "seal.json").write_text("[]")
    assert cache_inventory.find_damage(folder) == ["its seal cannot be read"]


def test_an_empty_cache_has_nothing(store):
    assert cache_inventory.list_entries(store) == cache_inventory.list_prunable(store, 1) == []
    assert not store.root.exists()


@pytest.mark.medium
def test_real_weights_and_trunks_are_named(shared_store):
    loading.find_backbone(LITE0).source.pull("efficientnet_lite0", shared_store, Console(quiet=True))
    [entry] = [one for one in cache_inventory.list_entries(shared_store) if (one.kind, one.name) == ("weights", LITE0)]
    assert entry.bytes > 18e6
    assert cache_inventory.find_damage(entry.path) == []
    assert Store(shared_store.root).find_entry("weights", entry.path.name) == entry.path


def test_a_trunk_of_a_source_that_is_not_here_is_left_alone(store):
    put_trunk(store, to_plain(loading.trunk_key(loading.find_backbone(LITE0))) | {"backbone": "elsewhere:x"})
    put_trunk(store, to_plain(loading.trunk_key(loading.find_backbone(LITE0))) | {"backbone": "tuned-1234"})
    assert [(one.name, one.gone) for one in cache_inventory.list_entries(store)] == [
        ("elsewhere:x", ""),
        ("tuned-1234", ""),
    ]
    age(store, 40)
    assert cache_inventory.list_prunable(store) == []
    assert len(cache_inventory.list_prunable(store, 30 * DAY_S)) == 2


@pytest.mark.parametrize("usual", [True, False])
def test_copies_of_a_users_own_files_do_not_age(store, monkeypatch, tmp_path, usual):
    monkeypatch.setenv("HEADSTART_CACHE", str(store.root if usual else tmp_path / "another"))
    folder = own(store)
    put(store, "added", "a" * 64, {"model.keras": b"1"})  # of nobody
    age(store, 400)
    found = {one.path: (one.name, one.gone) for one in cache_inventory.list_entries(store)}
    assert found.pop(folder) == ("saved_file:mine", "")
    assert list(found.values()) == [("", "no backbone of this installation has it")]
    for limit_s in (None, 1, 30 * DAY_S):
        assert [entry.path.name for entry, _ in cache_inventory.list_prunable(store, limit_s)] == ["a" * 64]


def test_a_copy_stays_while_a_description_is_damaged(store, monkeypatch):
    """It may be the copy's own, and nothing else brings the copy back."""
    monkeypatch.setenv("HEADSTART_CACHE", str(store.root))
    folder = own(store)
    described = store.root / "named" / "saved_file" / "mine.json"
    text = described.read_text()
    described.write_text(text[:-9])
    age(store, 400)
    assert cache_inventory.list_prunable(store, 1) == []
    [entry] = cache_inventory.list_entries(store)
    assert (entry.path, entry.name, entry.gone) == (folder, "", "")
    described.unlink()
    assert [entry.path for entry, _ in cache_inventory.list_prunable(store)] == [folder]


def test_what_is_in_use_is_no_left_over(store):
    from filelock import FileLock

    partial = store.root / "partial"
    partial.mkdir(parents=True)
    for word in ("held", "free", "alone"):
        (partial / f"{word}.part").write_bytes(b"12")
        (partial / f"{word}.part.json").write_bytes(b"{}")
    (partial / "free.lock").touch()
    with FileLock(partial / "held.lock"):
        age_all(store, 400)
        doomed = cache_inventory.list_prunable(store, 60)
        assert [entry.path.name for entry, _ in doomed] == [
            "alone.part",
            "alone.part.json",
            "free.part",
            "free.part.json",
        ]
        for entry, _ in doomed:
            cache_inventory.remove_entry(entry)
    assert sorted(path.name for path in partial.iterdir() if path.suffix == ".lock") == ["free.lock", "held.lock"]
    age_all(store, 400)
    assert [entry.path.name for entry, _ in cache_inventory.list_prunable(store)] == ["held.part", "held.part.json"]


def test_a_draft_that_is_written_to_is_no_left_over(store):
    draft = store.root / "weights" / ".tmp-x"
    draft.mkdir(parents=True)
    (draft / "w.h5").write_bytes(b"1234")
    os.utime(draft, (time.time() - 8 * DAY_S,) * 2)
    assert cache_inventory.list_prunable(store, 1) == cache_inventory.list_prunable(store) == []
    age_all(store, 0.5)
    assert cache_inventory.list_prunable(store, 60) == []
    age_all(store, 2)
    assert cache_inventory.list_prunable(store) == []
    assert [entry.path for entry, _ in cache_inventory.list_prunable(store, 60)] == [draft]


def age_all(store, days):
    """Let everything be last written some days ago."""
    for path in store.root.rglob("*"):
        os.utime(path, (time.time() - days * DAY_S,) * 2)


@pytest.mark.medium
def test_a_compiled_trunk_says_whose_it_is(store, shared_store, textile):
    from headstart.images import preprocessing

    found = loading.find_backbone(LITE0)
    weights = found.source.weights_folder(found.preset, shared_store)
    shutil.copytree(weights, store.root / "weights" / weights.name)
    files = sorted(textile.rglob("*.jpg"))[::250]
    pictures = np.stack([preprocessing.decode_picture(file.read_bytes(), found.spec.input) for file in files])
    made = loading.make_trunk_folder(found, shared_store, Console(quiet=True), pictures)
    shutil.copytree(made, store.root / "trunks" / made.name)
    folder = loading.make_trunk_folder(found, store, Console(quiet=True), pictures)
    assert read_json(folder / "key.json") == to_plain(loading.trunk_key(found))
    [of_weights, of_trunk] = cache_inventory.list_entries(store)
    assert [(one.name, one.note, one.gone) for one in (of_weights, of_trunk)] == [(LITE0, "", ""), (LITE0, "f32", "")]
    assert cache_inventory.find_damage(of_trunk.path) == []
    assert cache_inventory.list_prunable(store) == []


def test_copies_of_data_go_for_their_age_alone(store):
    for kind in ("archives", "fetched", "folds", "pictures", "runs", "tables"):
        put(store, kind, "a" * 64, {"content": b"old"})
        put(store, kind, "b" * 64, {"content": b"new"})
    for name in ("aa/old", "bb/old", "bb/new"):
        file = store.root / "objects" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"12345")
    long_ago = time.time() - 40 * DAY_S
    for file in store.root.rglob("*"):
        if "a" * 64 in str(file) or file.name == "old":
            os.utime(file, (long_ago, long_ago))
    assert cache_inventory.list_prunable(store) == []
    doomed = cache_inventory.list_prunable(store, 30 * DAY_S)
    assert sorted((entry.kind, entry.path.name, len(entry.files), why) for entry, why in doomed) == [
        ("archives", "a" * 64, 0, "not used for 40 days"),
        ("fetched", "a" * 64, 0, "not used for 40 days"),
        ("folds", "a" * 64, 0, "not used for 40 days"),
        ("objects", "objects", 2, "not used for 40 days"),
        ("pictures", "a" * 64, 0, "not used for 40 days"),
        ("runs", "a" * 64, 0, "not used for 40 days"),
        ("tables", "a" * 64, 0, "not used for 40 days"),
    ]
    assert next(entry.bytes for entry, _ in doomed if entry.kind == "objects") == 10
    for entry, _ in doomed:
        cache_inventory.remove_entry(entry)
    assert cache_inventory.list_prunable(store, 30 * DAY_S) == []
    left = {file.relative_to(store.root).parts[:2] for file in store.root.rglob("*") if file.is_file()}
    assert left == {(kind, "b" * 64) for kind in ("archives", "fetched", "folds", "pictures", "runs", "tables")} | {
        ("objects", "bb")
    }
    assert [file.name for file in (store.root / "objects").rglob("*") if file.is_file()] == ["new"]


def test_a_folder_of_a_run_in_a_bucket_goes_for_the_age_of_its_newest_file_unless_it_is_in_use(store):
    runs = {name: RunFolder(store.root / "mirrored" / name / "run") for name in ("a", "b", "c")}
    for run in runs.values():
        with run.lock_folder():
            run.record_decision("pace", lambda: 1)
    with runs["b"].lock_folder():
        age_all(store, 40)
        (runs["a"].path / "decisions.jsonl").touch()
        assert cache_inventory.list_prunable(store) == []
        for _ in range(2):  # a look is no use
            [(entry, why)] = cache_inventory.list_prunable(store, 30 * DAY_S)
            assert (entry.kind, entry.path.name, why) == ("mirrored", "c", "not used for 40 days")
    cache_inventory.remove_entry(entry)
    assert sorted(path.name for path in (store.root / "mirrored").iterdir()) == ["a", "b"]
