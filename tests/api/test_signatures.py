"""One `Job` drives everything: the parameters of the functions, the options, the keys of TOML and the docs agree."""

import argparse
import ast
import dataclasses
import importlib
import inspect
import re
import tomllib
import typing
from pathlib import Path

import pytest

import headstart
from headstart.api import commands
from headstart.cli import options
from headstart.core import job as jobs
from headstart.core import recipe as recipes

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {option.name: option for option in jobs.list_options()}
STEPS = ("audit", "embed", "rank", "demo")
READING = ("evaluate",)  # takes those that say how data is read
LOOSER = {
    "budget",
    "backbones",
    "recipe",
    "max_latency",
    "max_size",
    "costs",
    "exclude",
    "more",
    "test_of",
    "images",
    "order",
    "unlabeled",
    "adaptation",
}  # numbers, lists and paths go too


def test_fit_shows_every_setting_with_its_type_and_default():
    parameters = inspect.signature(headstart.fit).parameters
    settings = {name: parameter for name, parameter in parameters.items() if name in OPTIONS}
    assert list(settings) == list(OPTIONS)
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for name, parameter in settings.items():
        default = ",".join(value) if isinstance(value := OPTIONS[name].default, tuple) else value
        assert (parameter.default or default) == default, name
        assert OPTIONS[name].type in parameter.annotation.replace("jobs.", "") or name in LOOSER


@pytest.mark.parametrize("step", STEPS)
def test_the_steps_take_the_settings_of_fit_and_checkers_know_their_types(step):
    hint = typing.get_type_hints(getattr(commands, step), vars(commands) | {"Console": object})["settings"]
    assert typing.get_args(hint) == (jobs.Settings,)
    with pytest.raises(headstart.HeadstartError, match="unknown setting `bugdet`; did you mean `budget`"):
        getattr(headstart, step)(**({} if step == "demo" else {"data": "x"}), bugdet="5m")


def test_the_types_of_the_settings_are_those_of_fit():
    parameters = inspect.signature(headstart.fit).parameters
    types = {name: parameters[name].annotation.replace("jobs.", "") for name in OPTIONS}
    assert {
        name: str(hint.__forward_arg__).replace("recipes.", "") for name, hint in jobs.Settings.__annotations__.items()
    } == types


def test_the_defaults_of_a_function_are_those_of_the_job():
    parameters = inspect.signature(commands.fit).parameters
    given = {name: parameters[name].default for name in OPTIONS}
    assert jobs.make_job(data="x", **given) == jobs.Job(data="x")


def test_the_docs_of_fit_hold_the_help_of_every_setting():
    text = " ".join(commands.fit.__doc__.split())
    assert [name for name, option in OPTIONS.items() if f"{name}: {option.metadata['help']}." not in text] == []


def test_options_toml_and_docs_have_the_same_settings(tmp_path):
    parser = argparse.ArgumentParser()
    options.add_settings(parser)
    parsed = {action.dest: action for action in parser._actions if action.dest != "help"}
    jobs.write_job(jobs.Job(data="x"), tmp_path / "job.toml")
    table = re.findall(r"^\| `--([a-z-]+)`", (ROOT / "docs" / "fit.md").read_text(), re.M)
    assert list(OPTIONS) == list(parsed)
    assert list(OPTIONS) == [name.replace("-", "_") for name in table]
    assert {"data", *OPTIONS} == set(tomllib.loads((tmp_path / "job.toml").read_text()))
    assert all(OPTIONS[name].metadata["help"] in action.help for name, action in parsed.items())


def test_choices_are_those_of_the_recipe():
    assert OPTIONS["domain"].metadata["choices"] == ("auto", *recipes.DOMAINS)
    assert set(recipes.STRATEGIES) <= set(OPTIONS["strategy"].metadata["choices"])


def test_editors_see_what_is_loaded_when_first_used():
    stub = ast.parse((ROOT / "src" / "headstart" / "__init__.pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    names = {alias.asname: node.module for node in imports for alias in node.names}
    assert names == headstart._PUBLIC
    for name, module in names.items():
        value = getattr(headstart, name)
        assert value is getattr(importlib.import_module(module), name)
        if inspect.isclass(value):
            continue
        parameters = inspect.signature(value).parameters.values()
        assert not any(each.kind is each.VAR_POSITIONAL for each in parameters), name
        assert not any(each.kind is each.VAR_KEYWORD for each in parameters) or name in (*STEPS, *READING)
        assert inspect.getdoc(value), name


def test_a_number_is_a_budget_in_seconds_and_a_limit_in_its_unit(tmp_path):
    job = jobs.make_job(data="x", budget=120, max_latency=20, max_size=5e7, costs=Path("costs.csv"))
    assert (job.budget_s, job.max_latency_ms, job.max_size_bytes, job.costs) == (120, 20, 5e7, "costs.csv")
    assert jobs.make_job(data="x", budget=0.5).budget_s == 0.5
    (tmp_path / "job.toml").write_text('data = "x"\nbudget = 90.0\n')
    assert jobs.read_job(tmp_path / "job.toml").budget_s == 90
    assert not jobs.format_differences(jobs.make_job(data="x", budget=120), jobs.make_job(data="x", budget="2m"))
    for wrong, why in ((0, "above zero"), (-3, "above zero"), (float("nan"), "not a time"), (True, "is not a text")):
        with pytest.raises(headstart.HeadstartError, match=why):
            jobs.make_job(data="x", budget=wrong)


def test_a_job_has_no_field_without_help():
    assert all(field.metadata.get("help") for field in dataclasses.fields(jobs.Job))
