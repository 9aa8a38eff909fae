"""Which augmentations may be used: as the user says, or those that keep the label, measured by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from headstart.backbones import loading
from headstart.core.settings import INFERENCE_BATCH, count_threads
from headstart.finetuning.inputs.augmentation_check import MOST, audition
from headstart.finetuning.search.training_setup import Workbench
from headstart.images import decoded_cache
from headstart.statistics.sampling import evenly_spaced


def decided(bench: Workbench, given: Mapping[str, Any]) -> str:
    """The domain: of the recipe, of the job, or by an audition when augmentation may be used.

    Args:
        bench: The training pictures and the starting points.
        given: Fields of the user's recipe.
    """
    job = bench.ctx.job
    if "domain" in given or job.domain != "auto" or (given and not given.get("augment")):
        return str(given.get("domain", "photo" if job.domain == "auto" else job.domain))
    return str(bench.decide("domain", lambda: _heard(bench), "which augmentations keep the label"))


def _heard(bench: Workbench) -> str:
    """By the cheapest of the starting points: what keeps the label is a property of the pictures."""
    base = min(bench.bases, key=lambda b: (bench.trunk(b.backbone)[0].spec.flops, b.backbone))
    found, _ = bench.trunk(base.backbone)
    few = bench.everything[evenly_spaced(len(bench.rows), MOST)]
    raw = decoded_cache.load_decoded(
        bench.data, bench.rows[few], found.spec.input, store=bench.ctx.store, console=bench.ctx.console
    )
    engine = loading.load_engine(
        found, bench.ctx.store, bench.ctx.console, raw[:INFERENCE_BATCH], threads=count_threads()
    )
    inner = max(1, len(found.spec.depths) - 1)  # all depths but the last

    def features(seen: np.ndarray) -> np.ndarray:
        batches = ((at, seen[at : at + INFERENCE_BATCH]) for at in range(0, len(seen), INFERENCE_BATCH))
        return np.concatenate([np.concatenate(out[:inner], axis=1) for _, out in engine.run(batches)])

    heard = audition(features, raw, bench.y[few], n_classes=bench.on.n_classes, seed=bench.ctx.seed)
    bench.ctx.console.print_line("adapt", f"augmentation as for {heard.why}")
    return heard.domain
