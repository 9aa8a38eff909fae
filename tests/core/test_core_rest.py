"""Keys, errors, registry, settings and the terminal."""

import io
import json
import os
import subprocess
import sys

import pytest

from headstart.core import registry, settings
from headstart.core.console import Console, format_bytes, format_duration
from headstart.core.errors import HeadstartError, UsageError
from headstart.core.storage import hashing
from headstart.core.storage.files import format_printable, write_json


def test_equal_things_have_equal_keys():
    assert hashing.compute_digest({"b": (1, 2), "a": 0.5}) == hashing.compute_digest({"a": 0.5, "b": [1, 2]})
    assert hashing.compute_digest({"a": 1}) != hashing.compute_digest({"a": 1.5})


@pytest.mark.parametrize("thing", [float("nan"), float("inf"), object(), {1, 2}])
def test_what_has_no_canonical_text_is_refused(thing):
    with pytest.raises((TypeError, ValueError)):
        hashing.compute_digest({"a": thing})


def test_an_error_shows_what_where_and_hint():
    text = HeadstartError("`x` is wrong", where="a.csv, row 3", hint="headstart doctor").format_text()
    assert text == "error: `x` is wrong\nat: a.csv, row 3\n\nhint: headstart doctor"


def test_heads_are_found_without_import():
    assert "logistic" in registry.list_plugins("heads")
    assert registry.read_summary("heads", "logistic")


def test_a_plugin_of_another_package_is_listed_and_loaded(tmp_path):
    files = {
        "other.py": '"""A head of another package."""\n\nclass Other:\n    "Answers at random."\n\nPLUGIN = Other()\n',
        "other-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n",
        "other-1.0.dist-info/entry_points.txt": "[headstart.heads]\nrandom = other:PLUGIN\n",
    }
    (tmp_path / "other-1.0.dist-info").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    code = (
        "from headstart.core import registry as r; print(*r.list_plugins('heads'), r.read_summary('heads', 'random'))"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    heads = "adjacent_category binary_logistic knn lda logistic nearest_mean random ridge ridge_regression"
    assert done.stdout == f"{heads} Answers at random.\n"


def test_an_unknown_plugin_names_the_nearest():
    with pytest.raises(UsageError, match="`logistc`") as caught:
        registry.load_plugin("heads", "logistc")
    assert "logistic" in caught.value.hint


def test_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    monkeypatch.setenv("HEADSTART_THREADS", "3")
    assert settings.cache_folder() == tmp_path
    assert settings.count_threads() == 3
    for wrong in ("0", "two", "-1", "\u00b2"):
        monkeypatch.setenv("HEADSTART_THREADS", wrong)
        with pytest.raises(UsageError, match="HEADSTART_THREADS"):
            settings.count_threads()
    monkeypatch.delenv("HEADSTART_CACHE")
    assert settings.cache_folder().name == "headstart"
    with pytest.raises(KeyError):
        settings.read_setting("HEADSTART_NO_SUCH")


@pytest.mark.parametrize(("s", "text"), [(0.84, "0.8 s"), (42, "42 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")])
def test_durations(s, text):
    assert format_duration(s) == text


def test_sizes():
    assert [format_bytes(n) for n in (12, 18_826_032, 2.5e12)] == ["12 B", "18.8 MB", "2.5 TB"]


def test_results_and_progress_are_apart():
    console = Console(json=True, err=io.StringIO(), out=io.StringIO())
    with console.show_progress("embed", 10) as progress:
        progress.count_done(10, cached=True)
    console.print_line("embed", "10 pictures")
    console.print_result("text", {"a": 1})
    assert json.loads(console.out.getvalue()) == {"a": 1}
    assert console.err.getvalue() == "embed       10 pictures\n"
    assert "\x1b" not in console.err.getvalue()


def test_quiet_still_warns():
    console = Console(quiet=True, err=io.StringIO(), out=io.StringIO())
    console.print_line("read", "hidden")
    console.print_warning("shown")
    assert console.err.getvalue() == "warning: shown\n"


def test_any_file_name_can_be_shown_and_written(tmp_path):
    name = "a\nb\udcff\x1b[0m.jpg"
    assert format_printable(name) == "a\\nb\\udcff\\x1b[0m.jpg"
    write_json(tmp_path / "a.json", {"name": name})
    assert json.loads((tmp_path / "a.json").read_text())["name"] == name
