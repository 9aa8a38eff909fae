"""CPU seconds of an audit of 10,000 cached pictures, by check: 2,000 textile pictures and blends of two each.

Facts are read first and not counted, as the features are not; vectors are those of the textile pictures on
EfficientNet-Lite0, blended alike.

    python -m benchmarks.audit_cost [COUNT]
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import LITE0, context, pictures, ratio
from headstart.core.types import AuditInput, Dataset
from headstart.data.audit import load_checks
from headstart.data.reading.read_dataset import read_dataset
from headstart.features.extraction import extract_features

TEXTILE, TARGET_S = 2_000, 60.0


def blend_pictures(data: Dataset, count: int, folder: Path) -> np.ndarray:
    """Write `count` pictures in order of their names, the data set's first; (count, 2) int64 rows that each shows."""
    rng, classes = np.random.default_rng(0), np.asarray(data.targets)
    parents = np.stack([np.arange(count) % TEXTILE, rng.integers(0, TEXTILE, count)], axis=1)
    parents[:TEXTILE, 1] = parents[:TEXTILE, 0]
    for number, (a, b) in enumerate(parents.tolist()):
        place = folder / data.class_names[classes[a]] / f"{number:06}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        first, second = (Image.open(Path(data.root) / data.uris[row]).convert("RGB") for row in (a, b))
        Image.blend(first, second, 0.5).save(place, "JPEG", quality=90)
    return parents


def main() -> None:
    """A line for each check, and their sum beside its target."""
    count, total = int(sys.argv[1]) if sys.argv[1:] else 10_000, 0.0
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        ctx = context(place / "run")
        textile = read_dataset(str(pictures(place / "textile", TEXTILE)), ctx=ctx)
        vectors = next(iter(reversed(extract_features(textile, LITE0, np.arange(TEXTILE), ctx=ctx).vectors.values())))
        parents = blend_pictures(textile, count, place / "pictures")
        data = read_dataset(str(place / "pictures"), ctx=ctx)
        numbers = [int(Path(uri).stem) for uri in data.uris]
        blended = (np.asarray(vectors)[parents[numbers, 0]] + np.asarray(vectors)[parents[numbers, 1]]) / 2
        asked = AuditInput(data=data, folds=5, vectors=blended, rows=np.arange(count))
        for check in [*load_checks("files"), *load_checks("vectors")]:
            started = time.process_time()
            outcome = check(asked)
            seconds = time.process_time() - started
            total += seconds
            print(f"{check.code} {outcome.status:<15}{seconds:8.2f} s  {outcome.why[:90]}", flush=True)
    ratio(f"audit of {count:,} cached pictures, all checks, CPU time beyond facts and features", total, TARGET_S, "s")


if __name__ == "__main__":
    main()
