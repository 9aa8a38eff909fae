"""Run every benchmark that the README and the docs quote, one after the other."""

import importlib

NAMES = ("startup", "embed", "fit", "heads", "memory")

for name in NAMES:
    print(f"\n== benchmarks.{name}", flush=True)
    importlib.import_module(f"benchmarks.{name}").main()
