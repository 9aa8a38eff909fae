"""Which folder a run gets."""

import pytest

from headstart.core import job as jobs
from headstart.core.errors import UsageError
from headstart.core.opening import free_folder, opened
from headstart.core.say import Say


def test_the_same_job_gets_its_unfinished_folder_and_unreadable_ones_are_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = jobs.make(data="pictures", seed=3)
    first = free_folder("set", job)
    first.mkdir(parents=True)
    (first / "job.toml").write_text('data = "pictures"\nof_a_newer_version = 1\n')
    second = free_folder("set", job)
    assert second != first
    jobs.write(job, second / "job.toml")
    assert free_folder("set", job) == second
    assert free_folder("set", jobs.make(data="pictures", seed=4)) not in (first, second)
    (second / "report.html").write_text("done")
    assert free_folder("set", job) not in (first, second)


def test_the_settings_that_differ_are_named(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    jobs.write(jobs.make(data="pictures", seed=0, backbones="a,b"), run / "job.toml")
    (run / "decisions.jsonl").write_text("")
    with pytest.raises(UsageError) as caught, opened(run, jobs.make(data="pictures", seed=7), Say(quiet=True)):
        pass
    assert "`seed` 7 here, 0 there" in caught.value.what
    assert "`backbones` auto here, a,b there" in caught.value.what
    assert "`folds`" not in caught.value.what
