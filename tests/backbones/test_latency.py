"""The pace of a trunk is measured once a machine and kept; a twin has that of its trunk."""

import dataclasses
import math
import sys
import time

import numpy as np
import pytest

from headstart.backbones import latency, loading
from headstart.core.console import Console
from headstart.core.settings import count_threads
from headstart.core.storage.cache import Store
from headstart.networks import hardware, openvino_engine

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


def timed(stream, compile_single):
    return lambda: latency.measure_latency(stream, compile_single, PICTURES)


@pytest.fixture(scope="module")
def spec():
    return loading.find_backbone(LITE0).spec


def test_both_paces_are_measured(spec):
    """A picture takes at least so long here, however busy the machine is."""
    many, alone = Slow(0.002), Slow(0.01)
    found = latency.measure_latency(many, lambda: alone, PICTURES)
    assert 0 < found["images_per_s"] <= 500 and found["latency_ms"] >= 10
    assert alone.seen >= 4 and many.seen >= 16


def test_a_slow_trunk_is_still_answered_a_few_times(spec):
    found = latency.measure_latency(Slow(0.1), lambda: Slow(0.08), PICTURES[:1])
    assert found["latency_ms"] >= 80 and 0 < found["images_per_s"] <= 10


def test_it_is_measured_once_and_found_again(spec, store):
    named = {"threads": 2, "engine": "openvino 1"}
    made = []

    def alone():
        made.append(1)
        return Slow(0.001)

    first = latency.measure_once(spec, store, timed(Slow(0.001), alone), **named)
    again = latency.measure_once(spec, store, timed(Slow(0.5), alone), **named)
    assert first == again and len(made) == 1
    latency.measure_once(spec, store, timed(Slow(0.001), alone), threads=1, engine="openvino 1")
    latency.measure_once(spec, store, timed(Slow(0.001), alone), threads=2, engine="openvino 2")
    assert len(made) == 3


def test_it_is_measured_again_when_asked_for(spec, store):
    named = {"threads": count_threads(), "engine": openvino_engine.engine_name()}
    slow = latency.measure_once(spec, store, timed(Slow(0.05), lambda: Slow(0.05)), **named)
    fast = latency.measure_again(spec, store, timed(Slow(0.001), lambda: Slow(0.001)), **named)
    assert fast["images_per_s"] > 2 * slow["images_per_s"] and latency.read_latency(spec, store) == fast
    assert latency.measure_once(spec, store, timed(Slow(0.05), lambda: Slow(0.05)), **named) == fast


@pytest.mark.skipif(sys.platform != "linux", reason="the mark of memory can be set back on Linux alone")
def test_memory_that_is_taken_and_given_back_is_seen():
    with hardware.measure_memory_rise() as found:
        np.ones(10_000_000)
    assert 70e6 < found[0] < 150e6
    with hardware.measure_memory_rise() as found:
        pass
    assert found[0] < 20e6


def test_without_such_a_mark_memory_is_a_guess(tmp_path, spec):
    with hardware.measure_memory_rise(tmp_path / "nothing") as found:
        pass
    assert found == [] and latency.estimate_memory_bytes(spec) == 12 * spec.params


def test_a_random_twin_has_the_pace_of_its_trunk_and_other_backbones_have_their_own(spec):
    named = {"threads": 2, "engine": "openvino 1"}
    assert latency.latency_key(loading.find_backbone(f"random:{LITE0}").spec, **named) == latency.latency_key(
        spec, **named
    )
    assert latency.latency_key(loading.find_backbone("efficientnet_lite1").spec, **named) != latency.latency_key(
        spec, **named
    )
    assert latency.latency_key(dataclasses.replace(spec, revision="2"), **named) != latency.latency_key(spec, **named)


def test_what_was_never_measured_is_not_known(store):
    lite0 = loading.find_backbone(LITE0).spec
    assert latency.read_latency(lite0, store) == latency.read_images_per_s([lite0], store) == {} and math.isnan(
        latency.read_latency_ms(loading.find_backbone(LITE0).spec, store)
    )


def test_the_processor_is_named(tmp_path):
    told = tmp_path / "cpuinfo"
    told.write_text("processor : 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: Some CPU @ 3 GHz\n")
    assert hardware.describe_processor(told)["processor"] == "Some CPU @ 3 GHz"
    assert set(hardware.describe_processor(tmp_path / "nothing")) == {"system", "architecture", "processor"}


@pytest.mark.medium
def test_a_trunk_is_timed_when_it_is_first_made_ready(shared_store, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_THREADS", "1")
    root = tmp_path / "cache"
    root.mkdir()
    for kind in ("weights", "trunks"):
        (root / kind).symlink_to(shared_store.root / kind, target_is_directory=True)
    store, found = Store(root), loading.find_backbone(LITE0)
    pictures = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3)).astype(np.uint8)
    loading.load_engine(found, store, Console(quiet=True), pictures, threads=1, precision="f32")
    kept = latency.read_latency(found.spec, store)
    assert latency.read_images_per_s([found.spec, loading.find_backbone("efficientnet_lite1").spec], store) == {
        LITE0: kept["images_per_s"]
    }
    assert (
        5 < kept["images_per_s"] < 5000
        and 0.2 < latency.read_latency_ms(loading.find_backbone(LITE0).spec, store) < 500
    )
    if sys.platform == "linux":
        weights = 4 * found.spec.params
        assert weights / 2 < kept["memory_bytes"] < 10 * weights  # what was freed before is used again
    before = sorted((root / "paces").iterdir())
    loading.load_engine(found, store, Console(quiet=True), pictures, threads=1)
    assert sorted((root / "paces").iterdir()) == before
    assert latency.read_latency_ms(loading.find_backbone(f"random:{LITE0}").spec, store) == latency.read_latency_ms(
        loading.find_backbone(LITE0).spec, store
    )
