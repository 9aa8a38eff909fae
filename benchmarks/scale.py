"""100 million pictures on 200 workers, on paper: what one picture costs is measured here, the rest is arithmetic.

Two counts are embedded cold; their difference is what a picture more costs. Prices are assumptions, which are printed.
"""

import json
import tempfile
from pathlib import Path

from benchmarks.common import LITE0, cold_cache, headstart, measured, pictures

PICTURES, WORKERS, CORES = 100_000_000, 200, 4  # cores of a worker
USD_PER_HOUR, USD_PER_GB_MONTH, USD_PER_1000_GETS = 0.17, 0.023, 0.0004  # a cloud's list prices of 2025
DRIVER_GB_PER_MILLION = 2.9  # of memory, as docs/read.md has it
DRIVER_MEMORY_GB, LINK_GB_PER_S = 64, 1.25
COUNTS = 300, 1_500


def count_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure_pictures(place: Path, count: int) -> dict[str, float]:
    """CPU seconds of the steps and bytes of the cache after so many pictures."""
    data, cache = pictures(place / "data", count), cold_cache(place / "cache")
    before = count_bytes(cache)
    cost = measured(headstart("embed", str(data), "--backbones", LITE0, "--quiet", "--out", str(place / "run")), cache)
    read_s = json.loads((place / "run" / "timings.json").read_text())["read"]["cpu_s"]
    return {"cpu_s": cost.cpu_s, "read_s": read_s, "cache": count_bytes(cache) - before, "data": count_bytes(data)}


def main() -> None:
    """Measure, compute, print."""
    with tempfile.TemporaryDirectory() as scratch:
        few, many = (measure_pictures(Path(scratch) / str(count), count) for count in COUNTS)
    each = {name: (many[name] - few[name]) / (COUNTS[1] - COUNTS[0]) for name in few}
    embed_s = each["cpu_s"] - each["read_s"]
    print(f"one picture: read {1e3 * each['read_s']:.2f} ms CPU, embed {1e3 * embed_s:.2f} ms CPU, ", end="")
    print(f"{each['data'] / 1e3:.1f} kB of data, {each['cache'] / 1e3:.1f} kB of vectors")
    read_h, pass_h = (seconds * PICTURES / 3600 for seconds in (each["read_s"] / CORES, embed_s / (WORKERS * CORES)))
    flow = WORKERS * CORES / embed_s * each["cache"]
    print(f"read on the driver's {CORES} cores {read_h:.1f} h; embed on {WORKERS * CORES} cores {pass_h:.1f} h")
    print(f"machines {(pass_h * WORKERS + read_h) * USD_PER_HOUR:,.0f} USD at {USD_PER_HOUR} USD an hour each")
    print(f"requests {2 * PICTURES / 1000 * USD_PER_1000_GETS:,.0f} USD: each picture is read twice")
    data_gb, store_gb = (each[name] * PICTURES / 1e9 for name in ("data", "cache"))
    print(f"data {data_gb:,.0f} GB, vectors {store_gb:,.0f} GB, {USD_PER_GB_MONTH * store_gb:,.0f} USD a month")
    print(f"vectors reach the driver at {flow / 1e6:,.0f} MB/s; its link takes {1e3 * LINK_GB_PER_S:,.0f}")
    print(f"driver {DRIVER_GB_PER_MILLION * PICTURES / 1e6:,.0f} GB of memory; ", end="")
    print(f"{DRIVER_MEMORY_GB} GB hold {DRIVER_MEMORY_GB / DRIVER_GB_PER_MILLION:.0f} million pictures")


if __name__ == "__main__":
    main()
