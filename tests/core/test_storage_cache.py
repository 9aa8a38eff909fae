"""The cache: whole or not there, damage found and repaired, two writers at once."""

import errno
import json

import pytest

from headstart.core.errors import SetupError
from headstart.core.storage import files
from headstart.core.storage.cache import Store
from headstart.core.storage.hashing import file_digest


def write(text):
    return lambda folder: (folder / "content.txt").write_text(text)


def test_an_entry_is_made_once(store):
    made = store.make_entry("things", {"a": 1}, write("first"))
    again = store.make_entry("things", {"a": 1}, write("second"))
    assert made == again
    assert (again / "content.txt").read_text() == "first"
    assert store.find_entry("things", {"a": 2}) is None


def test_the_order_of_keys_does_not_matter(store):
    assert store.entry_path("things", {"a": 1, "b": 2}) == store.entry_path("things", {"b": 2, "a": 1})


@pytest.mark.parametrize(
    "damage", ["changed", "truncated", "deleted", "unsealed", "emptied seal", "shortened seal", "added file"]
)
def test_damage_is_reported_and_repaired(tmp_path, damage):
    said = []
    store = Store(tmp_path, report=said.append)
    folder = store.make_entry("things", "k", write("right"))
    match damage:
        case "changed":
            (folder / "content.txt").write_text("wrong")
        case "truncated":
            (folder / "content.txt").write_text("")
        case "deleted":
            (folder / "content.txt").unlink()
        case "unsealed":
            (folder / "seal.json").write_text("{")
        case "emptied seal":
            (folder / "seal.json").write_text("{}")
            (folder / "content.txt").write_text("wrong")
        case "shortened seal":  # vouches for one file, not for the other
            (folder / "more.txt").write_text("more")
            (folder / "seal.json").write_text(json.dumps({"more.txt": file_digest(folder / "more.txt")}))
            (folder / "content.txt").write_text("wrong")
        case "added file":
            (folder / "more.txt").write_text("more")
    assert (store.make_entry("things", "k", write("right")) / "content.txt").read_text() == "right"
    assert len(said) == 1
    assert "damaged" in said[0]


def test_hidden_files_of_the_system_are_no_damage(store):
    folder = store.make_entry("things", "k", write("right"))
    (folder / ".DS_Store").write_text("the system's own")
    assert store.find_entry("things", "k") == folder


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EACCES, errno.EIO, errno.EBUSY])
def test_what_cannot_be_read_is_not_taken_for_damaged(tmp_path, monkeypatch, code):
    said = []
    store = Store(tmp_path, report=said.append)
    folder = store.make_entry("things", "k", write("right"))

    def refuse(path):
        raise OSError(code, "injected", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("headstart.core.storage.cache.file_digest", refuse)
        with pytest.raises(SetupError, match="cannot be read"):
            store.find_entry("things", "k")
        with pytest.raises(SetupError, match="cannot be read"):
            store.make_entry("things", "k", write("wrong"))
    assert said == []
    assert store.find_entry("things", "k") == folder


def test_a_damaged_copy_of_a_users_own_file_stays_until_it_is_added_again(tmp_path):
    said = []
    store = Store(tmp_path, report=said.append)
    folder = store.make_entry("added", "k", write("right"))
    (folder / "content.txt").write_text("bent")
    assert store.find_entry("added", "k") is None
    assert (folder / "content.txt").read_text() == "bent"
    assert len(said) == 1 and "left as it is" in said[0]

    def fail(draft):
        raise ValueError("not this file")

    with pytest.raises(ValueError, match="not this file"):
        store.make_entry("added", "k", fail)
    assert (folder / "content.txt").read_text() == "bent"
    assert store.make_entry("added", "k", write("right")) == folder == store.find_entry("added", "k")
    assert (folder / "content.txt").read_text() == "right"
    assert [path.name for path in (tmp_path / "added").iterdir()] == [folder.name]


def test_a_failed_making_leaves_nothing(store):
    def fail(folder):
        (folder / "half").write_text("half")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        store.make_entry("things", "k", fail)
    assert list((store.root / "things").iterdir()) == []


def test_a_writer_of_its_own_kind_of_error_on_a_full_disk_is_told(small_disk):
    def fill(folder):
        try:
            (folder / "trunk.bin").write_bytes(bytes(100_000))
        except OSError as err:  # as C++ does
            raise RuntimeError(f"basic_ios::clear: {err.strerror}") from None

    with pytest.raises(SetupError) as caught:
        Store(small_disk).make_entry("trunks", "k", fill)
    assert caught.value.hint and list((small_disk / "trunks").iterdir()) == []


def test_a_bug_of_a_writer_stays_one_where_there_is_room(store):
    def fail(folder):
        raise RuntimeError("not the disk's fault")

    with pytest.raises(RuntimeError, match="not the disk's fault"):
        store.make_entry("trunks", "k", fail)


def test_a_faster_process_wins(store):
    def write_while_another_does(folder):
        if not store.entry_path("things", "k").exists():
            Store(store.root).make_entry("things", "k", write("theirs"))
        (folder / "content.txt").write_text("ours")

    assert (store.make_entry("things", "k", write_while_another_does) / "content.txt").read_text() == "theirs"


@pytest.mark.parametrize(("code", "word"), [(errno.ENOSPC, "space"), (errno.EROFS, "read-only"), (errno.EACCES, "per")])
def test_a_full_or_closed_disk_is_told(tmp_path, monkeypatch, code, word):
    def refuse(*args, **kwargs):
        raise OSError(code, "injected", str(tmp_path))

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(SetupError, match=word) as caught:
        files.write_text(tmp_path / "a.txt", "text")
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []
