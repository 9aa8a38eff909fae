"""Seconds and peak memory of a table of a million rows, read and checked; no picture is opened.

python -m benchmarks.table [csv|jsonl|parquet]
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from headstart.core.job import Job
from headstart.data.reading.records import find_reader

ROWS = 1_000_000
COLUMNS = ("path", "label", "split", "patient", "sample_weight", "date")


def make_row(number: int) -> tuple[str, ...]:
    """A row as hospitals have them: 40 classes, 20,000 patients, a time of its own."""
    split = ("train", "train", "train", "val", "test")[number % 5]
    moment = f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}T{number % 24:02}:{number % 60:02}:00"
    name = f"site{number % 30}/patient{number % 20_000:05}/scan{number:07}.png"
    return name, f"finding {number % 40}", split, f"p{number % 20_000}", "1.5" if number % 9 else "1", moment


def write_table(path: Path) -> None:
    """Write the table in the form that its suffix tells, a part at a time."""
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        schema = pyarrow.schema([(name, pyarrow.string()) for name in COLUMNS])
        with parquet.ParquetWriter(path, schema) as writer:
            for start in range(0, ROWS, 100_000):
                columns = zip(*map(make_row, range(start, start + 100_000)), strict=True)
                writer.write_table(pyarrow.table(dict(zip(COLUMNS, map(list, columns), strict=True)), schema))
        return
    import csv
    import json

    with path.open("w", newline="") as handle:
        if path.suffix == ".csv":
            csv.writer(handle).writerow(COLUMNS)
            csv.writer(handle).writerows(map(make_row, range(ROWS)))
        else:
            handle.writelines(json.dumps(dict(zip(COLUMNS, make_row(n), strict=True))) + "\n" for n in range(ROWS))


def main() -> None:
    """Print the figures."""
    form = sys.argv[1] if len(sys.argv) > 1 else "csv"
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch) / f"labels.{form}"
        write_table(table)
        first = Path(scratch) / make_row(0)[0]
        first.parent.mkdir(parents=True)
        first.touch()
        before, started, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic(), time.process_time()
        reader, job = find_reader(str(table)), Job(data=str(table))
        reader.require_readable(str(table), job)
        listing = reader.list_pictures(str(table), job, frozenset())
        labelling = listing.label_pictures(listing.uris, listing.skipped)
        seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu
    assert len(labelling.records) == ROWS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = f"{peak / 1e6:.2f} GB at most ({before / 1e6:.2f} GB before)"
    print(f"{form}, {ROWS:,} rows: {seconds:.1f} s ({cpu_seconds:.1f} s of CPU), {memory}")


if __name__ == "__main__":
    main()
