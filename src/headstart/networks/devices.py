"""GPUs that Keras' backend can use, and why one that is there is not used.

Where no driver is seen no framework is loaded to find out: on such a machine nothing changes. On a GPU float32 stays
float32: the shorter TF32, which TensorFlow takes by itself, is outside the parity that vectors must have.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.core.errors import SetupError
from headstart.core.provenance import find_version
from headstart.core.run.context import Context

DECISION = "device"
_DRIVER_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # NVIDIA, Windows' Linux, AMD
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_TENSORFLOW = 'pip install "tensorflow[and-cuda]"'
_BFLOAT16, _FLOAT16 = (8, 0), (7, 0)  # compute capability of the first NVIDIA GPUs with fast units for them
_ASK_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where a network runs."""

    name: str  # as its maker calls it
    place: str  # as `keras.device` takes it
    memory_bytes: int | None = None  # free when it was first looked at; None where nobody says
    capability: tuple[int, int] | None = None  # of NVIDIA's GPUs

    @property
    def is_gpu(self) -> bool:
        """Whether it is another thing than this processor."""
        return self != CPU

    @property
    def precision(self) -> str:
        """The fastest arithmetic for training on this GPU that still trains well."""
        capability = self.capability or (0, 0)
        return next(
            (
                kind
                for least, kind in ((_BFLOAT16, "mixed_bfloat16"), (_FLOAT16, "mixed_float16"))
                if capability >= least
            ),
            "float32",
        )


CPU = Device(name="CPU", place="cpu:0")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceList:
    """The GPUs that the backend can use; where there is none, why, and what to do about it."""

    gpus: tuple[Device, ...] = ()
    reason: str = ""
    hint: str = ""


REPLACED_LIST: ContextVar[DeviceList | None] = ContextVar("REPLACED_LIST", default=None)  # by headstart.testing.devices
_CURRENT: ContextVar[Device] = ContextVar("_CURRENT", default=CPU)


def list_gpus() -> DeviceList:
    """What Keras' backend sees; it is loaded where a driver is here, and only there."""
    replaced = REPLACED_LIST.get()
    return _list_gpus() if replaced is None else replaced


def find_driver() -> str:
    """The first trace of a GPU's driver, such as the path of nvidia-smi; empty when there is none."""
    return shutil.which("nvidia-smi") or next((path for path in _DRIVER_FILES if Path(path).exists()), "")


def require_gpu(device: str) -> None:
    """Refuse the setting `gpu` where none can be used: a SetupError with what is seen and why it is not used."""
    if device == "gpu" and not (visible := list_gpus()).gpus:
        raise SetupError(f"no GPU can be used: {visible.reason}", where="--device gpu", hint=visible.hint)


def choose_device(ctx: Context) -> Device:
    """Where the networks of a run compute; what a run began on it ends on.

    A GPU is recorded as a decision. A run without that record began without one.

    Raises:
        SetupError: The run needs a GPU, and the one of the record is not here.
    """
    if ctx.job.device == "cpu":
        return CPU
    require_gpu(ctx.job.device)
    recorded = ctx.run.find_decision(DECISION)
    if recorded is None and ctx.job.device == "auto" and ctx.run.find_decision("data") is not None:
        return CPU
    visible = list_gpus()
    if recorded is None and not visible.gpus:
        return CPU
    why = "what Keras' backend sees; auto embeds there where that is faster, and trains there"
    name = str(ctx.record_decision(DECISION, lambda: visible.gpus[0].name, why))
    for gpu in visible.gpus:
        if gpu.name == name:
            return gpu
    others = ", ".join(gpu.name for gpu in visible.gpus) or visible.reason
    raise SetupError(
        f"the run began on `{name}`, which is not here: {others}",
        where=str(ctx.run.path),
        hint="end it on such a machine, or begin another run with --out",
    )


@contextmanager
def run_on(device: Device) -> Iterator[None]:
    """Let Keras compute there while the block runs, exact in float32; without any GPU nothing is done."""
    if not list_gpus().gpus:
        yield
        return
    import keras

    mark = _CURRENT.set(device)
    try:
        with keras.device(device.place), _keep_float32(keras.config.backend()):
            yield
    finally:
        _CURRENT.reset(mark)


def current_device() -> Device:
    """Where `run_on` lets Keras compute now."""
    return _CURRENT.get()


def list_replicas() -> tuple[Device, ...]:
    """The current device, and the others of its kind that could take a share of its work."""
    current = current_device()
    kind = (current.name, current.capability)
    same = [gpu for gpu in list_gpus().gpus if (gpu.name, gpu.capability) == kind and gpu.place != current.place]
    return (current, *same)


def engine_name(device: Device) -> str:
    """What computes vectors there: `keras 3.15.1 tensorflow on NVIDIA A100`."""
    import keras

    return f"keras {keras.__version__} {keras.config.backend()} on {device.name}"


def format_gpus() -> str:
    """A JSON object: each GPU that can be used and the arithmetic it trains in; or why there is none, and a way out."""
    visible = list_gpus()
    facts = dict[str, str]()
    for (name, precision), count in Counter((gpu.name, gpu.precision) for gpu in visible.gpus).items():
        several = f"; one network trains on all {count} where a step is faster there" if count > 1 else ""
        label = f"{count} x {name}" if count > 1 else name
        facts[label] = f"used by --device auto and gpu; trains in {precision}{several}"
    return json.dumps(facts or {"not used": f"{visible.reason}; {visible.hint}"})


@functools.cache
def _list_gpus() -> DeviceList:
    if not find_driver():
        files = ", ".join(_DRIVER_FILES)
        hint = "install the driver, or leave the processor to it: --device cpu"
        return DeviceList(reason=f"there is no driver: no nvidia-smi, {files}", hint=hint)
    if os.environ.get(_VISIBLE) in ("", "-1"):
        return DeviceList(reason=f"{_VISIBLE} hides them all", hint=f"unset {_VISIBLE}")
    from headstart.networks.framework_state import silence_frameworks

    with silence_frameworks():
        try:
            import keras

            backend = keras.config.backend()
        except ImportError as err:
            return DeviceList(reason=f"Keras cannot be loaded: {err}", hint="headstart doctor")
        ask: dict[str, Callable[[], DeviceList]]
        ask = {"tensorflow": _ask_tensorflow, "jax": _ask_jax, "torch": _ask_torch}
        if backend not in ask:
            return DeviceList(reason=f"Keras on {backend} is asked for none", hint="KERAS_BACKEND=tensorflow")
        return ask[backend]()


def _ask_tensorflow() -> DeviceList:
    import tensorflow as tf

    physical = tf.config.list_physical_devices("GPU")
    if not physical:
        version = f"TensorFlow {tf.__version__}"
        if not (tf.test.is_built_with_cuda() or tf.test.is_built_with_rocm()):
            return DeviceList(reason=f"{version} is a build for processors alone", hint=_TENSORFLOW)
        build = tf.sysconfig.get_build_info()
        wants = f"CUDA {build.get('cuda_version', '?')} and cuDNN {build.get('cudnn_version', '?')}"
        return DeviceList(reason=f"{version} cannot load its libraries: it wants {wants}", hint=_TENSORFLOW)
    gpus = []
    for number, gpu in enumerate(physical):
        with contextlib.suppress(RuntimeError):  # it is in use already
            tf.config.experimental.set_memory_growth(gpu, True)
        facts = tf.config.experimental.get_device_details(gpu)
        name = str(facts.get("device_name", "GPU"))
        capability = facts.get("compute_capability")
        gpus.append(
            Device(
                name=name,
                place=f"gpu:{number}",
                memory_bytes=_read_free_bytes(name),
                capability=(int(capability[0]), int(capability[1])) if capability else None,
            )
        )
    return DeviceList(gpus=tuple(gpus))


def _ask_jax() -> DeviceList:
    import jax

    try:
        visible = jax.devices("gpu")
    except RuntimeError as err:
        plugins = [name for name in ("jax-cuda12-plugin", "jax-cuda13-plugin") if find_version(name)]
        if not plugins:
            reason = f"jax {jax.__version__} is installed for processors alone"
            return DeviceList(reason=reason, hint='pip install "jax[cuda12]"')
        return DeviceList(reason=f"jax cannot use {plugins[0]}: {err}", hint='pip install "jax[cuda12]"')
    return DeviceList(
        gpus=tuple(
            Device(
                name=str(gpu.device_kind),
                place=f"gpu:{number}",
                memory_bytes=(gpu.memory_stats() or {}).get("bytes_limit"),
                capability=_parse_capability(str(getattr(gpu, "compute_capability", ""))),
            )
            for number, gpu in enumerate(visible)
        )
    )


def _ask_torch() -> DeviceList:
    import torch

    if not torch.cuda.is_available():
        if not (torch.version.cuda or torch.version.hip):
            reason = f"torch {torch.__version__} is a build for processors alone"
            return DeviceList(reason=reason, hint="install torch for CUDA, as its own page says")
        reason = f"torch {torch.__version__} cannot use CUDA {torch.version.cuda}"
        return DeviceList(reason=reason, hint="a newer driver, or torch for an older CUDA")
    gpus = []
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        capability = None if torch.version.hip else (int(facts.major), int(facts.minor))
        free_bytes = int(torch.cuda.mem_get_info(number)[0])
        gpus.append(Device(name=str(facts.name), place=f"gpu:{number}", memory_bytes=free_bytes, capability=capability))
    return DeviceList(gpus=tuple(gpus))


def _parse_capability(text: str) -> tuple[int, int] | None:
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def _read_free_bytes(name: str) -> int | None:
    """Of the fullest GPU of that name, by nvidia-smi; its numbers and those of the backend may not be the same."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=name,memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=True).stdout
        rows = [line.rsplit(",", 1) for line in answer.splitlines() if "," in line]
        return min((int(free) * 2**20 for gpu, free in rows if gpu.strip() == name), default=None)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


@contextmanager
def _keep_float32(backend: str) -> Iterator[None]:
    if backend == "tensorflow":
        import tensorflow as tf

        config = tf.config.experimental
        was_short = config.tensor_float_32_execution_enabled()
        config.enable_tensor_float_32_execution(False)
        try:
            yield
        finally:
            config.enable_tensor_float_32_execution(was_short)
    elif backend == "jax":
        import jax

        with jax.default_matmul_precision("highest"):
            yield
    elif backend == "torch":
        with _keep_torch_float32():
            yield
    else:
        yield


@contextmanager
def _keep_torch_float32() -> Iterator[None]:
    import torch

    parts: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    were_short = [part.allow_tf32 for part in parts]
    for part in parts:
        part.allow_tf32 = False
    try:
        yield
    finally:
        for part, was_short in zip(parts, were_short, strict=True):
            part.allow_tf32 = was_short
