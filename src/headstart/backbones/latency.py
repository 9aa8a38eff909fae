"""How fast a trunk is on this machine, and what memory it takes: images a second; milliseconds, bytes for one picture.

Measured once, in half a second for small trunks and in some for large ones, when a trunk is first made ready, and kept
in the cache under the processor, the threads and the engine's version. Weights do not change it, so a random twin has
its trained trunk's pace. A measurement made while the machine was busy stays until `headstart backbones measure` makes
it anew.
"""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json, translate_disk_errors, write_json
from headstart.core.types import BackboneSpec
from headstart.networks import hardware

KIND = "paces"
_FORMAT = 1
_WARM = 1  # answers before the clock starts
_LEAST, _MOST = 3, 50  # answers that are timed one by one
_ALONE_S, _MANY_S = 0.25, 0.4  # time for answers one by one, and for a stream of them
_FILE = "pace.json"
_OF_WEIGHTS = 3  # memory for one picture over that of the weights: 2.4 to 2.8 were measured (Lite0, Lite2, VGG16)


def key(spec: BackboneSpec, *, threads: int, engine: str) -> dict[str, Any]:
    """What a trunk's pace depends on.

    Args:
        spec: Of the trunk or of its random twin.
        threads: That the engine uses.
        engine: Its name and version.
    """
    return {
        "format": _FORMAT,
        "backbone": spec.name.removeprefix("random:"),
        "revision": re.sub(r"-\d+-random\d+$", "", spec.revision),
        "input": spec.input,
        "depths": spec.depths,
        "engine": engine,
        "threads": threads,
        "machine": hardware.processor(),
    }


def measure(many: Any, make_alone: Callable[[], Any], pictures: np.ndarray) -> dict[str, float]:
    """Time an engine.

    Args:
        many: Compiled for the most pictures a second; has `run` as `headstart.networks.openvino_engine.Engine`.
        make_alone: Compiles the same trunk for the shortest answer to one picture.
        pictures: (n, H, W, 3) uint8, as the trunk wants them.

    Returns:
        `images_per_s` of a stream, `latency_ms`, the median of answers to one picture, and where the system tells it
        `memory_bytes`, by which the process grows at most while the trunk is made ready and answers once.
    """
    one = pictures[:1]
    with hardware.memory_rise() as memory:
        alone = make_alone()
        for _ in range(_WARM):
            next(alone.run([(None, one)]))
    taken: list[float] = []
    while len(taken) < _LEAST or (sum(taken) < _ALONE_S and len(taken) < _MOST):
        started = time.perf_counter()
        next(alone.run([(None, one)]))
        taken.append(time.perf_counter() - started)
    for _ in many.run([(None, pictures)]):
        pass
    started = time.perf_counter()
    passed = sum(len(found[0]) for _, found in many.run(_again(pictures, started + _MANY_S)))
    images_per_s = passed / (time.perf_counter() - started)
    found = {"images_per_s": images_per_s, "latency_ms": float(np.median(taken)) * 1000}
    return found | ({"memory_bytes": float(memory[0])} if memory else {})


def _again(pictures: np.ndarray, until: float) -> Iterator[tuple[None, np.ndarray]]:
    """The same pictures over and over, at least once."""
    yield None, pictures
    while time.perf_counter() < until:
        yield None, pictures


What = tuple[Any, Callable[[], Any], np.ndarray]


def keep(spec: BackboneSpec, store: Store, what: What, *, threads: int, engine: str) -> dict[str, float]:
    """The pace of a trunk, from the cache or measured now.

    Args:
        spec: Of the trunk.
        store: The cache; the entry has kind `paces`.
        what: Is timed, see `measure`.
        threads: That the engine uses.
        engine: Its name and version.
    """

    def write(draft: Path) -> None:
        write_json(draft / _FILE, measure(*what))

    folder = store.make_entry(KIND, key(spec, threads=threads, engine=engine), write)
    found: dict[str, float] = read_json(folder / _FILE)
    return found


def renew(spec: BackboneSpec, store: Store, what: What, *, threads: int, engine: str) -> dict[str, float]:
    """Measure again, whatever is kept, and keep that; arguments as of `keep`."""
    made = measure(*what)
    folder = store.entry_path(KIND, key(spec, threads=threads, engine=engine))
    with translate_disk_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
    store.make_entry(KIND, folder.name, lambda draft: write_json(draft / _FILE, made))
    return made


def kept(spec: BackboneSpec, store: Store) -> dict[str, float]:
    """What was measured of a trunk on this machine, see `measure`; empty when nothing was."""
    from headstart.backbones import loading
    from headstart.core.settings import count_threads

    folder = store.find_entry(KIND, key(spec, threads=count_threads(), engine=loading.engine_name()))
    return {} if folder is None else read_json(folder / _FILE)


def paces(specs: Iterable[BackboneSpec], store: Store) -> dict[str, float]:
    """Pictures a second, by name, of the backbones that were measured on this machine; decoding is not in it."""
    found = {spec.name: kept(spec, store) for spec in specs}
    return {name: pace["images_per_s"] for name, pace in found.items() if pace}


def latency_ms(name: str, store: Store) -> float:
    """Milliseconds of a backbone's trunk for one picture, as measured on this machine; NaN when it was not measured.

    Raises:
        UsageError: The backbone is unknown.
    """
    from headstart.backbones import loading

    return kept(loading.find(name).spec, store).get("latency_ms", math.nan)


def memory_guess(spec: BackboneSpec) -> int:
    """Bytes for one picture as far as they can be told before they are measured: some times those of the weights."""
    return _OF_WEIGHTS * 4 * spec.params
