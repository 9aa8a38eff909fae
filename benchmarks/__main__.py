"""Run every benchmark of speed and memory that the README and the docs quote, one by one."""

import subprocess
import sys

PARTS = (
    "startup",
    "cost",
    "embed --growth",
    "fit",
    "heads --million",
    "memory",
    "finetune",
    "predict",
    "object_storage",
    "serve",
)

for part in PARTS:
    print(f"\n== python -m benchmarks.{part}", flush=True)
    name, *words = part.split()
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *words], check=True)
