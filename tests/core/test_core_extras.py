"""What belongs to which extra: the table agrees with the package, and what is missing is told in one sentence."""

import functools
import json
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import files, packages_distributions
from pathlib import Path

import pytest

import headstart
from headstart.cli.main import main
from headstart.core import extras
from headstart.core.errors import SetupError

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_has_the_packages_of_the_project():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra, names in extras.EXTRAS.items():
        everywhere = [text for text in declared[extra] if ";" not in text]  # the others are for some systems alone
        wanted = {re.match(r"[\w.-]+", text)[0].lower() for text in everywhere}
        assert {find_distribution(name) for name in names} == wanted, extra
    assert extras.EXTRAS.keys() == declared.keys()


@functools.cache
def find_distribution(name):
    """What installs `name`; of a package like `google`, that several share, the one with the part that is named."""
    owners, path = packages_distributions()[name.partition(".")[0]], f"{name.replace('.', '/')}/__init__.py"
    named = [owner for owner in owners if "." in name and path in {str(file) for file in files(owner)}]
    return (named or owners)[0].lower().replace("_", "-")


def test_what_is_all_there_passes():
    for extra in extras.EXTRAS:
        extras.require_extra(extra, "this")
        assert extras.list_missing_packages(extra) == []


def test_one_sentence_names_the_extra(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(SetupError) as caught:
        headstart.fit("nowhere")
    told = "learning from pictures needs the extra `fit`; not installed: `keras`, `sklearn`, `scipy` and 7 more"
    assert (caught.value.what, caught.value.hint) == (told, extras.format_install_command("fit"))


def test_what_installs_an_extra_names_where_headstart_came_from(tmp_path, monkeypatch):
    facts = tmp_path / "site" / f"headstart-{headstart.__version__}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: headstart\nVersion: {headstart.__version__}\n")
    monkeypatch.syspath_prepend(facts.parent)
    folder, editable = tmp_path / "a clone", {"dir_info": {"editable": True}}
    folder.mkdir()
    assert extras.format_install_command("fit") == 'pip install "headstart[fit]"'  # from an index of packages
    for origin, command in (
        ({"url": folder.as_uri(), "dir_info": {}}, f'pip install "{folder}[fit]"'),
        ({"url": folder.as_uri(), **editable}, f'pip install --editable "{folder}[fit]"'),
        ({"url": (tmp_path / "gone").as_uri(), **editable}, 'pip install "headstart[fit]"'),
    ):
        (facts / "direct_url.json").write_text(json.dumps(origin))
        assert extras.format_install_command("fit") == command


@pytest.mark.medium
def test_pip_takes_what_installs_an_extra():
    words = shlex.split(extras.format_install_command("fit"))
    offline = ["--dry-run", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    child = subprocess.run([sys.executable, "-m", *words, *offline], capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr
    assert f"headstart-{headstart.__version__}" in child.stdout


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
    assert f"hint: {extras.format_install_command('fit')}" in told


def test_a_part_of_a_shared_package_is_told_by_its_extra(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    for name in ("google.auth", "google.auth.transport"):
        fact = extras.find_missing_extra(ImportError("not there", name=name))
        assert fact.what == "this needs `google.auth` of the extra `gcp`, which is not installed"
    assert extras.find_missing_extra(ImportError("not there", name="google.protobuf")) is None


def test_any_other_failed_import_is_no_matter_of_extras():
    assert extras.find_missing_extra(ImportError("cannot import name", name="numpy")) is None
    assert (
        extras.find_missing_extra(ImportError("cannot import name `x` from `keras`", name="keras")) is None
    )  # it is there
