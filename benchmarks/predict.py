"""Pictures a second of `headstart predict` beside the bare engine on pictures that are decoded already.

Both take the same real pictures on the same threads. Printed besides: decoding alone, and the most that any program
could reach that has to decode, since decoding takes the same cores as the engine.

python -m benchmarks.predict [RUN] [--growth]
"""

import contextlib
import io
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import pictures, ratio
from benchmarks.embed import anonymous_mb
from headstart.cli.main import main as command
from headstart.core import blas_threads
from headstart.core.settings import INFERENCE_BATCH, count_threads
from headstart.images.preprocessing import decode_batches
from headstart.runtime.model import Model, load

COUNT, ROUNDS, GROWN = 1_000, 5, 10_000


def clocks() -> np.ndarray:
    """Wall and CPU seconds now."""
    return np.array([time.monotonic(), time.process_time()])


def decoded(model: Model, root: Path) -> list:
    """All pictures as the first trunk takes them."""
    uris = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.jpg"))
    spec = model.manifest.trunks[0].input
    return list(
        decode_batches(str(root), uris, np.arange(len(uris)), spec, batch=INFERENCE_BATCH, threads=count_threads())
    )


def bare(model: Model, ready: list) -> np.ndarray:
    """Wall and CPU seconds of the engine alone."""
    [engine], started = model.compile_trunks(INFERENCE_BATCH), clocks()
    for _ in engine.run(iter(ready)):
        pass
    return clocks() - started


def whole(run: Path, root: Path, scratch: Path) -> np.ndarray:
    """Wall and CPU seconds of the command from its first to its last row: loading and compiling are told apart."""
    from headstart.runtime import batch_prediction
    from headstart.runtime.inputs.image_sources import NamedSource, read_sources
    from headstart.runtime.outputs import resumable_table

    model = load(run)
    model.compile_trunks(INFERENCE_BATCH)
    started = clocks()
    batch, found = batch_prediction.choose_batch(read_sources([NamedSource(text=str(root))]))
    made_by = {"batch": batch}
    table = resumable_table.open_table(scratch / "rows.csv", "csv", model.layout, made_by, mode="overwrite")
    done = batch_prediction.answer_all(model, found, table, batch=batch)
    spent = clocks() - started
    assert done.answered == COUNT
    return spent


def compare(run: Path, scratch: Path) -> None:
    """Print the ratio, the best of some rounds of each, taken in turns."""
    root, model = pictures(scratch / "data", COUNT), load(run)
    engines, decodes, wholes = [], [], []
    for _ in range(ROUNDS):
        started = clocks()
        ready = decoded(model, root)
        decodes.append(clocks() - started)
        engines.append(bare(model, ready))
        wholes.append(whole(run, root, scratch))
    engine, decoding, predict = (np.min(found, axis=0) for found in (engines, decodes, wholes))
    print(f"{COUNT:,} pictures, {count_threads()} threads, the best of {ROUNDS} rounds in turns; pictures a second:")
    for name, (wall, cpu) in {"engine": engine, "decoding": decoding, "predict": predict}.items():
        print(f"  {name:<10}{COUNT / wall:>8,.0f} of wall time{COUNT / cpu:>8,.0f} of CPU time")
    ratio("predict / bare engine on decoded input, wall", engine[0] / predict[0], 0.9, at="least")
    ratio("predict / (decoding + bare engine), CPU", (engine[1] + decoding[1]) / predict[1], 0.9, at="least")
    bound = max(engine[0], (engine[1] + decoding[1]) / min(count_threads(), len(os.sched_getaffinity(0))))
    ratio("predict / the bound of engine and decoding on these cores, wall", bound / predict[0], 0.9, at="least")


def growth(run: Path, scratch: Path) -> None:
    """Print by how much memory grows from 1,000 to 10,000 pictures."""
    few, many = pictures(scratch / "few", COUNT), pictures(scratch / "many", GROWN)
    sizes = []
    for root in (few, many):
        with contextlib.redirect_stderr(io.StringIO()):
            assert command(["predict", str(run), str(root), "--out", str(scratch / "g.csv"), "--overwrite"]) == 0
        sizes.append(anonymous_mb())
    ratio(f"predict, anonymous memory from {COUNT:,} to {GROWN:,} pictures", sizes[1] - sizes[0], 50, "MB")


def main() -> None:
    """Print the ratios; with `--growth` the memory too, which takes minutes."""
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(words[0]) if words else Path(scratch) / "run"
        if not words:
            data = pictures(Path(scratch) / "learnt", 300)
            choice = ["--backbones", "bundled:efficientnet_lite0", "--strategy", "probe", "--budget", "5m"]
            assert command(["fit", str(data), *choice, "--out", str(run)]) == 0
        with blas_threads.single_blas_thread():  # as the command has it
            compare(run, Path(scratch))
        if "--growth" in sys.argv:
            growth(run, Path(scratch))


if __name__ == "__main__":
    main()
