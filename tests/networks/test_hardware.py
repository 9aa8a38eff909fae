"""Mixed precision where the processor has units for it, and memory that is free."""

import os
import subprocess
import sys

import psutil
import pytest

from headstart.networks import hardware
from headstart.networks.hardware import choose_training_precision


def test_a_processor_with_bfloat16_tiles_gains(tmp_path):
    told = tmp_path / "cpuinfo"
    told.write_text("flags : fpu avx512f amx_tile amx_bf16 amx_int8\n")
    assert choose_training_precision(told) == "mixed_bfloat16"


def test_a_processor_without_them_stays_in_float32(tmp_path):
    told = tmp_path / "cpuinfo"
    told.write_text("flags : fpu avx512f avx512_bf16x avx512_vnni\n")
    assert choose_training_precision(told) == "float32"
    assert choose_training_precision(tmp_path / "nothing") == "float32"


def test_what_is_free_is_less_than_what_there_is():
    free = hardware.count_available_bytes()
    assert free is not None and 0 < free <= psutil.virtual_memory().total


def test_the_limit_of_a_container_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "_CGROUP", tmp_path)
    assert hardware._free_of_container() is None
    for name, text in {"max": "5000000\n", "current": "3000000\n", "stat": "anon 7\ninactive_file 1000000\n"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert hardware._free_of_container() == hardware.count_available_bytes() == 3_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert hardware._free_of_container() is None


@pytest.mark.medium
def test_tensorflow_says_nothing_of_gpu_or_processor_where_training_loads_it():
    code = """
import pathlib
from headstart.networks.hardware import choose_training_precision
choose_training_precision(pathlib.Path("nothing"))
import keras
keras.ops.sum(keras.random.normal((4, 4)))
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert (done.stdout, done.stderr) == ("", "")
