"""A forecast is decided once, checked at the end, and the run leaves a record that names nothing of the user's."""

import dataclasses
import json
import re

import numpy as np
import pytest
from PIL import Image

import report_samples as samples
from headstart.core.storage import serialization
from headstart.core.types import Evaluation, Forecasts
from headstart.data.splits import ahead
from headstart.selection.forecast import forecast_model, history
from headstart.selection.forecast import forecast_run as run
from headstart.selection.forecast import history_record as record
from headstart.selection.forecast.run_time import planned_s
from run_records import record as other_run

LITE0 = "bundled:efficientnet_lite0"


@pytest.fixture(autouse=True)
def on(monkeypatch):
    monkeypatch.setenv("HEADSTART_HISTORY", "on")


@pytest.fixture
def data(tmp_path, context):
    from headstart.data.reading.read_dataset import read_dataset as read

    rng = np.random.default_rng(0)
    for name in ("secret_a", "secret_b", "secret_c"):
        (tmp_path / "secret" / name).mkdir(parents=True)
        for at in range(20):
            pixels = rng.integers(0, 256, (24, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "secret" / name / f"secret{at}.png")
    return read(str(tmp_path / "secret"), ctx=context(data=tmp_path / "secret", name="reading"))


def first(data, ctx):
    return run.before(data, ahead(data, ctx.job), [LITE0], 10.0, ctx=ctx)


def ended(data):
    found = samples.findings(data, test=12)
    return record.Ended(data, found.splits, found.ranking, found.adapted, found.evaluation)


def test_what_is_told_once_is_told_again_whatever_other_runs_came_to(data, context, store):
    told = first(data, context(store=store))
    for number in range(6):
        history.keep(other_run(number, accuracy=0.3, planned_s=10.0, taken_s=90.0), store)
    again = context(store=store)
    assert first(data, again) == told
    fresh = context(store=store, name="fresh")
    assert first(data, fresh).forecasts[0].value < told.forecasts[0].value
    then, now = (forecast_model.timed(ctx.run.path, "before") for ctx in (again, fresh))
    assert then.planned_s == now.planned_s
    assert then.value_s < now.value_s
    assert serialization.find_value(Forecasts, again.run.path / "forecast") == told


def test_a_damaged_record_is_told_once(data, context, store, capsys):
    history.keep(other_run(1), store)
    (store.root / "history" / "rubbish.json").write_text("{}")
    first(data, context(store=store))
    assert capsys.readouterr().err.count("is passed over") == 1


def test_seconds_are_in_no_file_but_timings(data, context, store):
    ctx = context(store=store)
    first(data, ctx)
    files = [path for path in ctx.run.path.rglob("*") if path.is_file() and path.name != "timings.json"]
    assert not [path for path in files if re.search(r"_s\"", path.read_text())]


def test_the_balanced_accuracy_is_forecast_where_it_is_the_metric(data, context):
    assert first(data, context(metric="balanced_accuracy")).forecasts[0].name == "balanced_accuracy"
    assert first(data, context(name="usual")).forecasts[0].name == "accuracy"


def test_after_the_probe_there_is_a_second_one(data, context, store):
    ctx = context(store=store, strategy="auto", budget="2m")
    probe = samples.findings(data, test=12)
    found = run.probed(data, probe.splits, probe.adapted, [LITE0], first(data, ctx), ctx=ctx)
    assert [one.phase for one in found.forecasts] == ["before", "probed"]
    assert "in cross-validation" in found.forecasts[1].rests_on[0]
    lasts = forecast_model.timed(ctx.run.path, "probed")
    assert 60 < lasts.value_s < 180


def test_what_came_out_is_laid_beside_it(data, context, store, capsys):
    ctx = context(store=store)
    ctx.console.quiet = False
    told = first(data, ctx)
    evaluation: Evaluation = samples.findings(data, test=12).evaluation
    found = run.check(told, evaluation, ctx=ctx)
    assert found.outcome.split == "test"
    assert found.outcome.name == "accuracy"
    assert serialization.find_value(Forecasts, ctx.run.path / "forecast") == found
    far = dataclasses.replace(told.forecasts[0], low=0.0, high=0.01)
    run.check(Forecasts(forecasts=(far,)), evaluation, ctx=ctx)
    said = capsys.readouterr().err
    assert ": inside" in said
    assert ": outside" in said
    assert "it took" in said


def test_a_run_done_in_several_goes_has_no_time(data, context, store):
    evaluation = samples.findings(data, test=12).evaluation
    whole, broken = context(store=store), context(store=store, name="broken")
    run.check(first(data, whole), evaluation, ctx=whole)
    first(data, broken)
    run.check(first(data, broken), evaluation, ctx=broken)
    assert np.isfinite(forecast_model.timed(whole.run.path, "before").taken_s)
    assert np.isnan(forecast_model.timed(broken.run.path, "before").taken_s)
    kept = forecast_model.timed(whole.run.path, "before").taken_s
    run.check(first(data, whole), evaluation, ctx=whole)  # a finished run is told again: its time stays
    assert forecast_model.timed(whole.run.path, "before").taken_s == kept


def test_the_record_names_nothing_of_the_users(data, context, store):
    ctx = context(store=store, data=data.root)
    checked = run.check(first(data, ctx), samples.findings(data, test=12).evaluation, ctx=ctx)
    of = ended(data)
    record.keep(of, ctx=ctx)
    [path] = (store.root / "history").iterdir()
    assert "secret" not in path.read_text()
    [found] = history.records(store, pytest.fail)
    assert sorted(found.counts) == sorted(np.bincount(np.asarray(data.targets)[of.splits.train]))
    assert {one.key for one in found.backbones} >= {LITE0}
    assert all(history.score(one.probe, "balanced_accuracy") for one in found.backbones)
    assert history.score(found.final, "accuracy") == checked.outcome
    assert history.score(found.final, "balanced_accuracy").split == "test"
    assert json.loads(path.read_text())["taken_s"] > 0


def test_a_record_that_cannot_be_kept_costs_the_run_nothing(data, context, store, capsys):
    ctx = context(store=store)
    store.root.mkdir(parents=True, exist_ok=True)
    (store.root / "history").write_text("a file in its place")
    record.keep(ended(data), ctx=ctx)
    assert "is not kept for later forecasts" in capsys.readouterr().err


def test_a_set_of_one_class_has_no_forecast(data, context):
    ctx = context()
    assert run.ahead(data, ((20,), 20), [LITE0], 1.0, ctx) is None


def test_what_is_reckoned_follows_the_request(context):
    def asked(**settings):
        return planned_s(context(**settings).job, (50, 50), 120, [LITE0], 10.0)

    assert asked() < 20
    assert asked(strategy="auto", budget="10m") == 600
    few, many = (asked(strategy="finetune", recipe=f"epochs={n}") for n in (2, 20))
    assert asked() < few < many


def test_sizes_are_those_of_a_draw(data, context):
    assert ahead(data, context(test_size=0.5).job) == ((10, 10, 10), 30)
    assert ahead(data, context().job) == ((20, 20, 20), 60)  # 4 of a class are too few to judge: cross-validation
    given = dataclasses.replace(data, split=("train",) * 30 + ("val",) * 10 + ("test",) * 20)
    assert ahead(given, context().job) == ((20, 10), 20)
