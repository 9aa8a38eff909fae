"""The pass alone: decode 1,000 pictures and run the compiled trunk over them; nothing is kept."""

import sys
from pathlib import Path

import numpy as np

from benchmarks.common import LITE0
from headstart.backbones import loading
from headstart.core.console import Console
from headstart.core.settings import cache_folder, count_threads
from headstart.core.storage.cache import Store
from headstart.images import preprocessing
from headstart.networks import openvino_engine


def main() -> None:
    """Run it."""
    root = Path(sys.argv[1])
    uris = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.suffix in (".jpg", ".png"))
    found = loading.find_backbone(LITE0)
    probes = np.stack([preprocessing.decode_picture((root / uri).read_bytes(), found.spec.input) for uri in uris[:8]])
    folder = loading.make_trunk_folder(found, Store(cache_folder()), Console(quiet=True), probes)
    ready = openvino_engine.Engine(folder / "trunk.xml", threads=count_threads())
    rows = np.arange(len(uris))
    for _ in ready.run(
        preprocessing.decode_batches(root, uris, rows, found.spec.input, batch=ready.batch, threads=count_threads())
    ):
        pass


if __name__ == "__main__":
    main()
