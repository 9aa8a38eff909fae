"""What `embed` costs beyond decoding and the bare engine, and how its memory grows with the number of pictures.

python -m benchmarks.embed [--growth]
"""

import hashlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import LITE0, cold_cache, pictures, ratio
from headstart.backbones import loading
from headstart.core import job
from headstart.core.console import Console
from headstart.core.run.context import Context
from headstart.core.run.folder import RunFolder
from headstart.core.settings import INFERENCE_BATCH, count_threads
from headstart.core.storage.cache import Store
from headstart.core.types import Dataset
from headstart.data.reading.read_dataset import read_dataset as read
from headstart.features.extraction import extract_features as embed
from headstart.images.preprocessing import decode_batches

COUNT, ROUNDS, GROWN = 1_000, 3, 20_000


def clocks() -> np.ndarray:
    """Wall and CPU seconds now."""
    return np.array([time.monotonic(), time.process_time()])


def surroundings(scratch: Path, name: str) -> Context:
    """A context whose cache holds the trunks and no vectors."""
    place = scratch / name
    run = RunFolder(place / "run")
    return Context(
        job=job.make_job(data="bench"), run=run, store=Store(cold_cache(place / "cache")), console=Console(quiet=True)
    )


def parts(data: Dataset, ctx: Context) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wall and CPU seconds of decoding alone, of the engine alone on what was decoded, and of compiling the trunk."""
    found, rows = loading.find_backbone(LITE0), np.arange(len(data.uris))
    started = clocks()
    decoded = list(
        decode_batches(data.root, data.uris, rows, found.spec.input, batch=INFERENCE_BATCH, threads=count_threads())
    )
    decoding = clocks() - started
    sample, started = decoded[0][1][:8], clocks()
    ready = loading.load_engine(found, ctx.store, ctx.console, sample, threads=count_threads())
    compiling, started = clocks() - started, clocks()
    for _ in ready.run(iter(decoded)):
        pass
    return decoding, clocks() - started, compiling


def compare(scratch: Path) -> None:
    """Print the ratio of `embed` to its parts, the best of some rounds of each, taken in turns."""
    data = read(pictures(scratch / "data", COUNT), ctx=surroundings(scratch, "read"))
    rows, passes, bare = np.arange(COUNT), [], []
    for turn in range(ROUNDS):
        bare.append(parts(data, surroundings(scratch, f"parts{turn}")))
        ctx, started = surroundings(scratch, f"embed{turn}"), clocks()
        embed(data, LITE0, rows, ctx=ctx)
        passes.append(clocks() - started)
    whole = np.min(passes, axis=0)
    decoding, engine, compiling = (np.min([one[i] for one in bare], axis=0) for i in range(3))
    for place, kind in enumerate(("wall", "CPU")):
        print(
            f"{kind}: embed {whole[place]:.2f} s; decoding {decoding[place]:.2f} s, engine {engine[place]:.2f} s, "
            f"compiling the cached trunk {compiling[place]:.2f} s (part of embed)"
        )
        ratio(f"embed / (decoding + bare engine), {kind}", whole[place] / (decoding[place] + engine[place]), 1.25)
    print(
        f"{COUNT / whole[0]:,.0f} pictures a wall second, {COUNT / whole[1]:,.0f} a CPU second, {count_threads()} "
        "threads"
    )


def anonymous_mb() -> float:
    """Memory of this process that no file backs, in MB."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) * 1024 / 1e6


def growth(scratch: Path) -> None:
    """Print by how much `embed` grows from 1,000 to 20,000 pictures, in the order of the cache and in another."""
    data = read(pictures(scratch / "many", GROWN), ctx=surroundings(scratch, "read-many"))
    ctx = surroundings(scratch, "growth")
    first = embed(data, LITE0, np.arange(COUNT), ctx=ctx)
    small = anonymous_mb()
    del first
    whole = embed(data, LITE0, np.arange(GROWN), ctx=ctx)
    ratio(f"embed, anonymous memory from {COUNT:,} to {GROWN:,} pictures", anonymous_mb() - small, 100, "MB")
    print(f"({len(whole.rows):,} pictures at {1000 / whole.latency_ms:,.0f}/s)")
    shuffled = surroundings(scratch, "shuffled")
    embed(data, LITE0, np.random.default_rng(0).permutation(GROWN)[:COUNT], ctx=shuffled)
    small = anonymous_mb()
    gathered = embed(data, LITE0, np.arange(GROWN), ctx=shuffled)
    ratio("the same when the cache's order is another (vectors are gathered)", anonymous_mb() - small, 100, "MB")
    same = {name: hashlib.sha256(np.ascontiguousarray(v).data).digest() for name, v in whole.vectors.items()}
    assert same == {n: hashlib.sha256(np.ascontiguousarray(v).data).digest() for n, v in gathered.vectors.items()}


def main() -> None:
    """Print the ratio; with `--growth` the memory too, which takes minutes."""
    with tempfile.TemporaryDirectory() as scratch:
        compare(Path(scratch))
        if "--growth" in sys.argv:
            growth(Path(scratch))


if __name__ == "__main__":
    main()
