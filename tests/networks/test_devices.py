"""Which GPU is seen, why none is used, and what a run does about it; no GPU is here: Keras on the processor is one."""

import json
import os
import re

import numpy as np
import pytest

from headstart.api.preflight import preflight
from headstart.cli import machine_check
from headstart.core.console import Console
from headstart.core.errors import SetupError
from headstart.core.job import Job
from headstart.finetuning.training import memory
from headstart.networks import devices, hardware
from headstart.networks.device_engine import DeviceEngine, choose_batch
from headstart.networks.devices import CPU, Device
from headstart.testing.devices import replace_gpus

GPU = Device(name="Bench GPU", place="cpu:0", memory_bytes=2**30, capability=(8, 0))


def test_without_a_driver_no_framework_is_loaded_and_the_reason_is_told():
    assert devices.find_driver() == ""
    seen = devices.list_gpus()
    assert seen.gpus == () and "there is no driver" in seen.reason and "--device cpu" in seen.hint
    devices.require_gpu("auto")
    devices.require_gpu("cpu")
    with pytest.raises(SetupError, match="no GPU can be used: there is no driver"):
        devices.require_gpu("gpu")


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((9, 0), "mixed_bfloat16"), ((7, 5), "mixed_float16"), ((6, 1), "float32"), (None, "float32")],
)
def test_the_arithmetic_of_training_is_what_a_gpu_is_fast_in(capability, precision):
    gpu = Device(name="G", place="cpu:0", capability=capability)
    with replace_gpus(gpu), devices.run_on(gpu):
        assert hardware.choose_training_precision() == precision
        assert devices.current_device() == gpu
    assert devices.current_device() == CPU


def test_a_machine_s_gpus_are_told_by_kind():
    second, other = Device(name=GPU.name, place="cpu:1", capability=(8, 0)), Device(name="Old GPU", place="cpu:2")
    with replace_gpus(GPU, second, other):
        told = json.loads(devices.format_gpus())
    assert list(told) == ["2 x Bench GPU", "Old GPU"]
    assert told["2 x Bench GPU"].endswith("in mixed_bfloat16; one network trains on all 2 where a step is faster there")
    assert told["Old GPU"].endswith("trains in float32")


def test_the_memory_of_a_gpu_limits_a_step_where_it_is_known():
    small = Device(name="S", place="cpu:0", memory_bytes=1000)
    with replace_gpus(small), devices.run_on(small):
        assert memory._find_limit_bytes() == 800
    assert memory._find_limit_bytes() > 1000


def test_a_preflight_says_what_is_seen_and_that_int8_is_not_for_a_gpu(tmp_path):
    (tmp_path / "data").mkdir()
    what = {"run": tmp_path / "run", "console": Console(quiet=True), "fetching": False}
    job = Job(data=str(tmp_path / "data"), device="gpu")
    reason = "TensorFlow 2.21.0 is a build for processors alone"
    with replace_gpus(reason=reason, hint="install the other one"):
        [problem] = [p for p in preflight(job, **what) if p.where == "--device gpu"]
        assert problem.kind is SetupError and reason in problem.what and problem.hint == "install the other one"
    with replace_gpus(GPU):
        assert not [p for p in preflight(job, **what) if "device" in (p.where or "")]
        int8 = Job(data=str(tmp_path / "data"), device="gpu", precision="int8")
        assert any("int8" in problem.what for problem in preflight(int8, **what))


def test_a_run_ends_where_it_began(context):
    ctx = context(name="first")
    assert devices.choose_device(ctx) == CPU and ctx.run.read_decisions() == []
    ctx.record_decision("data", lambda: "digest")
    with replace_gpus(GPU):
        assert devices.choose_device(ctx) == CPU  # it began without one
        ctx = context(name="second")
        assert devices.choose_device(ctx) == GPU
        assert [decision["value"] for decision in ctx.run.read_decisions()] == [GPU.name]
        ctx.record_decision("data", lambda: "digest")
        assert devices.choose_device(ctx) == GPU
        assert devices.choose_device(context(name="second", device="cpu")) == CPU
    with pytest.raises(SetupError, match="began on `Bench GPU`, which is not here: there is no driver"):
        devices.choose_device(ctx)


class OutOfMemoryError(Exception):
    """Named as torch names its own."""


class Greedy:
    """A trunk of which so many pictures fit into memory."""

    def __init__(self, most):
        self.most, self.sizes = most, []

    def predict_on_batch(self, pictures):
        self.sizes.append(len(pictures))
        if len(pictures) > self.most:
            raise OutOfMemoryError("no room")
        return [pictures.mean(axis=(1, 2)), pictures.max(axis=(1, 2))]


def test_batches_are_gathered_and_halved_when_memory_runs_out(monkeypatch):
    lines, trunk = [], Greedy(4)
    monkeypatch.setattr("headstart.networks.device_engine.choose_batch", lambda *_: 16)
    engine = DeviceEngine(trunk, GPU, lines.append)
    pictures = np.random.default_rng(0).integers(0, 256, (23, 8, 8, 3), np.uint8)
    batches = [("a", pictures[:5]), ("b", pictures[5:19]), ("c", pictures[19:])]
    answers = list(engine.run(batches))
    assert [key for key, _ in answers] == ["a", "b", "c"] and [len(v[0]) for _, v in answers] == [5, 14, 4]
    means = np.concatenate([vectors[0] for _, vectors in answers])
    np.testing.assert_array_equal(means, pictures.astype(np.float32).mean(axis=(1, 2)))
    assert trunk.sizes == [16, 8, 4, 4, 4, 4, 4, 4]
    assert [re.search(r"now (\d+)", line)[1] for line in lines] == ["8", "4"]
    with pytest.raises(SetupError, match="does not fit into the memory of `Bench GPU`"):
        list(DeviceEngine(Greedy(0), GPU, lines.append).run([("a", pictures[:2])]))


def test_a_batch_fits_into_the_memory_of_the_device():
    import keras

    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(8, 3, padding="same")(inputs))  # 3 KB and 8 KB a picture
    counts = [choose_batch(model, Device(name="G", place="cpu:0", memory_bytes=b)) for b in (None, 2**30, 10**6, 10)]
    assert counts == [16, 256, 32, 1]


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A program of the driver's name that lists two GPUs of one kind and another."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf 'Bench GPU, 15000\\nBench GPU, 9000\\nOther, 3\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return program


def test_the_free_memory_is_that_of_the_fullest_gpu_of_a_name(nvidia_smi):
    assert devices.find_driver() == str(nvidia_smi)
    assert devices._read_free_bytes("Bench GPU") == 9000 * 2**20
    assert devices._read_free_bytes("Unknown") is None


@pytest.mark.medium
def test_where_a_driver_is_seen_the_backend_says_why_it_uses_none(nvidia_smi):
    seen = machine_check.describe_gpus()
    assert seen["driver"] == str(nvidia_smi)
    assert re.search(r"TensorFlow \S+ (cannot load its libraries: it wants CUDA|is a build for)", seen["not used"])
    assert 'pip install "tensorflow[and-cuda]"' in seen["not used"]
