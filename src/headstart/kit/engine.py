"""A frozen trunk on this CPU: OpenVINO, nothing else, so that answering never loads a training framework.

The batch shape is fixed and a short batch is padded, so a picture's vector does not depend on its neighbours.
Several requests are in flight: while they run, the caller's generator decodes the next pictures. Numbers are float32
throughout; left alone OpenVINO picks bfloat16 on some CPUs, which is less exact and here slower.

OpenVINO's Python package reports its use over the network as soon as it is imported. `load` imports it with that part
shut out, so nothing is sent and nothing is written to the home folder.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import SetupError

BATCH = 16
_TELEMETRY = "openvino_telemetry"


def name() -> str | None:
    """`openvino 2026.4.1`, or None when it is not installed; nothing is imported."""
    try:
        return f"openvino {metadata.version('openvino')}"
    except metadata.PackageNotFoundError:
        return None


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Make `import openvino_telemetry` fail for a while: OpenVINO and NNCF then take their own silent stand-in."""
    before = sys.modules.get(_TELEMETRY, ...)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is ...:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = before


def load() -> Any:
    """The module `openvino`, its telemetry shut out.

    Raises:
        SetupError: It is not installed, or cannot be loaded on this system.
    """
    try:
        with without_telemetry():
            import openvino
    except ImportError as err:
        raise SetupError(f"OpenVINO cannot be loaded: {err}", hint="pip install openvino") from err
    return openvino


class Engine:
    """A compiled trunk.

    Args:
        ir_path: The `.xml` file; its `.bin` lies beside it. One input (B, H, W, 3) uint8.
        threads: CPU threads to use.
        batch: Pictures a request.

    Raises:
        SetupError: OpenVINO is missing or cannot compile the file.
    """

    def __init__(self, ir_path: Path, *, threads: int, batch: int = BATCH) -> None:
        ov = load()
        self.batch = batch
        streams = threads if batch > 1 else 1  # a thread a request for throughput, all threads on one for latency
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
        }
        try:
            model = ov.Core().read_model(ir_path)
            self.shape = (batch, *[d.get_length() for d in list(model.input(0).partial_shape)[1:]])
            model.reshape({0: list(self.shape)})
            self._compiled = ov.Core().compile_model(model, "CPU", settings)
        except RuntimeError as err:
            raise SetupError(f"OpenVINO cannot compile the trunk: {err}", where=str(ir_path)) from err
        self._requests = [self._compiled.create_infer_request() for _ in range(streams + 1)]
        self._inputs = [np.zeros(self.shape, np.uint8) for _ in self._requests]
        for request, pictures in zip(self._requests, self._inputs, strict=True):
            request.set_input_tensor(ov.Tensor(pictures, shared_memory=True))

    def run(self, batches: Iterable[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, tuple[np.ndarray, ...]]]:
        """Vectors of pictures, batch by batch, in order.

        Args:
            batches: Pairs of a key, handed back as it is, and pictures (b, H, W, 3) uint8 with b up to `batch`.

        Yields:
            The key and one (b, D) float32 array a depth, owned by the caller.

        Raises:
            ValueError: A batch has another shape or dtype than the trunk's input.
        """
        free, flying = deque(range(len(self._requests))), deque[tuple[Any, int, int]]()
        try:
            for key, pictures in batches:
                if not free:
                    yield self._finish(flying, free)
                place = free.popleft()
                self._start(place, pictures)
                flying.append((key, len(pictures), place))
            while flying:
                yield self._finish(flying, free)
        finally:
            for _, _, place in flying:  # the caller stopped early: the requests must be idle before the next run
                self._requests[place].wait()

    def _start(self, place: int, pictures: np.ndarray) -> None:
        if pictures.dtype != np.uint8 or pictures.shape[1:] != self.shape[1:] or not 0 < len(pictures) <= self.batch:
            raise ValueError(f"pictures are {pictures.dtype} {pictures.shape}, the trunk takes uint8 {self.shape}")
        self._inputs[place][: len(pictures)] = pictures
        self._inputs[place][len(pictures) :] = 0
        self._requests[place].start_async()

    def _finish(self, flying: deque[tuple[Any, int, int]], free: deque[int]) -> tuple[Any, tuple[np.ndarray, ...]]:
        key, count, place = flying.popleft()
        request = self._requests[place]
        request.wait()
        found = tuple(tensor.data[:count].copy() for tensor in request.output_tensors)
        free.append(place)
        return key, found
