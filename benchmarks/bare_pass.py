"""The pass alone: decode 1,000 pictures and run the compiled trunk over them; nothing is kept."""

import sys
from pathlib import Path

import numpy as np

from benchmarks.common import LITE0
from headstart.core.say import Say
from headstart.core.settings import cache_folder, threads
from headstart.core.store import Store
from headstart.kit import engine, pixels, trunk


def main() -> None:
    """Run it."""
    root = Path(sys.argv[1])
    uris = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.jpg"))
    found = trunk.find(LITE0)
    probes = np.stack([pixels.decode((root / uri).read_bytes(), found.spec.input) for uri in uris[:8]])
    folder = trunk.folder(found, Store(cache_folder()), Say(quiet=True), probes)
    ready = engine.Engine(folder / "trunk.xml", threads=threads())
    rows = np.arange(len(uris))
    for _ in ready.run(pixels.batches(root, uris, rows, found.spec.input, batch=ready.batch, threads=threads())):
        pass


if __name__ == "__main__":
    main()
