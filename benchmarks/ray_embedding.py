"""What embedding by two Ray workers on this machine costs beyond the local path, in CPU seconds, children included.

python -m benchmarks.ray_embedding [--count 10000]

The cluster's own start and idling are in `with the start`, which a cluster that is there already does not pay.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.common import LITE0, cold_cache, pictures, ratio
from headstart.core import job
from headstart.core.console import Console
from headstart.core.run.context import Context
from headstart.core.run.folder import RunFolder
from headstart.core.storage.cache import Store
from headstart.data.reading.read_dataset import read_dataset
from headstart.features.extraction import extract_features
from headstart.remote.cluster.connection import connect_workers, load_ray
from headstart.remote.cluster.options import ClusterOptions


def context(place: Path) -> Context:
    """A run on a cache with the trunks and no vectors."""
    store = Store(cold_cache(place / "cache"))
    return Context(
        job=job.make_job(data="bench"), run=RunFolder(place / "run"), store=store, console=Console(quiet=True)
    )


def spent_s() -> float:
    """CPU seconds of this process and all below it, those that ended included."""
    own = psutil.Process()
    times = [own.cpu_times(), *(child.cpu_times() for child in own.children(recursive=True))]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def embed_timed(data, rows: np.ndarray, ctx: Context):
    """The features, and the wall and CPU seconds they took."""
    wall, cpu = time.monotonic(), spent_s()
    features = extract_features(data, LITE0, rows, ctx=ctx)
    return features, time.monotonic() - wall, spent_s() - cpu


def main() -> None:
    """Print CPU seconds of both paths and their ratio; the vectors must be equal bit for bit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1_000)
    count = parser.parse_args().count
    load_ray()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        data = read_dataset(pictures(scratch / "data", count), ctx=context(scratch / "reading"))
        rows = np.arange(count)
        alone, alone_wall_s, alone_s = embed_timed(data, rows, context(scratch / "alone"))
        before_s = spent_s()
        with connect_workers(ClusterOptions(address="local", threads=1), Console(quiet=True)) as workers:
            start_s = spent_s() - before_s
            ctx = context(scratch / "together")
            ctx.workers = workers
            together, wall_s, cpu_s = embed_timed(data, rows, ctx)
        for level, vectors in alone.vectors.items():
            np.testing.assert_array_equal(vectors, together.vectors[level])
        print(
            f"{count:,} pictures on {os.cpu_count()} cores: CPU seconds {alone_s:.1f} here, {cpu_s:.1f} on two workers"
        )
        print(f"wall seconds {alone_wall_s:.1f} here, {wall_s:.1f} on two workers; its start {start_s:.1f} CPU s")
        ratio("two Ray workers / local path, CPU", cpu_s / alone_s, 1.3)
        ratio("the same with the start of the cluster", (cpu_s + start_s) / alone_s, 1.3)


if __name__ == "__main__":
    main()
