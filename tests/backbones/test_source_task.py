"""What is kept of a run's task: bounded, without names, whole or not used at all."""

import dataclasses

import numpy as np
import pytest

from headstart.backbones.earlier_runs import source_task, source_task_lookup
from headstart.backbones.imported import description
from headstart.core.types import SourceTask
from judged_sets import dataset, splits

HEAD = {"weights": np.ones((4, 3), np.float32), "bias": np.zeros(3, np.float32)}


def whole():
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    return SourceTask(head=HEAD, depth="features", pictures={"features": rows, "stage3": rows[:, :2]})


def test_what_is_kept_comes_back(store):
    assert source_task.kept("run", "mine", store) is None
    source_task.keep("run", "mine", whole(), store)
    found = source_task.kept("run", "mine", store)
    assert (found.depth, found.no_head, found.no_pictures) == ("features", "", "")
    for name, rows in whole().pictures.items():
        np.testing.assert_array_equal(found.pictures[name], rows)
    np.testing.assert_array_equal(found.head["weights"], HEAD["weights"])
    first = description.beside("run", "mine", description.PAST, store).read_bytes()
    source_task.keep("run", "mine", whole(), store)
    assert description.beside("run", "mine", description.PAST, store).read_bytes() == first
    source_task.keep("run", "mine", SourceTask(head=HEAD, depth="features", no_pictures="they have gone"), store)
    assert source_task.kept("run", "mine", store).no_pictures == "they have gone"


@pytest.mark.parametrize("cut", [0, 7, 60, -1])
def test_a_damaged_file_is_not_used_and_says_so(store, cut):
    source_task.keep("run", "mine", whole(), store)
    path = description.beside("run", "mine", description.PAST, store)
    path.write_bytes(path.read_bytes()[:cut])
    found = source_task.kept("run", "mine", store)
    assert not found.head
    assert not found.pictures
    assert "damaged" in found.no_head
    assert "damaged" in found.no_pictures


def test_a_number_that_changed_on_the_disk_is_noticed(store):
    source_task.keep("run", "mine", whole(), store)
    path = description.beside("run", "mine", description.PAST, store)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    assert "damaged" in source_task.kept("run", "mine", store).no_pictures


def test_numbers_that_are_none_or_do_not_fit_are_not_used(store):
    broken = whole().pictures["features"].copy()
    broken[3, 2] = np.nan
    for bad in ({"pictures": {"features": broken}}, {"head": {**HEAD, "bias": np.zeros(2, np.float32)}}):
        source_task.keep("run", "mine", dataclasses.replace(whole(), **bad), store)
        assert "damaged" in source_task.kept("run", "mine", store).no_head


def test_no_name_leads_elsewhere(store):
    source_task.keep("run", "mine", whole(), store)
    for name in ("../run/mine", "", "none", str(store.root / "named" / "run" / "mine")):
        assert source_task.kept("run", name, store) is None


def test_a_removed_file_leaves_nothing(store):
    (store.root / "named" / description.SOURCE).mkdir(parents=True)
    (store.root / "named" / description.SOURCE / "mine.json").write_text("{}")
    source_task.keep(description.SOURCE, "mine", whole(), store)
    description.remove("mine", store)
    assert list((store.root / "named" / description.SOURCE).iterdir()) == []


def test_the_sample_is_bounded_has_every_class_and_equal_pictures_once():
    data = dataset(1000)
    drawn = splits(data)
    rows = source_task_lookup.sample(data, drawn, flops=10**9)
    assert len(rows) == len(set(rows.tolist())) == source_task.MOST
    assert set(rows.tolist()) <= set(drawn.train.tolist())
    share = np.bincount(data.targets[rows]) / len(rows) - np.bincount(data.targets[drawn.train]) / len(drawn.train)
    assert np.abs(share).max() < 0.01
    assert (np.diff(data.targets[rows]) >= 0).all()
    assert len(source_task_lookup.sample(data, drawn, flops=75 * 10**9)) == source_task.LEAST
    assert len(source_task_lookup.sample(data, drawn, flops=8 * 10**9)) == 125
    same = dataclasses.replace(data, digests=tuple(f"{at // 50:064x}" for at in range(1000)))
    assert len(source_task_lookup.sample(same, drawn, flops=10**9)) == 20
