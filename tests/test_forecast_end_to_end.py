"""Two small fits in a fresh cache: the second one's forecast has learnt from the first, and both are checked."""

import json
import shutil
import time

import pytest

import headstart
from command_line import LITE0, call, cold, differing, start
from headstart.core.storage.cache import Store
from headstart.selection.forecast import history
from run_records import record

pytestmark = pytest.mark.slow  # tests/selection/test_forecast_run.py holds the parts


def test_the_second_forecast_has_learnt_from_the_first(shared_store, small_textile, tmp_path, monkeypatch):
    env = {**cold(shared_store, tmp_path / "cache"), "HEADSTART_HISTORY": "on"}
    data, usual = small_textile(25), ("--backbones", LITE0, "--json")
    stdout, _ = call("fit", data, *usual, "--out", tmp_path / "one", env=env, light=False)
    first = json.loads(stdout)["forecast"]
    assert "no earlier run" in first["forecasts"][0]["rests_on"][-1]
    assert first["time"][0]["phase"] == "before" and first["time"][0]["taken_s"] > 0

    plan = json.loads(call("fit", data, *usual, "--seed", "1", "--dry-run", env=env)[0])
    stdout, stderr = call("fit", data, *usual, "--seed", "1", "--out", tmp_path / "two", env=env)
    second = json.loads(stdout)["forecast"]
    assert plan["forecast"] == second["forecasts"][0]  # what a dry run says is what the run says
    came, old, new = first["outcome"]["value"], first["forecasts"][0], second["forecasts"][0]
    assert abs(new["value"] - came) < abs(old["value"] - came)
    assert new["high"] - new["low"] < old["high"] - old["low"]
    assert "on these very pictures" in new["rests_on"][-1]
    assert "came out" in stderr and "was forecast at first" in stderr

    run = headstart.load(tmp_path / "two")
    assert run.forecasts.outcome == next(s for s in run.headline() if s.name == "accuracy")
    [seconds] = run.time_forecasts
    assert 0 < seconds.low_s < seconds.value_s < seconds.high_s
    assert seconds.taken_s > 0
    assert "Forecast and outcome" in (tmp_path / "two" / "report.html").read_text()
    monkeypatch.setenv("HEADSTART_HISTORY", "on")
    kept = history.records(Store(tmp_path / "cache"), pytest.fail)
    assert [history.score(one.final, "accuracy").value for one in kept] == [first["outcome"]["value"], came]


def test_a_killed_run_ends_as_the_unbroken_one_though_other_runs_ended_meanwhile(
    shared_store, small_textile, tmp_path, monkeypatch
):
    monkeypatch.setenv("HEADSTART_HISTORY", "on")
    env, store = cold(shared_store, tmp_path / "cache"), Store(tmp_path / "cache")
    words = ("fit", small_textile(25), "--backbones", LITE0, "--quiet")
    history.keep(record(0, accuracy=0.6), store)
    for number, sign in enumerate(("forecast/value.json", "rank/value.json"), 1):
        process = start(*words, "--out", tmp_path / "run", env=env, light=False)
        while not (tmp_path / "run" / sign).exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.communicate()
        history.keep(record(number, accuracy=0.99, planned_s=1.0, taken_s=900.0), store)
    call(*words, "--out", tmp_path / "run", env=env, light=False)
    shutil.rmtree(tmp_path / "cache" / "history")
    history.keep(record(0, accuracy=0.6), store)
    call(*words, "--out", tmp_path / "whole", env=env)
    assert differing(tmp_path / "run", tmp_path / "whole") == []
