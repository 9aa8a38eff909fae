"""The pace of a trunk is measured once a machine and kept; a twin has that of its trunk."""

import dataclasses
import math
import time

import numpy as np
import pytest

from headstart.core.say import Say
from headstart.core.store import Store
from headstart.kit import hardware, pace, trunk

LITE0 = "bundled:efficientnet_lite0"


class Slow:
    """An engine that takes a given time a picture."""

    def __init__(self, seconds):
        self.seconds, self.seen = seconds, 0

    def run(self, batches):
        for key, pictures in batches:
            self.seen += len(pictures)
            time.sleep(self.seconds * len(pictures))
            yield key, (np.zeros((len(pictures), 2), np.float32),)


PICTURES = np.zeros((8, 4, 4, 3), np.uint8)


@pytest.fixture(scope="module")
def spec():
    return trunk.find(LITE0).spec


def test_both_paces_are_measured(spec):
    """A picture takes at least so long here, however busy the machine is."""
    many, alone = Slow(0.002), Slow(0.01)
    found = pace.measure(many, lambda: alone, PICTURES)
    assert 0 < found["images_per_s"] <= 500 and found["latency_ms"] >= 10
    assert alone.seen >= 4 and many.seen >= 16


def test_a_slow_trunk_is_still_answered_a_few_times(spec):
    found = pace.measure(Slow(0.1), lambda: Slow(0.08), PICTURES[:1])
    assert found["latency_ms"] >= 80 and 0 < found["images_per_s"] <= 10


def test_it_is_measured_once_and_found_again(spec, store):
    named = {"threads": 2, "engine": "openvino 1"}
    made = []

    def alone():
        made.append(1)
        return Slow(0.001)

    first = pace.keep(spec, store, (Slow(0.001), alone, PICTURES), **named)
    again = pace.keep(spec, store, (Slow(0.5), alone, PICTURES), **named)
    assert first == again and len(made) == 1
    pace.keep(spec, store, (Slow(0.001), alone, PICTURES), threads=1, engine="openvino 1")
    pace.keep(spec, store, (Slow(0.001), alone, PICTURES), threads=2, engine="openvino 2")
    assert len(made) == 3


def test_a_random_twin_has_the_pace_of_its_trunk_and_other_backbones_have_their_own(spec):
    named = {"threads": 2, "engine": "openvino 1"}
    assert pace.key(trunk.find(f"random:{LITE0}").spec, **named) == pace.key(spec, **named)
    assert pace.key(trunk.find("efficientnet_lite1").spec, **named) != pace.key(spec, **named)
    assert pace.key(dataclasses.replace(spec, revision="2"), **named) != pace.key(spec, **named)


def test_what_was_never_measured_is_not_known(store):
    assert pace.known(store) == {} and math.isnan(pace.latency_ms(LITE0, store))


def test_the_processor_is_named(tmp_path):
    told = tmp_path / "cpuinfo"
    told.write_text("processor : 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: Some CPU @ 3 GHz\n")
    assert hardware.processor(told)["processor"] == "Some CPU @ 3 GHz"
    assert set(hardware.processor(tmp_path / "nothing")) == {"system", "architecture", "processor"}


@pytest.mark.medium
def test_a_trunk_is_timed_when_it_is_first_made_ready(shared_store, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_THREADS", "1")
    root = tmp_path / "cache"
    root.mkdir()
    for kind in ("weights", "trunks"):
        (root / kind).symlink_to(shared_store.root / kind, target_is_directory=True)
    store, found = Store(root), trunk.find(LITE0)
    pictures = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3)).astype(np.uint8)
    trunk.ready(found, store, Say(quiet=True), pictures, threads=1, precision="f32")
    assert set(pace.known(store)) == {LITE0}
    assert 5 < pace.known(store)[LITE0] < 5000 and 0.2 < pace.latency_ms(LITE0, store) < 500
    before = sorted((root / "paces").iterdir())
    trunk.ready(found, store, Say(quiet=True), pictures, threads=1)
    assert sorted((root / "paces").iterdir()) == before
    assert pace.latency_ms(f"random:{LITE0}", store) == pace.latency_ms(LITE0, store)
