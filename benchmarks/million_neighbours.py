"""Near-duplicates among a million hashes, turned ones too, and among a million vectors on disk: time, memory, recall.

Hashes are random but for planted copies that differ in up to 8 bits, or are turned and differ in up to 4. Vectors are a
mixture of 2,000 normal distributions, float16 on disk, with planted copies a fiftieth of a spread away. Each part runs
in a process of its own. CPU seconds are of all threads together.

    python -m pip install usearch
    python -m benchmarks.million_neighbours [--count 1000000] [--width 256]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import ratio
from headstart.data.checks.d201_near_duplicates import find_distance_limits
from headstart.data.duplicates.clusters import find_clusters
from headstart.data.duplicates.near_duplicate_search import UnitVectors, find_hash_pairs, find_turned_pairs
from headstart.data.duplicates.vector_index import find_indexed_pairs

PLANTED, CENTRES, BLOCK = 1_000, 2_000, 50_000
TARGET_S, TARGET_GB = 600.0, 4.0


def flip_bits(rng: np.random.Generator, most: int) -> np.ndarray:
    """(PLANTED,) uint64 with up to so many bits."""
    sizes = rng.integers(0, most + 1, PLANTED)
    return np.array([sum(1 << int(bit) for bit in rng.choice(64, n, replace=False)) for n in sizes], np.uint64)


def search_hashes(n: int) -> None:
    rng = np.random.default_rng(0)
    hashes, turned = rng.integers(0, 2**64, n, np.uint64), rng.integers(0, 2**64, (n, 7), np.uint64)
    rows = rng.choice(n, 4 * PLANTED, replace=False).reshape(4, PLANTED)
    hashes[rows[0]] = hashes[rows[1]] ^ flip_bits(rng, 8)
    turned[rows[2], rng.integers(0, 7, PLANTED)] = hashes[rows[3]] ^ flip_bits(rng, 4)
    report(n, "hashes", rows[:2].T, lambda: find_hash_pairs(hashes, 8)[0])
    report(n, "turned hashes", rows[2:].T, lambda: find_turned_pairs(hashes, turned, 4)[0])


def search_vectors(n: int, path: Path, width: int) -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CENTRES, width)).astype(np.float32)
    vectors = np.lib.format.open_memmap(path, "w+", np.float16, (n, width))
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        spread = rng.standard_normal((size, width), np.float32)
        vectors[start : start + size] = centres[rng.integers(0, CENTRES, size)] + spread
    rows = np.sort(rng.choice(n, 2 * PLANTED, replace=False)).reshape(PLANTED, 2)
    vectors[rows[:, 0]] = vectors[rows[:, 1]] + 0.02 * rng.standard_normal((PLANTED, width))
    vectors.flush()
    stored = np.load(path, mmap_mode="r")

    def search() -> np.ndarray:
        unit = UnitVectors(stored)
        pairs, _, recall = find_indexed_pairs(unit, find_distance_limits(unit))
        ratio(f"{n:,} vectors of {width}: nearest known, of a sample compared with all", 100 * recall, 90, "%", "least")
        return pairs

    report(n, f"vectors of {width}", rows, search)


def report(n: int, kind: str, planted: np.ndarray, search) -> None:
    """Time and memory of a search, and the planted pairs (P, 2) that its pairs tie."""
    started, cpu = time.monotonic(), time.process_time()
    clusters = find_clusters(n, search())
    wall, cpu = time.monotonic() - started, time.process_time() - cpu
    tied = 100 * float((clusters[planted[:, 0]] == clusters[planted[:, 1]]).mean())
    ratio(f"{n:,} {kind}: CPU time (wall {wall:,.0f} s)", cpu, TARGET_S, "s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    ratio(f"{n:,} {kind}: peak memory of the process, all arrays included", peak / 1e9, TARGET_GB, "GB")
    ratio(f"{n:,} {kind}: planted copies that are found", tied, 95, "%", "least")


def main() -> None:
    """Each part in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--part", choices=("hashes", "vectors"))
    args = parser.parse_args()
    if args.part == "hashes":
        search_hashes(args.count)
    elif args.part == "vectors":
        with tempfile.TemporaryDirectory() as scratch:
            search_vectors(args.count, Path(scratch) / "vectors.npy", args.width)
    else:
        for part in ("hashes", "vectors"):
            words = ["--count", str(args.count), "--width", str(args.width), "--part", part]
            subprocess.run([sys.executable, "-m", "benchmarks.million_neighbours", *words], check=True)


if __name__ == "__main__":
    main()
