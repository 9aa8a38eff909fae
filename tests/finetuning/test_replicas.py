"""One network trained on two devices, which are logical ones of the processor: no GPU is here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.medium
SCRIPT = Path(__file__).parent.parent / "two_devices.py"
ROUNDING = 1e-6  # between one device and two, in weights that moved by 5e-3; measured 1.5e-8


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """What `two_devices` printed in a process of its own."""
    command = [sys.executable, "-W", "error", SCRIPT, tmp_path_factory.mktemp("devices")]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run(command, capture_output=True, text=True, env=quiet)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_two_devices_give_the_weights_of_one(facts):
    assert facts["moved"] > 1e-3 and facts["one_to_two"] < ROUNDING
    one, two = facts["losses"]
    assert one == pytest.approx(two, abs=ROUNDING)
    assert 0 < facts["float16"] < 1e-3  # activations have 11 bits


def test_batches_with_fewer_pictures_than_devices_and_batches_in_parts_give_the_same(facts):
    assert max(facts["tails"]) < ROUNDING


def test_two_devices_repeat_bit_for_bit_also_when_a_kill_came_between(facts):
    assert facts["resumed"] == 0


def test_a_run_trains_on_all_devices_of_a_kind_where_a_step_is_faster_there(facts):
    assert facts["faster"]["places"] == ["cpu:0", "cpu:1"]
    assert facts["faster"]["decided"] == [{"count": 2, "of": 2, "one_s": 0.2, "all_s": 0.1}]
    times = "a step takes 0.1 s on 2 devices, 0.2 s on one"
    assert facts["faster"]["lines"] == [f"train       small:trunk trains on 2 x Bench GPU: {times}"]
    assert facts["again"] == facts["faster"]  # whatever the clock says later
    assert facts["slower"]["places"] == [] and facts["slower"]["decided"][0]["count"] == 1
    assert "small:trunk trains on 1 x Bench GPU: a step takes 0.2 s on 2 devices" in facts["slower"]["lines"][0]


def test_a_step_is_timed_on_one_device_and_on_all(facts):
    (steps,) = facts["measured"]["decided"]
    assert min(steps["one_s"], steps["all_s"]) > 0
    assert len(facts["measured"]["places"]) == (2 if steps["all_s"] < steps["one_s"] else 0)


def test_a_run_that_began_on_one_device_ends_on_one(facts):
    assert facts["alone"] == facts["joined"] == {"places": [], "decided": [{"count": 1}], "lines": []}


def test_what_cannot_be_spread_stays_on_one_device_and_says_why(facts):
    reason = "small:trunk trains on one device: its batch norm learns the statistics of whole batches"
    assert facts["norms"] == facts["faster"] | {"places": [], "lines": [f"train       {reason}"]}
    reason = "small:trunk trains on one device: a loss of two domains is of whole batches"
    assert facts["domain"] == {"places": [], "decided": [], "lines": [f"train       {reason}"]}
    assert facts["unlike"] == ["cpu:0"]
    assert facts["fewer"] == "the run trained small:trunk on 2 devices, here are 1 of the kind"
