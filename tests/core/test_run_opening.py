"""Which folder a run gets."""

import pytest

from headstart.core import job as jobs
from headstart.core.console import Console
from headstart.core.errors import UsageError
from headstart.core.run.opening import find_free_folder, open_run, require_free_folder


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
