import pytest

from headstart.core import settings
from headstart.core.errors import UsageError


@pytest.mark.parametrize(("given", "holds"), [(None, True), ("", True), ("on", True), ("off", False)])
def test_runs_are_learnt_from_unless_it_is_turned_off(monkeypatch, given, holds):
    monkeypatch.delenv("HEADSTART_HISTORY")
    if given is not None:
        monkeypatch.setenv("HEADSTART_HISTORY", given)
    assert settings.learns() is holds


def test_another_word_is_refused(monkeypatch):
    monkeypatch.setenv("HEADSTART_HISTORY", "no")
    with pytest.raises(UsageError, match="neither `on` nor `off`"):
        settings.learns()
