"""A trunk's pace and memory measured again, for the first time they were taken the machine may have been busy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from headstart.backbones import latency, loading
from headstart.core.console import Console
from headstart.core.errors import UsageError
from headstart.core.settings import count_threads
from headstart.core.storage.cache import Store
from headstart.networks import openvino_engine

_PICTURES = 8


def again(names: Sequence[str], store: Store, console: Console) -> list[dict[str, Any]]:
    """Measure trunks that are ready on this machine, whatever was kept of them.

    Args:
        names: Of backbones; none for all whose trunks are in the cache.
        store: The cache.
        console: Warned when the machine is busy.

    Returns:
        Of each its `name`, what was measured `before` (empty where nothing was) and `now`, as `pace.measure` has it.

    Raises:
        UsageError: A name is unknown, or its trunk was never made ready here.
        SetupError: OpenVINO is missing.
    """
    openvino_engine.load()
    every = [loading.find(name, opening=False) for name in names or loading.names()]
    ready = [(one, folder) for one in every if (folder := store.find_entry("trunks", loading.key(one))) is not None]
    if names and len(ready) < len(every):
        absent = next(one.name for one in every if one.name not in {found.name for found, _ in ready})
        hint = f"it is measured at its first use: headstart embed DATA --backbones {absent}"
        raise UsageError(f"the trunk of `{absent}` was not used on this machine yet", hint=hint)
    warn_if_busy(console)
    return [_one(found, folder / "trunk.xml", store) for found, folder in ready]


def _one(found: loading.ResolvedBackbone, path: Any, store: Store) -> dict[str, Any]:
    count, side = count_threads(), found.spec.input.size_px
    pictures = np.random.default_rng(0).integers(0, 256, (_PICTURES, side, side, 3), np.uint8)
    before = latency.kept(found.spec, store)
    made = openvino_engine.Engine(path, threads=count)
    alone = partial(openvino_engine.Engine, path, threads=count, batch=1)
    what = (made, alone, pictures)
    now = latency.renew(found.spec, store, what, threads=count, engine=loading.engine_name())
    return {"name": found.name, "before": before, "now": now}


def warn_if_busy(console: Console) -> None:
    """Say when others keep more than half of the processors busy: what is measured is then theirs too."""
    if not hasattr(os, "getloadavg"):
        return
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        console.print_warning(
            f"the machine is busy (load {load:.1f} on {cores} processors): what is measured now is too slow"
        )
