"""Jobs: checked in one pass, to TOML and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core import job as jobs
from headstart.core import quantities
from headstart.core.errors import UsageError


def test_all_problems_are_told_at_once():
    with pytest.raises(UsageError) as caught:
        jobs.make_job(data="x", strategy="magic", folds=1, budget="soon", test_size=2.0)
    for word in ("magic", "folds", "soon", "test_size"):
        assert word in caught.value.what


def test_an_unknown_setting_names_the_nearest():
    with pytest.raises(UsageError, match="`bugdet`.*`budget`"):
        jobs.make_job(data="x", bugdet="5m")


def test_a_wrong_type_is_told():
    with pytest.raises(UsageError, match="seed `one` is not a whole number"):
        jobs.make_job(data="x", seed="one")


@pytest.mark.parametrize(("text", "want"), [("90s", 90), ("5m", 300), ("1.5h", 5400), ("7", 7)])
def test_times(text, want):
    assert quantities.parse_duration_s(text) == want


@pytest.mark.parametrize("text", ["", "m", "-5m", "0s", "5 days", "nan"])
def test_no_times(text):
    with pytest.raises(UsageError, match="not a time"):
        quantities.parse_duration_s(text)


@given(
    data=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
    seed=st.integers(0, 2**31 - 1),
    test_size=st.floats(0, 0.9),
    backbones=st.lists(st.sampled_from(["auto", "bundled:efficientnet_lite0"]), min_size=1).map(tuple),
)
def test_toml_keeps_a_job(tmp_path_factory, data, seed, test_size, backbones):
    job = jobs.make_job(data=data, seed=seed, test_size=test_size, backbones=backbones)
    path = tmp_path_factory.mktemp("job") / "job.toml"
    jobs.write_job(job, path)
    assert jobs.read_job(path) == job


def test_a_broken_file_is_told(tmp_path):
    (tmp_path / "job.toml").write_text("data = ")
    with pytest.raises(UsageError, match="not TOML"):
        jobs.read_job(tmp_path / "job.toml")


def test_every_option_has_help_and_a_valid_default():
    assert all(option.metadata["help"] for option in jobs.list_options())
    assert jobs.find_problems(jobs.Job(data="x")) == []


@pytest.mark.parametrize(("text", "want"), [("20ms", 20), ("0.5s", 500), ("7", 7), ("1.5 ms", 1.5)])
def test_latencies(text, want):
    assert quantities.parse_latency_ms(text) == want
    assert jobs.make_job(data="x", max_latency=text).max_latency_ms == want


@pytest.mark.parametrize(("text", "want"), [("50MB", 50e6), ("800 kB", 8e5), ("1.5gb", 1.5e9), ("7", 7), ("9B", 9)])
def test_sizes(text, want):
    assert quantities.parse_bytes(text) == want
    assert jobs.make_job(data="x", max_size=text).max_size_bytes == want


def test_without_limits_nothing_is_limited():
    job = jobs.make_job(data="x")
    assert job.license == "any" and job.max_latency_ms == job.max_size_bytes == float("inf")


def test_limits_that_cannot_be_read_are_all_told():
    with pytest.raises(UsageError) as caught:
        jobs.make_job(data="x", max_latency="20 MB", max_size="0", license="mit", budget="")
    for word in ("max_latency: `20 MB` is not a latency", "max_size: `0` is not a size", "license `mit`", "budget: ``"):
        assert word in caught.value.what


def error(**given):
    with pytest.raises(UsageError) as caught:
        jobs.make_job(data="x", **given)
    return caught.value


def test_it_is_told_where_something_is_wrong():
    assert error(seed=-1, folds=1).where == "--folds, --seed"
    assert error(max_size="much").where == "--max-size"
    found = error(strategy="finetune", recipe="epochs=0")
    assert found.where == "--recipe"
    assert "fields of a recipe" in found.hint


def test_a_wrong_strategy_is_told_once_with_the_nearest():
    found = error(strategy="fintune")
    assert found.what.count("fintune") == 1
    assert found.what.endswith("did you mean `finetune`?")
    assert found.where == "--strategy"
    assert "did you mean `mlflow`?" in error(track="mlfow").what


@pytest.mark.parametrize("text", ["-4m", "0s"])
def test_a_budget_that_is_not_above_zero_is_told(text):
    assert error(budget=text).what == f"budget: `{text}` is not a time above zero: write 90s, 5m or 1h"


def test_a_wrong_job_file_is_named(tmp_path):
    (tmp_path / "job.toml").write_text('data = "x"\nfolds = 1\n')
    with pytest.raises(UsageError) as caught:
        jobs.read_job(tmp_path / "job.toml")
    assert caught.value.where == str(tmp_path / "job.toml")


def test_a_run_that_began_with_settings_of_an_earlier_version_still_opens(tmp_path):
    (tmp_path / "job.toml").write_text('data = "x"\nrecipe = ["part=middle"]\nstrategy = "finetune"\nnested = true\n')
    with pytest.raises(UsageError, match="unknown setting `nested`"):
        jobs.read_job(tmp_path / "job.toml")
    (tmp_path / "format.json").write_text("{}")
    assert jobs.read_job(tmp_path / "job.toml").recipe == ("part=middle",)


def test_an_address_is_an_absolute_path_whose_last_part_alone_is_handed_on(tmp_path):
    made = jobs.make_job(data="s3://shop/sets/textile/")
    jobs.write_run_job(made, tmp_path)
    jobs.write_local_paths(made, tmp_path)
    (tmp_path / "format.json").write_text("{}")
    assert 'data = "textile"' in (tmp_path / "job.toml").read_text()
    assert "shop" not in (tmp_path / "job.toml").read_text()
    stored = jobs.read_job(tmp_path / "job.toml")
    assert stored.data == "s3://shop/sets/textile" and jobs.format_differences(stored, made) == []
    assert jobs.format_differences(stored, jobs.make_job(data="s3://other/sets/textile"))


def test_an_order_makes_the_task_ordinal():
    job = jobs.make_job(data="x", order="low, medium,high")
    assert job.order == ("low", "medium", "high") and job.task == "ordinal"
    assert jobs.make_job(data="x", order=[0, 1, 2]).order == ("0", "1", "2")
    with pytest.raises(UsageError) as caught:
        jobs.make_job(data="x", order="low,high,low", task="classification")
    assert "order has no effect with task `classification`" in caught.value.what
    assert "order names `low` twice" in caught.value.what
