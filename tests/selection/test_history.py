import json
import math
from dataclasses import replace

import pytest

from headstart.backbones import loading
from headstart.core import job
from headstart.core.errors import UsageError
from headstart.core.types import Score
from headstart.selection.forecast import history
from run_records import record


@pytest.fixture(autouse=True)
def on(monkeypatch):
    monkeypatch.setenv("HEADSTART_HISTORY", "on")


@pytest.fixture
def told():
    return []


def test_what_was_kept_is_read_again_the_oldest_first(store, told):
    young, old = record(1, made_s=200.0), record(2, made_s=100.0)
    for one in (young, old):
        history.keep(one, store)
    assert history.records(store, told.append) == (old, young)
    assert history.records(store, told.append, but=young.address) == (old,)
    assert told == []


def test_a_run_that_is_repeated_counts_once(store, told):
    history.keep(record(1, taken_s=60.0), store)
    history.keep(record(1, taken_s=3.0, made_s=900.0), store)
    [kept] = history.records(store, told.append)
    assert kept.taken_s == 60.0


def test_the_address_hangs_on_pictures_and_job_and_on_no_folder():
    one = history.address("a", job.make_job(data="here"))
    assert one == history.address("a", job.make_job(data="there"))
    assert one != history.address("b", job.make_job(data="here"))
    assert one != history.address("a", job.make_job(data="here", seed=1))


def test_another_cache_knows_nothing(store, tmp_path, told):
    history.keep(record(1), store)
    assert history.records(type(store)(tmp_path / "other"), told.append) == ()


def spoil(path, **change):
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 99}, "format 99"),
        ({"counts": []}, "counts"),
        ({"counts": "many"}, "damaged"),
        ({"backbones": 7}, "damaged"),
        ({"address": "another"}, "address"),
        ({"taken_s": -1.0}, "seconds"),
        ({"made_s": "yesterday"}, "damaged"),
        ({"final": [{"split": "test", "name": "accuracy", "value": 7.0, "low": 0, "high": 1, "n": 5}]}, "scores"),
        ({"final": [{"split": "test", "name": "accuracy", "value": None, "low": 0, "high": 1, "n": 5}]}, "scores"),
        ({"probe": [{"split": "cv", "name": "accuracy", "value": math.nan, "low": 0, "high": 1, "n": 5}]}, "scores"),
        ({"final": [{"split": "test", "name": "accuracy", "value": 0.5, "low": 0, "high": 1, "n": -5}]}, "scores"),
    ],
)
def test_what_is_damaged_or_foreign_is_passed_over_aloud(store, told, change, why):
    good, bad = record(1), record(2)
    for one in (good, bad):
        history.keep(one, store)
    spoil(store.root / "history" / f"{bad.address}.json", **change)
    assert history.records(store, told.append) == (good,)
    [sentence] = told
    assert why in sentence
    assert bad.address[:12] in sentence


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_record_is_passed_over_aloud(store, told, content):
    (store.root / "history").mkdir(parents=True)
    (store.root / "history" / "rubbish.json").write_bytes(content)
    assert history.records(store, told.append) == ()
    assert len(told) == 1


def test_what_could_not_be_measured_is_no_damage(store, told):
    unknown = Score(split="test", name="accuracy", value=math.nan, low=math.nan, high=math.nan, n=0)
    history.keep(replace(record(1), final=(unknown,)), store)
    [kept] = history.records(store, told.append)
    assert told == [] and math.isnan(kept.final[0].value) and history.score(kept.final, "accuracy") is None


def test_a_damaged_record_makes_room_for_a_whole_one(store, told):
    history.keep(record(1), store)
    spoil(store.root / "history" / f"{record(1).address}.json", counts=[])
    history.keep(record(1), store)
    assert history.records(store, told.append) == (record(1),)


def test_off_neither_keeps_nor_tells(store, told, monkeypatch):
    history.keep(record(1), store)
    monkeypatch.setenv("HEADSTART_HISTORY", "off")
    history.keep(record(2), store)
    assert history.records(store, told.append) == ()
    monkeypatch.setenv("HEADSTART_HISTORY", "on")
    assert history.records(store, told.append) == (record(1),)


def test_the_setting_is_one_of_two_words(store, monkeypatch):
    monkeypatch.setenv("HEADSTART_HISTORY", "sometimes")
    with pytest.raises(UsageError, match="`sometimes`"):
        history.keep(record(1), store)


def test_only_the_latest_are_looked_at(store, told, monkeypatch):
    monkeypatch.setattr(history, "MOST", 3)
    for number in range(5):
        history.keep(record(number, made_s=float(number)), store)
    assert [one.made_s for one in history.records(store, told.append)] == [2.0, 3.0, 4.0]


def test_the_oldest_make_room(store, told, monkeypatch):
    monkeypatch.setattr(history, "MOST", 3)
    (store.root / "history").mkdir(parents=True)
    (store.root / "history" / "of_another_version.json").write_text('{"format": 99}')
    for number in (4, 0, 3, 1, 2):
        history.keep(record(number, made_s=float(number)), store)
    left = {path.stem for path in (store.root / "history").iterdir()}
    assert left == {record(number).address for number in (2, 3, 4)} | {"of_another_version"}


def test_a_backbone_of_ones_own_is_known_by_its_content():
    spec = loading.find("bundled:efficientnet_lite0").spec
    assert history.key(spec) == spec.name
    mine = replace(spec, name="saved_file:acme_secret", revision="1-0123456789ab-01234567")
    assert history.key(mine) == "own:1-0123456789ab-01234567"
