"""The processor: its name, whether mixed precision trains faster here, and how far this process's memory rises.

Processors without units for bfloat16 emulate it, more slowly than float32 and less exactly (Micikevicius et al., ICLR
2018, describe the method; float32 weights, bfloat16 arithmetic).
"""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from headstart.networks.devices import current_device

_CPU = Path("/proc/cpuinfo")
_CGROUP = Path("/sys/fs/cgroup")
_TILES = "amx_bf16"
_FULL = ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError")


def describe_processor(cpu: Path = _CPU) -> dict[str, str]:
    """What measured times depend on: system, architecture and the processor's name where the system tells it."""
    match = re.search(r"^model name[^:]*:(.*)$", _read_or_empty(cpu), re.M)
    name = match[1].strip() if match else platform.processor()
    return {"system": platform.system(), "architecture": platform.machine(), "processor": name}


def choose_training_precision(cpu: Path = _CPU) -> str:
    """`mixed_bfloat16` where the device in use gains by it, `mixed_float16` on some GPUs, else `float32`."""
    from headstart.networks.framework_state import silence_frameworks

    with silence_frameworks():  # training begins here: this may be where TensorFlow is loaded
        import keras  # noqa: F401
    device = current_device()
    if device.is_gpu:
        return device.precision
    return "mixed_bfloat16" if _TILES in _read_or_empty(cpu).split() else "float32"


def _read_or_empty(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def is_out_of_memory(err: BaseException) -> bool:
    """Whether an error says that memory ran out, whatever the backend."""
    return any(kind.__name__ in _FULL for kind in type(err).__mro__) or "RESOURCE_EXHAUSTED" in str(err)[:200]


@contextlib.contextmanager
def measure_memory_rise(process: Path = Path("/proc/self")) -> Iterator[list[int]]:
    """Bytes by which this process's memory rises at most in the block, there after it; empty where no mark resets."""
    rise: list[int] = []
    try:
        (process / "clear_refs").write_text("5")  # from here on the high-water mark counts anew
        start_bytes = _read_status_field(process, "VmRSS")
    except OSError:
        start_bytes = None
    yield rise
    peak_bytes = _read_status_field(process, "VmHWM")
    if start_bytes is not None and peak_bytes is not None:
        rise.append(max(0, peak_bytes - start_bytes))


def _read_status_field(process: Path, name: str) -> int | None:
    match = re.search(rf"^{name}:\s+(\d+) kB", _read_or_empty(process / "status"), re.M)
    return int(match[1]) * 1024 if match else None


def count_available_bytes() -> int | None:
    """Memory that is free, within the limits of the container; None where the system does not say."""
    free = re.search(r"^MemAvailable:\s+(\d+)", _read_or_empty(Path("/proc/meminfo")), re.M)
    limits = [int(free[1]) * 1024 if free else None, _free_of_container()]
    return min((limit for limit in limits if limit is not None), default=None)


def _free_of_container() -> int | None:
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        usage = dict(line.split() for line in (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
        return None if limit == "max" else int(limit) - used + int(usage.get("inactive_file", 0))
    except (OSError, ValueError):
        return None
