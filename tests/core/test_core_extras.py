"""What belongs to which extra: the table agrees with the package, and what is missing is told in one sentence."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import headstart
from headstart.cli.main import main
from headstart.core import extras
from headstart.core.errors import SetupError

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_has_the_packages_of_the_project():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    made_by = packages_distributions()
    for extra, names in extras.EXTRAS.items():
        everywhere = [text for text in declared[extra] if ";" not in text]  # the others are for some systems alone
        wanted = {re.match(r"[\w.-]+", text)[0].lower() for text in everywhere}
        assert {made_by[name][0].lower().replace("_", "-") for name in names} == wanted, extra
    assert extras.EXTRAS.keys() == declared.keys()


def test_what_is_all_there_passes():
    for extra in extras.EXTRAS:
        extras.require_extra(extra, "this")
        assert extras.list_missing_packages(extra) == []


def test_one_sentence_names_the_extra(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(SetupError) as caught:
        headstart.fit("nowhere")
    told = "learning from pictures needs the extra `fit`; not installed: `keras`, `sklearn`, `scipy` and 7 more"
    assert (caught.value.what, caught.value.hint) == (told, 'pip install "headstart[fit]"')


def test_another_backend_than_tensorflow_is_not_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert extras.list_missing_packages("fit") == ["tensorflow"]
    extras.require_extra("fit", "this")


def test_an_import_that_fails_deep_down_is_told_by_its_extra(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "jinja2", None)

    def page(run, *, console):
        import jinja2

        return jinja2

    monkeypatch.setattr("headstart.api.commands.report", page)
    assert main(["report", str(tmp_path)]) == 3
    told = capsys.readouterr().err
    assert "error: this needs `jinja2` of the extra `fit`, which is not installed" in told
    assert 'hint: pip install "headstart[fit]"' in told


def test_any_other_failed_import_is_no_matter_of_extras():
    assert extras.find_missing_extra(ImportError("cannot import name", name="numpy")) is None
    assert (
        extras.find_missing_extra(ImportError("cannot import name `x` from `keras`", name="keras")) is None
    )  # it is there
