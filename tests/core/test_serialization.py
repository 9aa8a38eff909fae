"""Values to disk and back."""

import math

import numpy as np
import pytest

from headstart.core.errors import DataError
from headstart.core.storage import serialization
from headstart.core.types import Audit, FittedHead, Outcome, Score


def test_nested_values_and_arrays_come_back(tmp_path):
    outcome = Outcome(code="D101", name="n", status="issue", why="w", links=((1, 2), (3, 4)))
    audit = Audit(phase="files", outcomes=(outcome,), clusters=np.arange(5))
    serialization.save_value(audit, tmp_path)
    back = serialization.load_value(Audit, tmp_path)
    assert back.outcomes == audit.outcomes
    np.testing.assert_array_equal(back.clusters, audit.clusters)


def test_mappings_of_arrays_come_back_bit_for_bit(tmp_path):
    weights = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    head = FittedHead(head="h", kind="linear", params={"c": 0.1}, arrays={"weights": weights}, trainable_params=21)
    serialization.save_value(head, tmp_path, "head")
    back = serialization.load_value(FittedHead, tmp_path, "head")
    assert back.arrays["weights"].tobytes() == weights.tobytes()
    assert back.params == {"c": 0.1}


def test_nan_is_null_and_comes_back(tmp_path):
    serialization.save_value(Score(split="test", name="auc", value=math.nan, low=0.0, high=1.0, n=0), tmp_path)
    assert '"value": null' in (tmp_path / "value.json").read_text()
    assert math.isnan(serialization.load_value(Score, tmp_path).value)


def test_what_is_stored_is_whole_absent_or_an_error(tmp_path):
    audit = Audit(phase="files", outcomes=(), clusters=np.arange(5))
    assert serialization.find_value(Audit, tmp_path) is None
    serialization.save_value(audit, tmp_path)
    assert serialization.find_value(Audit, tmp_path).phase == "files"
    whole = (tmp_path / "value.json").read_text()
    for content in ("", "[1]", whole[:-5], whole.replace('"npy": "', '"npy": "../'), whole.replace(".npy", ".gone")):
        (tmp_path / "value.json").write_text(content)
        with pytest.raises(DataError, match="damaged"):
            serialization.find_value(Audit, tmp_path)


def test_what_would_need_pickle_is_refused(tmp_path):
    head = FittedHead(head="h", kind="linear", params={}, arrays={"w": np.array([object()])}, trainable_params=0)
    with pytest.raises(ValueError, match="pickle"):
        serialization.save_value(head, tmp_path)
    with pytest.raises(TypeError, match="cannot be saved"):
        serialization.save_value(
            FittedHead(head="h", kind="l", params={"f": {1}}, arrays={}, trainable_params=0), tmp_path
        )


def test_two_savings_are_equal_byte_for_byte(tmp_path):
    audit = Audit(phase="files", outcomes=(), clusters=np.arange(5))
    for name in ("a", "b"):
        serialization.save_value(audit, tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
