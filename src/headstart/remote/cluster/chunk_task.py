"""The task that runs on a worker: it compares its software with the driver's, then does one chunk."""

from __future__ import annotations

import platform
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headstart.core import provenance
from headstart.core.errors import HeadstartError, SetupError
from headstart.networks.hardware import describe_processor

_COMPUTING = ("headstart", "numpy", "openvino", "pillow")
_DECODING = ("nibabel", "pydicom", "python-gdcm", "rasterio")  # a worker may lack what its pictures do not need,
_TRAINING = ("keras", "tensorflow", "tensorflow-cpu")  # and a worker that only embeds these


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskAnswer:
    """What a task gives: the machine and its processor, and the answer, or the error that stops the work."""

    machine: str
    processor: str
    seconds: float = 0.0
    answer: Any = None
    error: HeadstartError | None = None


def describe_software() -> dict[str, str]:
    """What the bits of an answer depend on: Python and packages with their versions."""
    version = ".".join(platform.python_version_tuple()[:2])
    return {"python": version, **provenance.list_versions((*_COMPUTING, *_DECODING, *_TRAINING))}


def run_chunk(
    expected: Mapping[str, str],
    prepare: Callable[[Any, int], Any],
    function: Callable[[Any, Any, int], Any],
    shared: Any,
    part: Any,
    threads: int,
) -> TaskAnswer:
    """Do one chunk with so many threads; a fact that stops the work comes back as a value, with the machine's name."""
    machine, processor = socket.gethostname(), describe_processor()["processor"]
    try:
        require_same_software(expected, describe_software(), machine)
        prepared = prepare(shared, threads)
        started = time.monotonic()
        answer = function(prepared, part, threads)
        seconds = time.monotonic() - started
    except HeadstartError as err:
        err.what = f"on the worker `{machine}`: {err.what}"
        return TaskAnswer(machine=machine, processor=processor, error=err)
    except MemoryError:
        what, hint = f"the worker `{machine}` has too little memory", "--on-option threads=N starts fewer workers"
        return TaskAnswer(machine=machine, processor=processor, error=SetupError(what, hint=hint))
    return TaskAnswer(machine=machine, processor=processor, seconds=seconds, answer=answer)


def require_same_software(expected: Mapping[str, str], present: Mapping[str, str], machine: str) -> None:
    """Refuse a worker whose answers may be others than the driver's; a SetupError names both sides."""
    missing = {name: "none" for name in _COMPUTING if name not in present}
    others = {
        name: version
        for name, version in {**missing, **present}.items()
        if name in expected and version != expected[name]
    }
    if others:
        pairs = ", ".join(f"{name} {version}, here {expected[name]}" for name, version in sorted(others.items()))
        what = f"`{machine}` has other software than this machine: {pairs}"
        raise SetupError(what, hint="install the same versions on all machines of the cluster")
