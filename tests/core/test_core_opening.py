"""Which folder a run gets."""

from headstart.core import job as jobs
from headstart.core.opening import free_folder


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
