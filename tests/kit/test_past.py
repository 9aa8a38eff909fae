"""What is kept of a run's task: bounded, without names, whole or not used at all."""

import dataclasses

import numpy as np
import pytest

from headstart.kit import added, past, run_past
from headstart.kit.past import Past
from judged_sets import dataset, splits

HEAD = {"weights": np.ones((4, 3), np.float32), "bias": np.zeros(3, np.float32)}


def whole():
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    return Past(head=HEAD, depth="features", pictures={"features": rows, "stage3": rows[:, :2]})


def test_what_is_kept_comes_back(store):
    assert past.kept("run", "mine", store) is None
    past.keep("run", "mine", whole(), store)
    found = past.kept("run", "mine", store)
    assert (found.depth, found.no_head, found.no_pictures) == ("features", "", "")
    for name, rows in whole().pictures.items():
        np.testing.assert_array_equal(found.pictures[name], rows)
    np.testing.assert_array_equal(found.head["weights"], HEAD["weights"])
    first = added.beside("run", "mine", added.PAST, store).read_bytes()
    past.keep("run", "mine", whole(), store)
    assert added.beside("run", "mine", added.PAST, store).read_bytes() == first
    past.keep("run", "mine", Past(head=HEAD, depth="features", no_pictures="they have gone"), store)
    assert past.kept("run", "mine", store).no_pictures == "they have gone"


@pytest.mark.parametrize("cut", [0, 7, 60, -1])
def test_a_damaged_file_is_not_used_and_says_so(store, cut):
    past.keep("run", "mine", whole(), store)
    path = added.beside("run", "mine", added.PAST, store)
    path.write_bytes(path.read_bytes()[:cut])
    found = past.kept("run", "mine", store)
    assert not found.head
    assert not found.pictures
    assert "damaged" in found.no_head
    assert "damaged" in found.no_pictures


def test_a_number_that_changed_on_the_disk_is_noticed(store):
    past.keep("run", "mine", whole(), store)
    path = added.beside("run", "mine", added.PAST, store)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    assert "damaged" in past.kept("run", "mine", store).no_pictures


def test_numbers_that_are_none_or_do_not_fit_are_not_used(store):
    broken = whole().pictures["features"].copy()
    broken[3, 2] = np.nan
    for bad in ({"pictures": {"features": broken}}, {"head": {**HEAD, "bias": np.zeros(2, np.float32)}}):
        past.keep("run", "mine", dataclasses.replace(whole(), **bad), store)
        assert "damaged" in past.kept("run", "mine", store).no_head


def test_no_name_leads_elsewhere(store):
    past.keep("run", "mine", whole(), store)
    for name in ("../run/mine", "", "none", str(store.root / "named" / "run" / "mine")):
        assert past.kept("run", name, store) is None


def test_a_removed_file_leaves_nothing(store):
    (store.root / "named" / added.SOURCE).mkdir(parents=True)
    (store.root / "named" / added.SOURCE / "mine.json").write_text("{}")
    past.keep(added.SOURCE, "mine", whole(), store)
    added.remove("mine", store)
    assert list((store.root / "named" / added.SOURCE).iterdir()) == []


def test_the_sample_is_bounded_has_every_class_and_equal_pictures_once():
    data = dataset(1000)
    drawn = splits(data)
    rows = run_past.sample(data, drawn, flops=10**9)
    assert len(rows) == len(set(rows.tolist())) == past.MOST
    assert set(rows.tolist()) <= set(drawn.train.tolist())
    share = np.bincount(data.targets[rows]) / len(rows) - np.bincount(data.targets[drawn.train]) / len(drawn.train)
    assert np.abs(share).max() < 0.01
    assert (np.diff(data.targets[rows]) >= 0).all()
    assert len(run_past.sample(data, drawn, flops=75 * 10**9)) == past.LEAST
    assert len(run_past.sample(data, drawn, flops=8 * 10**9)) == 125
    same = dataclasses.replace(data, digests=tuple(f"{at // 50:064x}" for at in range(1000)))
    assert len(run_past.sample(same, drawn, flops=10**9)) == 20
