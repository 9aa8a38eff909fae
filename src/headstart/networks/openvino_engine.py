"""A frozen trunk on this CPU: OpenVINO, nothing else, so that answering never loads a training framework.

Each request is one picture, so a vector cannot depend on neighbours; larger requests are slower besides
(EfficientNet-Lite0, 2 cores, images per CPU-second: 246 one by one, 207 in eights, 168 in thirty-twos;
`benchmarks/engine.py`). Numbers are float32 throughout; left alone OpenVINO picks bfloat16 on some CPUs, less exact and
slower. Its Python package reports its use over the network when imported: `load_openvino` shuts that part out.
"""

from __future__ import annotations

import functools
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import SetupError
from headstart.core.provenance import find_version
from headstart.core.settings import INFERENCE_BATCH

_THREADS_A_STREAM = 2
_TELEMETRY = "openvino_telemetry"


@functools.cache
def find_openvino_version() -> str | None:
    """`openvino 2026.4.1`, or None when it is not installed; nothing is imported."""
    try:
        return f"openvino {metadata.version('openvino')}"
    except metadata.PackageNotFoundError:
        return None


def engine_name() -> str:
    """What computes the vectors: `openvino 2026.4.1`, or without OpenVINO `keras 3.15.1 tensorflow`."""
    return find_openvino_version() or f"keras {find_version('keras')} {keras_backend()}"


def keras_backend() -> str:
    """The Keras backend that a build would use, without importing it."""
    keras = sys.modules.get("keras")
    return str(keras.config.backend()) if keras else os.environ.get("KERAS_BACKEND", "tensorflow")


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Make `import openvino_telemetry` fail for a while: OpenVINO and NNCF then take their own silent stand-in."""
    module = sys.modules.get(_TELEMETRY, ...)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if module is ...:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = module


def load_openvino() -> Any:
    """The module `openvino`, its telemetry shut out; SetupError where it cannot be loaded."""
    try:
        with without_telemetry():
            import openvino
    except ImportError as err:
        raise SetupError(f"OpenVINO cannot be loaded: {err}", hint="pip install openvino") from err
    return openvino


@functools.cache
def load_compiling_core() -> Any:
    """The one `openvino.Core` of this process that compiles; raises SetupError where OpenVINO cannot be loaded.

    OpenVINO gives the thread in which a core first compiles a stack for signals, and frees it with the core. Freed in
    another thread, it would leave the first without one: Ctrl-C and SIGTERM would end the process without a word.
    """
    return load_openvino().Core()


def save_graph(graph: Any, path: Path, *, half_precision: bool = False, keep_names: bool = False) -> None:
    """Write an `openvino.Model` as `.xml` and `.bin`, whose bytes say nothing of the process that writes them.

    OpenVINO numbers operations by a counter of the process, and names of inner values come from Keras' counters: an
    operation is named by its kind and place instead. `keep_names` leaves the names that a file of the user's gave.
    """
    for place, output in enumerate(graph.outputs):
        if output.names <= {output.node.get_name()}:  # nobody named it
            output.tensor.set_names({f"output{place}"})
    for place, operation in enumerate(graph.get_ordered_ops()):
        kind = operation.get_type_name()
        if kind != "Parameter" and not (keep_names and operation.get_friendly_name() != operation.get_name()):
            operation.set_friendly_name(f"{kind}.{place}")
        if not keep_names and kind not in ("Parameter", "Result"):
            for output in operation.outputs():
                readers = (reader.get_node().get_type_name() for reader in output.get_target_inputs())
                if "Result" not in readers:
                    output.tensor.set_names(set())
    load_openvino().save_model(graph, path, compress_to_fp16=half_precision)


def set_input_type(model: Any, dtype: str) -> None:
    """Make an `openvino.Model` take its pictures as `uint8` or `float32`; what converts them becomes a no-op."""
    ov = load_openvino()
    model.get_parameters()[0].set_element_type(ov.Type(np.dtype(dtype)))
    model.validate_nodes_and_infer_types()


def split_views(pictures: Any, size_px: int) -> Any:
    """The node that gives views (B * V, size_px, size_px, 3) of pictures (B, V * size_px, size_px, 3)."""
    load_openvino()
    from openvino import opset13 as ops

    return ops.reshape(pictures, np.array([-1, size_px, size_px, 3]), False)


def average_views(vectors: Any, views: int) -> Any:
    """The node that gives the mean (B, …) of the values (B * V, …) of a node over the views of each picture."""
    from openvino import opset13 as ops

    shape = [side.get_length() for side in list(vectors.get_partial_shape())[1:]]
    return ops.reduce_mean(ops.reshape(vectors, np.array([-1, views, *shape]), False), np.array([1]), False)


def _average_views(model: Any, views: int) -> Any:
    """A graph of one picture as a graph of one with several views."""
    ov = load_openvino()
    [whole] = model.get_parameters()
    _, height, width, _ = whole.get_partial_shape().to_shape()
    model.reshape({0: [views, height, width, 3]})
    pictures = ov.opset13.parameter([1, views * height, width, 3], whole.get_element_type(), name=whole.friendly_name)
    for reader in whole.output(0).get_target_inputs():
        reader.replace_source_output(split_views(pictures, height).output(0))
    means = [average_views(result.input_value(0), views) for result in model.get_results()]
    return ov.Model([ov.opset13.result(mean) for mean in means], [pictures], "views")


@dataclass(slots=True)
class _Batch:
    """A batch on its way: the caller's key, its vectors, and how many pictures are still to come."""

    key: Any
    vectors: tuple[np.ndarray, ...]
    left: int


class Engine:
    """A compiled trunk with one input (B, H, W, 3) of `dtype`; its attribute `shape` is (H, W, 3).

    Args:
        batch: Pictures that callers should hand over at once. 1 compiles for the shortest answer to one picture,
            otherwise for the most pictures a second; the vectors are the same.
        outputs: Names of the outputs to compute, in this order; None for all, in the file's order.
        size_px: Height and width of a picture where they are not those of the file; the trunk must be convolutional.
        views: V of each picture, one below the other: (B, V * H, W, 3); outputs are their mean.
        dtype: Of the pictures: `uint8`, or `float32` 0..255 with fractions.
        edit: Changes the graph, of one picture, before it is compiled; None leaves it as it is.
        mapped: Weights stay pages of the file; one that is then written over in place would end the process.

    Raises:
        SetupError: OpenVINO is missing or cannot compile the file.
    """

    def __init__(
        self,
        ir_path: Path,
        *,
        threads: int,
        batch: int = INFERENCE_BATCH,
        outputs: Sequence[str] | None = None,
        size_px: int | None = None,
        dtype: str = "uint8",
        views: int = 1,
        edit: Callable[[Any], Any] | None = None,
        mapped: bool = True,
    ) -> None:
        ov = load_openvino()
        streams = max(1, threads // _THREADS_A_STREAM) if batch > 1 else 1
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # other processes and the decoders want these cores too
        }
        try:
            core = ov.Core()
            core.set_property({"ENABLE_MMAP": mapped})
            model = core.read_model(ir_path)
            if outputs is not None:  # what leads only to other outputs is not computed
                model = ov.Model([model.output(name).node for name in outputs], model.get_parameters(), "part")
            file_shape = tuple(side.get_length() for side in list(model.input(0).partial_shape)[1:])
            self.shape = file_shape if size_px is None else (size_px, size_px, 3)
            model.reshape({0: [1, *self.shape]})
            set_input_type(model, dtype)
            model = edit(model) if edit else model
            if views > 1:
                model = _average_views(model, views)
                self.shape = (views * self.shape[0], *self.shape[1:])
            self._compiled = load_compiling_core().compile_model(model, "CPU", settings)
        except (RuntimeError, IndexError) as err:
            raise SetupError(f"OpenVINO cannot compile the trunk: {err}", where=str(ir_path)) from err
        self.batch, self.dtype = batch, np.dtype(dtype)
        self._shapes = tuple(tuple(output.shape)[1:] for output in self._compiled.outputs)
        self._requests = [self._compiled.create_infer_request() for _ in range(2 * streams)]
        self._tensor = ov.Tensor
        self._held: list[Any] = [None] * len(self._requests)

    def run(self, batches: Iterable[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, tuple[np.ndarray, ...]]]:
        """Vectors batch by batch, in order, for pairs of a key and pictures (b, H, W, 3); one `run` at a time.

        Yields:
            The key and one float32 array an output, (b, D) or for a feature map (b, h, w, c), owned by the caller.

        Raises:
            ValueError: A batch has another shape or dtype than the trunk's input.
        """
        free = deque(range(len(self._requests)))
        flying = deque[tuple[_Batch, int, int]]()  # batch, picture in it, request
        waiting = deque[_Batch]()
        try:
            for key, pictures in batches:
                batch = self._accept_batch(key, pictures)
                waiting.append(batch)
                for row in range(len(pictures)):
                    if not free:
                        self._finish_picture(flying, free)
                    self._start_picture(batch, row, pictures[row : row + 1], flying, free.popleft())
                while waiting and not waiting[0].left:
                    finished = waiting.popleft()
                    yield finished.key, finished.vectors
            while flying:
                self._finish_picture(flying, free)
            for finished in waiting:
                yield finished.key, finished.vectors
        finally:
            for _, _, place in flying:  # the caller stopped early: the requests must be idle before the next run
                self._requests[place].wait()

    def _accept_batch(self, key: Any, pictures: np.ndarray) -> _Batch:
        count = len(pictures)
        if pictures.dtype != self.dtype or pictures.shape[1:] != self.shape or not count:
            what = f"pictures are {pictures.dtype} {pictures.shape}"
            raise ValueError(f"{what}, the trunk takes {self.dtype} (b, *{self.shape})")
        return _Batch(key, tuple(np.empty((count, *shape), np.float32) for shape in self._shapes), count)

    def _start_picture(
        self, batch: _Batch, row: int, picture: np.ndarray, flying: deque[tuple[_Batch, int, int]], place: int
    ) -> None:
        # Neither request nor tensor keeps the picture's memory alive, so it is held here. It is copied only where it is
        # not contiguous or not to be written to: OpenVINO takes no such memory.
        contiguous = np.require(picture, requirements=["C", "W"])
        tensor = self._tensor(contiguous, shared_memory=True)
        self._held[place] = (tensor, contiguous)
        self._requests[place].set_input_tensor(tensor)
        self._requests[place].start_async()
        flying.append((batch, row, place))

    def _finish_picture(self, flying: deque[tuple[_Batch, int, int]], free: deque[int]) -> None:
        batch, row, place = flying.popleft()
        request = self._requests[place]
        request.wait()
        for vectors, tensor in zip(batch.vectors, request.output_tensors, strict=True):
            vectors[row] = tensor.data[0]
        batch.left -= 1
        free.append(place)
