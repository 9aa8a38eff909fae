"""Run folders: decisions replay, a torn line never acted, one owner, newer formats refused."""

import json
import subprocess
import sys

import pytest

from headstart.core.errors import BusyError, DataError
from headstart.core.run.folder import RunFolder


def test_a_decision_is_made_once(tmp_path):
    with RunFolder(tmp_path).lock_folder():
        assert RunFolder(tmp_path).record_decision("order", lambda: ["b", "a"]) == ["b", "a"]
        assert RunFolder(tmp_path).record_decision("order", lambda: ["a", "b"]) == ["b", "a"]
    assert json.loads((tmp_path / "decisions.jsonl").read_text())["name"] == "order"


def test_a_decision_is_on_disk_before_it_acts(tmp_path):
    run = RunFolder(tmp_path)
    with run.lock_folder():
        taken = run.record_decision("epochs", lambda: 7, why="the clock")
        assert f'"value": {taken}' in (tmp_path / "decisions.jsonl").read_text()


def test_a_line_cut_short_by_a_kill_is_taken_anew(tmp_path):
    with RunFolder(tmp_path).lock_folder():
        RunFolder(tmp_path).record_decision("a", lambda: 1)
        RunFolder(tmp_path).record_decision("b", lambda: 2)
        path = tmp_path / "decisions.jsonl"
        path.write_bytes(path.read_bytes()[:-7])
        assert RunFolder(tmp_path).record_decision("a", lambda: 10) == 1
        assert RunFolder(tmp_path).record_decision("b", lambda: 20) == 20
    assert [json.loads(line)["value"] for line in path.read_text().splitlines()] == [1, 20]


def test_a_damaged_decision_is_not_taken_anew(tmp_path):
    with RunFolder(tmp_path).lock_folder():
        RunFolder(tmp_path).record_decision("a", lambda: 1)
        RunFolder(tmp_path).record_decision("b", lambda: 2)
        path = tmp_path / "decisions.jsonl"
        path.write_bytes(b"\x00" + path.read_bytes()[1:])
        with pytest.raises(DataError, match="decision of the run is damaged") as caught:
            RunFolder(tmp_path).record_decision("b", lambda: 3)
    assert caught.value.where.endswith("decisions.jsonl:1")


@pytest.mark.parametrize("forged", [b'"value": 2', b'"value": "x"', b'"value": {"a": [1]}'])
def test_a_forged_decision_is_refused_and_one_of_an_older_version_is_read(tmp_path, forged):
    path = tmp_path / "decisions.jsonl"
    RunFolder(tmp_path).record_decision("a", lambda: 1)
    assert RunFolder(tmp_path).record_decision("a", lambda: 5) == 1
    path.write_bytes(path.read_bytes().replace(b'"value": 1', forged))
    with pytest.raises(DataError, match="decision of the run is damaged: .* changed after it was written"):
        RunFolder(tmp_path).record_decision("a", lambda: 5)
    path.write_text('{"name": "a", "value": 3, "why": ""}\n')  # without a digest
    assert RunFolder(tmp_path).record_decision("a", lambda: 5) == 3


def test_a_deeply_nested_decision_is_named(tmp_path):
    (tmp_path / "decisions.jsonl").write_text("[" * 100_000 + "\n")
    with pytest.raises(DataError, match="decision of the run is damaged"):
        RunFolder(tmp_path).read_decisions()


def test_a_damaged_format_is_told(tmp_path):
    for content in ("", "[]", '{"format": "x"}'):
        (tmp_path / "format.json").write_text(content)
        with pytest.raises(DataError, match="damaged"):
            RunFolder(tmp_path).require_run()


def test_the_second_process_is_told(tmp_path):
    code = (
        "from headstart.core.run.folder import RunFolder; import sys; RunFolder(sys.argv[1]).lock_folder().__enter__()"
    )
    with RunFolder(tmp_path).lock_folder():
        second = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert second.returncode != 0
    assert "another process is working on the run" in second.stderr
    with RunFolder(tmp_path).lock_folder():
        pass


def test_the_second_opening_in_one_process_is_told_too(tmp_path):
    with (
        RunFolder(tmp_path).lock_folder(),
        pytest.raises(BusyError, match="process"),
        RunFolder(tmp_path).lock_folder(),
    ):
        pass


def test_a_newer_format_is_refused(tmp_path):
    (tmp_path / "format.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match="format 99"):
        RunFolder(tmp_path).require_run()
    with pytest.raises(DataError, match="format 99"), RunFolder(tmp_path).lock_folder():
        pass


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="no run folder"):
        RunFolder(tmp_path / "none").require_run()
    with pytest.raises(DataError, match="not a run folder"):
        RunFolder(tmp_path).require_run()


def test_what_a_killed_owner_left_half_written_is_gone(tmp_path):
    code = (
        "from headstart.core.storage import files; import os, sys, signal\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_bytes(files.Path(sys.argv[1]), b'a part')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "splits" / "rows.json")], check=False)
    (tmp_path / "splits" / "folds.json").write_text("{}")
    assert len(list((tmp_path / "splits").iterdir())) == 2
    with RunFolder(tmp_path).lock_folder():
        assert [path.name for path in (tmp_path / "splits").iterdir()] == ["folds.json"]
