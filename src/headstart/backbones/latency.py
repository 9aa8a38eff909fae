"""How fast a trunk is on this machine, and what memory it takes: images a second; milliseconds, bytes for one picture.

Measured once, when a trunk is first made ready (half a second for small ones), and kept in the cache under the
processor, the threads and the engine's version. A random-init control has its trained trunk's figures. What was
measured while the machine was busy stays until `headstart backbones measure` makes it anew.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.console import Console
from headstart.core.settings import count_threads
from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json, translate_disk_errors, write_json
from headstart.core.types import BackboneSpec
from headstart.networks import hardware, openvino_engine

KIND = "paces"
_FORMAT = 1
_FEWEST, _MOST = 3, 50  # answers that are timed one by one
_SINGLE_S, _STREAM_S = 0.25, 0.4  # time for answers one by one, and for a stream of them
_FILE = "pace.json"
_OF_WEIGHTS = 3  # memory for one picture over that of the weights: 2.4 to 2.8 were measured (Lite0, Lite2, VGG16)
_PICTURES = 8

Measurement = Callable[[], dict[str, float]]


def latency_key(spec: BackboneSpec, *, threads: int, engine: str) -> dict[str, Any]:
    """What the latency of a trunk, or of its random-init control, depends on; `engine` is a name and version."""
    return {
        "format": _FORMAT,
        "backbone": spec.name.removeprefix("random:"),
        "revision": re.sub(r"-\d+-random\d+$", "", spec.revision),
        "input": spec.input,
        "depths": spec.depths,
        "engine": engine,
        "threads": threads,
        "machine": hardware.describe_processor(),
    }


def measure_latency(stream: Any, compile_single: Callable[[], Any], pictures: np.ndarray) -> dict[str, float]:
    """Time an engine on (n, H, W, 3) uint8 pictures, of which the first eight are used.

    `stream` is compiled for the most pictures a second; `compile_single` compiles for the shortest answer to one
    picture. Gives `images_per_s` of a stream, `latency_ms`, the median of answers to one picture, and where the system
    tells it `memory_bytes`, by which the process grows at most while the trunk is made ready and answers once.
    """
    pictures = pictures[:_PICTURES]
    with hardware.measure_memory_rise() as memory_bytes:
        single = compile_single()
        next(single.run([(None, pictures[:1])]))  # warms up
    seconds: list[float] = []
    while len(seconds) < _FEWEST or (sum(seconds) < _SINGLE_S and len(seconds) < _MOST):
        started = time.perf_counter()
        next(single.run([(None, pictures[:1])]))
        seconds.append(time.perf_counter() - started)
    for _ in stream.run([(None, pictures)]):
        pass
    started = time.perf_counter()
    count = sum(len(vectors[0]) for _, vectors in stream.run(_repeat(pictures, started + _STREAM_S)))
    images_per_s = count / (time.perf_counter() - started)
    memory = {"memory_bytes": float(memory_bytes[0])} if memory_bytes else {}
    return {"images_per_s": images_per_s, "latency_ms": float(np.median(seconds)) * 1000} | memory


def _repeat(pictures: np.ndarray, until: float) -> Iterator[tuple[None, np.ndarray]]:
    """The same pictures over and over, at least once."""
    yield None, pictures
    while time.perf_counter() < until:
        yield None, pictures


def measure_once(
    spec: BackboneSpec, store: Store, measurement: Measurement, *, threads: int, engine: str
) -> dict[str, float]:
    """The figures of a trunk, from the cache (entries of kind `paces`) or measured now."""
    key = latency_key(spec, threads=threads, engine=engine)
    folder = store.make_entry(KIND, key, lambda draft: write_json(draft / _FILE, measurement()))
    figures: dict[str, float] = read_json(folder / _FILE)
    return figures


def measure_again(
    spec: BackboneSpec, store: Store, measurement: Measurement, *, threads: int, engine: str
) -> dict[str, float]:
    """Measure, whatever is kept, and keep that."""
    figures = measurement()
    folder = store.entry_path(KIND, latency_key(spec, threads=threads, engine=engine))
    with translate_disk_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
    return measure_once(spec, store, lambda: figures, threads=threads, engine=engine)


def remeasure_trunk(spec: BackboneSpec, ir_path: Path, store: Store) -> dict[str, float]:
    """Measure a trunk in the cache anew, on noise, with this process' threads; `SetupError` without OpenVINO."""
    count, side = count_threads(), spec.input.size_px
    pictures = np.random.default_rng(0).integers(0, 256, (_PICTURES, side, side, 3), np.uint8)
    compile_trunk = partial(openvino_engine.Engine, ir_path, threads=count)
    measurement = partial(measure_latency, compile_trunk(), partial(compile_trunk, batch=1), pictures)
    return measure_again(spec, store, measurement, threads=count, engine=openvino_engine.engine_name())


def warn_if_busy(console: Console) -> None:
    """Say when others keep more than half of the processors busy: what is measured is then theirs too."""
    if not hasattr(os, "getloadavg"):
        return
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        busy = f"the machine is busy (load {load:.1f} on {cores} processors)"
        console.print_warning(f"{busy}: what is measured now is too slow")


def read_latency(spec: BackboneSpec, store: Store) -> dict[str, float]:
    """What was measured of a trunk on this machine, see `measure_latency`; empty when nothing was."""
    folder = store.find_entry(KIND, latency_key(spec, threads=count_threads(), engine=openvino_engine.engine_name()))
    return {} if folder is None else read_json(folder / _FILE)


def read_images_per_s(specs: Iterable[BackboneSpec], store: Store) -> dict[str, float]:
    """Pictures a second, by name, of the backbones that were measured on this machine; decoding is not in it."""
    figures = {spec.name: read_latency(spec, store) for spec in specs}
    return {name: measured["images_per_s"] for name, measured in figures.items() if measured}


def read_latency_ms(spec: BackboneSpec, store: Store) -> float:
    """Milliseconds of a trunk for one picture, as measured on this machine; NaN when it was not measured."""
    return read_latency(spec, store).get("latency_ms", math.nan)


def estimate_memory_bytes(spec: BackboneSpec) -> int:
    """Bytes for one picture as far as they can be told before they are measured: some times those of the weights."""
    return _OF_WEIGHTS * 4 * spec.params
