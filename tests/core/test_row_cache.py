import errno
import json
import os
import subprocess
import sys
import threading
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.errors import SetupError
from headstart.core.storage import row_cache as module
from headstart.core.storage.row_cache import RowStore, parse_keys

COLUMNS = {"inner": 3, "last": 5}


def keys(*numbers):
    return np.stack([np.frombuffer(np.int64(n).tobytes() * 4, np.uint8) for n in numbers])


def values(*numbers):
    """Rows that tell their number."""
    return {
        name: np.array([[n * 10 + i for i in range(w)] for n in numbers], np.float32) for name, w in COLUMNS.items()
    }


@pytest.fixture
def said():
    return []


@pytest.fixture
def opened(tmp_path, said):
    return lambda: RowStore(tmp_path / "rows", COLUMNS, report=said.append)


def check(store, tmp_path, *numbers):
    found = store.find_rows(keys(*numbers))
    assert (found >= 0).all()
    for name, expected in values(*numbers).items():
        np.testing.assert_array_equal(store.take_rows(name, found, tmp_path / "scratch"), expected)


def test_rows_come_back_in_any_order_also_from_another_store(opened, tmp_path):
    store = opened()
    assert (store.find_rows(keys(1, 2)) == -1).all()
    store.add_rows(keys(1, 2, 3), values(1, 2, 3))
    store.add_rows(keys(4, 5), values(4, 5))
    for one in (store, opened()):
        assert len(one) == 5
        check(one, tmp_path, 1, 2, 3, 4, 5)
        check(one, tmp_path, 5, 1, 1, 3)
        assert one.find_rows(keys(9, 2)).tolist() == [-1, 1]


def test_known_and_repeated_keys_are_left_out(opened, tmp_path):
    store = opened()
    store.add_rows(keys(1, 2, 1), values(1, 2, 1))
    store.add_rows(keys(2, 3), values(2, 3))
    assert (tmp_path / "rows" / "keys.bin").stat().st_size == 3 * 32
    check(opened(), tmp_path, 3, 2, 1)


def test_neighbours_are_a_view_of_the_file(opened, tmp_path):
    store = opened()
    store.add_rows(keys(*range(10)), values(*range(10)))
    view = store.take_rows("last", store.find_rows(keys(3, 4, 5)), tmp_path)
    assert isinstance(view.base, np.memmap) and not view.flags.writeable
    gathered = store.take_rows("last", store.find_rows(keys(5, 4)), tmp_path)
    assert not isinstance(gathered.base, np.memmap) and not gathered.flags.writeable


def test_large_gatherings_lie_in_a_file_that_vanishes(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_RAM_BYTES", 10)
    monkeypatch.setattr(module, "_CHUNK_ROWS", 3)
    store = opened()
    store.add_rows(keys(*range(10)), values(*range(10)))
    found = store.take_rows("last", store.find_rows(keys(*range(9, -1, -1))), tmp_path / "scratch")
    np.testing.assert_array_equal(found, values(*range(9, -1, -1))["last"])
    assert isinstance(found.base, np.memmap)
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("name", ["inner.f32", "last.f32", "keys.bin"])
def test_a_damaged_block_is_reported_and_made_again(opened, tmp_path, said, name):
    store = opened()
    store.add_rows(keys(1, 2), values(1, 2))
    store.add_rows(keys(3, 4), values(3, 4))
    path = tmp_path / "rows" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 255  # in the second block; of a key the last byte of 4's
    path.write_bytes(content)
    store = opened()
    assert store.find_rows(keys(1, 2, 3)).tolist() == [0, 1, -1]
    assert len(said) == 1 and "2 cached rows" in said[0]
    store.add_rows(keys(3, 4), values(3, 4))
    check(store, tmp_path, 1, 2, 3, 4)
    check(opened(), tmp_path, 4, 3, 2, 1)
    assert len(said) == 1


@pytest.mark.parametrize("name", ["inner.f32", "keys.bin"])
def test_a_file_that_ends_early_is_reported(opened, tmp_path, said, name):
    opened().add_rows(keys(1, 2, 3), values(1, 2, 3))
    path = tmp_path / "rows" / name
    path.write_bytes(path.read_bytes()[:-20])
    store = opened()
    assert (store.find_rows(keys(1, 2, 3)) == -1).all()
    assert said
    store.add_rows(keys(1, 2, 3), values(1, 2, 3))
    check(opened(), tmp_path, 3, 1, 2)


def test_what_a_kill_left_behind_is_never_read(opened, tmp_path, said):
    """Bytes without a line, and a line that was cut short: as if they were not there."""
    opened().add_rows(keys(1), values(1))
    for name in ("inner.f32", "last.f32", "keys.bin"):
        with (tmp_path / "rows" / name).open("ab") as out:
            out.write(b"\x01" * 77)
    with (tmp_path / "rows" / "blocks.jsonl").open("ab") as out:
        out.write(b'{"start": 1, "n": 1, "sha')
    store = opened()
    assert len(store) == 1
    store.add_rows(keys(2, 3), values(2, 3))
    check(store, tmp_path, 1, 2, 3)
    check(opened(), tmp_path, 3, 1, 2)
    assert not said
    assert all(json.loads(line) for line in (tmp_path / "rows" / "blocks.jsonl").read_text().splitlines())


def test_a_damaged_line_costs_its_block_only(opened, tmp_path, said):
    store = opened()
    for number in (1, 2, 3):
        store.add_rows(keys(number), values(number))
    path = tmp_path / "rows" / "blocks.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + "#" + lines[1][1:] + lines[2])
    store = opened()
    assert (store.find_rows(keys(1, 2, 3)) >= 0).tolist() == [True, False, True]
    assert "damaged" in said[0]
    store.add_rows(keys(2), values(2))
    check(opened(), tmp_path, 1, 2, 3)


def test_numbers_that_are_not_finite_are_refused(opened):
    bad = values(1)
    bad["last"][0, 2] = np.nan
    with pytest.raises(ValueError, match="finite"):
        opened().add_rows(keys(1), bad)
    assert len(opened()) == 0


def test_two_stores_on_one_folder_see_each_other(opened, tmp_path):
    one, other = opened(), opened()
    one.add_rows(keys(1, 2), values(1, 2))
    other.add_rows(keys(2, 3), values(2, 3))
    one.add_rows(keys(3, 4), values(3, 4))
    assert (tmp_path / "rows" / "keys.bin").stat().st_size == 4 * 32
    check(one, tmp_path, 1, 2, 3, 4)


@pytest.mark.parametrize("name", ["last.f32", "keys.bin"])
def test_what_another_store_added_and_the_disk_then_damaged_is_added_again(opened, tmp_path, said, name):
    """Rows that `add` leaves out as known must be there to be taken; the second look must not wait for itself."""
    one, other = opened(), opened()
    other.add_rows(keys(1, 2, 3), values(1, 2, 3))
    path = tmp_path / "rows" / name
    path.write_bytes(path.read_bytes()[:-20])
    one.add_rows(keys(1, 2, 3), values(1, 2, 3))
    assert any("damaged" in sentence for sentence in said)
    check(one, tmp_path, 3, 1, 2)


def test_missing_rows_are_not_taken_for_others(opened, tmp_path):
    store = opened()
    store.add_rows(keys(1, 2), values(1, 2))
    with pytest.raises(ValueError, match="1 of the rows"):
        store.take_rows("last", store.find_rows(keys(1, 9)), tmp_path / "scratch")


def test_threads_may_look_while_one_adds(opened, tmp_path):
    store = opened()

    def look():
        for _ in range(30):
            found = store.find_rows(keys(*range(40)))
            there = np.flatnonzero(found >= 0)
            np.testing.assert_array_equal(
                store.take_rows("last", found[there], tmp_path), values(*there.tolist())["last"].reshape(-1, 5)
            )

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(40):
        store.add_rows(keys(number), values(number))
    for thread in threads:
        thread.join()
    check(store, tmp_path, *range(40))


@pytest.mark.medium
def test_two_processes_add_the_same_rows(tmp_path):
    script = (
        "import sys, numpy as np; from pathlib import Path; from headstart.core.storage.row_cache import RowStore\n"
        "store = RowStore(Path(sys.argv[1]), {'x': 4}, report=lambda s: sys.exit(s))\n"
        "for n in range(60):\n"
        "    key = np.full((2, 32), n, np.uint8); key[1, 0] = 200 + n % 50\n"
        "    store.add_rows(key, {'x': np.full((2, 4), n, np.float32)})\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "rows")]) for _ in range(2)]
    assert [process.wait(60) for process in started] == [0, 0]
    store = RowStore(tmp_path / "rows", {"x": 4}, report=pytest.fail)
    assert len(store) == 120 and (tmp_path / "rows" / "keys.bin").stat().st_size == 120 * 32
    wanted = np.stack([np.full(32, n, np.uint8) for n in range(60)])
    np.testing.assert_array_equal(store.take_rows("x", store.find_rows(wanted), tmp_path)[:, 0], np.arange(60))


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot write"):
        RowStore(tmp_path / "file" / "rows", COLUMNS).add_rows(keys(1), values(1))


@pytest.mark.parametrize("file", [0, 1, 2, 3])
def test_a_full_disk_is_told_and_costs_nothing_that_was_there(opened, tmp_path, monkeypatch, said, file):
    store = opened()
    store.add_rows(keys(1), values(1))
    fsync, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) == file + 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SetupError, match="no space"):
        store.add_rows(keys(2, 3), values(2, 3))
    monkeypatch.setattr(os, "fsync", fsync)
    for one in (store, opened()):
        one.add_rows(keys(2, 3), values(2, 3))
        check(one, tmp_path, 3, 1, 2)
    assert not said


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=8), max_size=6), st.lists(st.integers(0, 30)))
def test_a_store_is_a_dictionary(tmp_path_factory, blocks, wanted):
    folder = tmp_path_factory.mktemp("rows")
    store = RowStore(folder, COLUMNS)
    known = set()
    for block in blocks:
        store.add_rows(keys(*block), values(*block))
        known |= set(block)
    if wanted:
        for one in (store, RowStore(folder, COLUMNS)):
            assert (one.find_rows(keys(*wanted)) >= 0).tolist() == [n in known for n in wanted]
    if known:
        check(RowStore(folder, COLUMNS), folder, *known)


def test_digests_become_keys():
    assert parse_keys(["00" * 31 + "ff", "01" * 32]).tolist() == [[0] * 31 + [255], [1] * 32]
    assert parse_keys([]).shape == (0, 32)


def test_half_columns_take_half_the_bytes_and_come_back_rounded(tmp_path):
    made = lambda: RowStore(tmp_path / "rows", {"map": 4, "mean": 2}, half=("map",), report=pytest.fail)  # noqa: E731
    rng = np.random.default_rng(0)
    content = {"map": rng.normal(size=(5, 4)).astype(np.float32), "mean": rng.normal(size=(5, 2)).astype(np.float32)}
    store = made()
    for part in (slice(0, 2), slice(2, 5)):
        store.add_rows(keys(*range(part.start, part.stop)), {name: values[part] for name, values in content.items()})
    assert {path.name: path.stat().st_size for path in (tmp_path / "rows").glob("*.f*")} == {
        "map.f16": 40,
        "mean.f32": 40,
    }
    for one in (store, made()):
        found = one.find_rows(keys(4, 0, 2))
        np.testing.assert_array_equal(one.map_column("map")[found], content["map"].astype(np.float16)[[4, 0, 2]])
        np.testing.assert_array_equal(one.map_column("mean")[found], content["mean"][[4, 0, 2]])
    with pytest.raises(ValueError, match="not finite"):
        store.add_rows(keys(9), {"map": np.full((1, 4), np.inf, np.float32), "mean": np.zeros((1, 2), np.float32)})


@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 40), min_size=1, max_size=8)), min_size=1, max_size=12),
    st.integers(0, 20),
)
def test_the_index_finds_what_a_dict_finds(steps, merged):
    """Keys of few kinds, many with zeros at their end; blocks are added, and now and then one is forgotten."""
    index, known, start = module._KeyIndex(), dict[int, int](), 0
    with mock.patch.object(module, "_MERGED", merged):
        for forgets, numbers in steps:
            index.add_keys(make_keys(numbers), start)
            for row, number in enumerate(numbers, start):
                known.setdefault(number, row)
            if forgets:
                index.forget_rows(start, start + len(numbers))
                known = {number: row for number, row in known.items() if row < start}
            start += len(numbers)
            found = index.find_rows(make_keys(range(41)))
            assert found.tolist() == [known.get(number, -1) for number in range(41)]
            assert len(index) == len(known)


def make_keys(numbers):
    keys = np.zeros((len(numbers), 32), np.uint8)
    keys[:, 0], keys[:, 1] = np.array(numbers) % 7, np.array(numbers) // 7
    return keys


def test_a_key_takes_few_bytes_of_memory():
    keys = np.random.default_rng(0).integers(0, 256, (60_000, 32), np.uint8)
    tracemalloc.start()
    index = module._KeyIndex()
    for start in range(0, len(keys), 6_000):
        index.add_keys(keys[start : start + 6_000], start)
    size_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (index.find_rows(keys[::997]) == np.arange(0, len(keys), 997)).all()
    assert size_bytes / len(keys) < 80
