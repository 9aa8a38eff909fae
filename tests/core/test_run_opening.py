"""Which folder a run gets."""

import shutil

import pytest

from headstart.core import job as jobs
from headstart.core.console import Console
from headstart.core.errors import DataError, UsageError
from headstart.core.run.opening import find_free_folder, open_run, require_free_folder
from headstart.core.run.reader import RunReader
from headstart.core.storage import serialization
from headstart.core.types import Dataset
from made_runs import dataset


def test_the_same_job_gets_its_unfinished_folder_and_unreadable_ones_are_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = jobs.make_job(data="pictures", seed=3)
    first = find_free_folder("set", job)
    first.mkdir(parents=True)
    (first / "job.toml").write_text('data = "pictures"\nof_a_newer_version = 1\n')
    second = find_free_folder("set", job)
    assert second != first
    jobs.write_job(job, second / "job.toml")
    assert find_free_folder("set", job) == second
    assert find_free_folder("set", jobs.make_job(data="pictures", seed=4)) not in (first, second)
    (second / "report.html").write_text("done")
    assert find_free_folder("set", job) not in (first, second)


def test_the_settings_that_differ_are_named(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    jobs.write_job(jobs.make_job(data="pictures", seed=0, backbones="a,b"), run / "job.toml")
    (run / "decisions.jsonl").write_text("")
    with (
        pytest.raises(UsageError) as caught,
        open_run(run, jobs.make_job(data="pictures", seed=7), Console(quiet=True)),
    ):
        pass
    assert "`seed` 7 here, 0 there" in caught.value.what
    assert "`backbones` auto here, a,b there" in caught.value.what
    assert "`folds`" not in caught.value.what


@pytest.mark.parametrize(
    "names", [[], [".lock", ".owner.json"], [".lock", "format.json"], ["format.json", "job.toml", "a"]]
)
def test_a_new_folder_and_that_of_a_run_however_short_may_be_taken(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    assert require_free_folder(tmp_path) == tmp_path
    assert require_free_folder(tmp_path / "none") == tmp_path / "none"


@pytest.mark.parametrize("names", [["README.md"], ["job.toml"], ["format.json", "data"]])
def test_a_folder_of_other_files_is_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="is not empty and is no run"):
        require_free_folder(tmp_path)


QUIET = Console(quiet=True)


@pytest.fixture
def begun(tmp_path):
    """A run of pictures in an absolute place, its job and its read data."""
    data = tmp_path / "home of somebody" / "pictures"
    data.mkdir(parents=True)
    (data.parent / "costs.csv").touch()
    job, run = jobs.make_job(data=str(data), costs=str(data.parent / "costs.csv")), tmp_path / "run"
    with open_run(run, job, QUIET) as ctx:
        ctx.record_decision("adapt/time", lambda: 3.0)
        serialization.save_value(dataset([0, 1, 2], root="pictures"), ctx.make_step_folder("read"))
    return run, job


def test_one_file_alone_says_where_the_pictures_of_a_run_lie(begun):
    run, job = begun
    files = [path for path in run.rglob("*") if path.is_file()]
    assert [path.name for path in files if b"home of somebody" in path.read_bytes()] == [jobs.LOCAL_FILE]
    assert 'data = "pictures"' in (run / "job.toml").read_text()
    assert RunReader(run).job == job
    assert RunReader(run).dataset.root == RunReader(run).find_json(Dataset)["root"] == job.data


def test_a_run_that_was_handed_on_goes_on_with_the_pictures_of_the_same_name(begun, tmp_path):
    run, job = begun
    (run / jobs.LOCAL_FILE).unlink()
    assert RunReader(run).job.data == RunReader(run).dataset.root == "pictures"
    other = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "home of somebody", other)
    with pytest.raises(UsageError, match="belongs to another job: `data`"), open_run(run, _moved(job, tmp_path), QUIET):
        pass
    with open_run(run, _moved(job, other / "pictures"), QUIET) as ctx:
        assert ctx.run.find_decision("adapt/time") == 3.0
    assert RunReader(run).dataset.root == str(other / "pictures")


def _moved(job, data):
    return jobs.make_job(data=str(data), costs=str(data.parent / "costs.csv"))


def test_a_run_of_an_earlier_version_holds_the_paths_itself(begun, tmp_path):
    run, job = begun
    (run / jobs.LOCAL_FILE).unlink()
    jobs.write_job(job, run / "job.toml")
    serialization.save_value(dataset([0, 1, 2], root="/of/old"), run / "read")
    assert RunReader(run).job == job
    assert RunReader(run).dataset.root == "/of/old"
    with open_run(run, job, QUIET) as ctx:
        assert ctx.run.find_decision("adapt/time") == 3.0


def test_a_run_is_done_anew_where_that_is_asked_for(begun):
    run, job = begun
    (run / "notes of mine.txt").touch()
    with pytest.raises(UsageError, match="another job"), open_run(run, jobs.make_job(data=job.data), QUIET, again=True):
        pass
    with open_run(run, job, QUIET, again=True) as ctx:
        assert ctx.run.find_decision("adapt/time") is None
        assert not (run / "read").exists()
        assert (run / "notes of mine.txt").exists()
        assert RunReader(run).job == job


def test_a_refused_run_leaves_a_folder_only_where_something_was_decided(tmp_path):
    job = jobs.make_job(data=str(tmp_path))
    for name, is_decided in (("refused", False), ("decided", True)):
        with pytest.raises(DataError), open_run(tmp_path / name, job, QUIET) as ctx:
            (ctx.make_step_folder("read") / "files.csv").touch()
            if is_decided:
                ctx.record_decision("rank/chosen", lambda: "made:good@last")
            raise DataError("one class")
        assert (tmp_path / name).exists() == is_decided
    with pytest.raises(KeyboardInterrupt), open_run(tmp_path / "interrupted", job, QUIET):
        raise KeyboardInterrupt
    assert (tmp_path / "interrupted" / "job.toml").is_file()
