"""Two small fits in a fresh cache: the second one's forecast has learnt from the first, and both are checked."""

import json

import pytest

import headstart
from command_line import LITE0, call, cold
from headstart.core.store import Store
from headstart.kit import history

pytestmark = pytest.mark.medium


def test_the_second_forecast_has_learnt_from_the_first(shared_store, small_textile, tmp_path, monkeypatch):
    env = {**cold(shared_store, tmp_path / "cache"), "HEADSTART_HISTORY": "on"}
    data, usual = small_textile(25), ("--backbones", LITE0, "--json")
    stdout, _ = call("fit", data, *usual, "--out", tmp_path / "one", env=env, light=False)
    first = json.loads(stdout)["forecast"]
    assert "no earlier run" in first["forecasts"][0]["rests_on"][-1]

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
    assert [one.forecast[0].value for one in kept] == [old["value"], new["value"]]
