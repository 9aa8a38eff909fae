"""Trunks that you tuned yourself: `run:PATH` takes that of an earlier run.

The network is copied into the cache when its run is first named; the run's folder is then no longer needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headstart.backbones.imported import description
from headstart.backbones.imported.source_base import ImportedSource
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store


class Run(ImportedSource):
    """The source `run`."""

    name = "run"
    opens_paths = True

    def open_preset(self, text: str, console: Any, *, fetching: bool = False) -> str:
        """The name of a run folder's trunk, which is in the cache afterwards; empty where there was never one.

        Raises:
            UsageError: The run trained no network, or the description of its copy is damaged.
            DataError: The folder is no run, or damaged.
        """
        path = Path(text).expanduser()
        store = Store(cache_folder())
        if not path.is_dir() and not self.presets():
            return super().open_preset(text, console)
        from headstart.backbones.earlier_runs import run_backbone

        if path.is_dir():
            return run_backbone.open_run(path, store)
        return run_backbone.find_by_folder(path, store) or super().open_preset(text, console)

    def learnt_from(self, preset: str) -> frozenset[str]:
        """SHA-256 digests of the pictures that its run, and the runs before it, learnt from."""
        return description.read_training_digests(self.name, preset)


PLUGIN = Run()
