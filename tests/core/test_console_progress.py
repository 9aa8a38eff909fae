"""Progress where no terminal shows it moving: none, or a line a second where that is asked for."""

import io

import pytest

from headstart.core import console as saying
from headstart.core.console import Console


@pytest.mark.parametrize(("asked", "expected"), [(None, ""), ("lines", "\rembed       2 of 4 pictures"), ("no", "")])
def test_lines_of_progress_are_written_when_they_are_asked_for(monkeypatch, asked, expected):
    if asked:
        monkeypatch.setenv("HEADSTART_PROGRESS", asked)
    else:
        monkeypatch.delenv("HEADSTART_PROGRESS", raising=False)
    err = io.StringIO()
    with Console(err=err).show_progress("embed", 4) as progress:
        progress.count_done(2)
        progress.count_done(1)  # within the same second: no line of its own
    assert err.getvalue().partition(",")[0] == expected
    assert err.getvalue().count("\n") == bool(expected)


def test_every_line_of_its_own_comes_a_second_later(monkeypatch):
    monkeypatch.setenv("HEADSTART_PROGRESS", "lines")
    monkeypatch.setattr(saying, "_LINE_S", 0.0)
    err = io.StringIO()
    console = Console(err=err)
    console.draw_progress("one")
    console.draw_progress("two")
    console.print_line("embed", "done")
    assert err.getvalue() == "\rone\n\rtwo\nembed       done\n"
    assert not Console(err=err, quiet=True).shows_progress
