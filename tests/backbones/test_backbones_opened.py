"""What comes from a user's own disk is checked: names, numbers, places and descriptions."""

import numpy as np
import pytest

from headstart.core.errors import UsageError
from headstart.core.say import Say
from headstart.core.store import Store
from headstart.kit import added, adding
from headstart.kit.adding import Wish
from network_files import write_onnx

QUIET = Say(quiet=True)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A cache of this test's own, which is also the user's."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "own"))
    return Store(tmp_path / "own")


@pytest.mark.parametrize("wish", [{"scale": np.nan}, {"mean": (0.0, np.inf, 0.0)}, {"std": (np.nan,)}])
def test_a_scaling_that_is_no_number_is_refused(wish, own, tmp_path):
    write_onnx(tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="leaves no number of the pictures") as caught:
        adding.add(Wish(file=tmp_path / "net.onnx", **wish), own, QUIET)
    assert caught.value.where == f"--{next(iter(wish))}"
    assert added.names("saved_file", own) == ()
