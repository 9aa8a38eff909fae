"""Which augmentations may be used: as the user says, or those that keep the label, measured by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from headstart.backbones import loading
from headstart.core.run.context import Context
from headstart.core.run.time_plan import plan_time
from headstart.core.settings import INFERENCE_BATCH, count_threads
from headstart.features.extraction_time import estimate_pass_seconds
from headstart.finetuning.inputs.augmentation_check import CHANGES, MOST, find_safe_domain
from headstart.finetuning.search.training_setup import TrainingSetup
from headstart.images import decoded_cache
from headstart.statistics.sampling import evenly_spaced


def choose_domain(setup: TrainingSetup, fields: Mapping[str, Any]) -> str:
    """The domain: of the recipe, of the job, or measured when augmentation may be used."""
    job = setup.ctx.job
    if "domain" in fields or job.domain != "auto" or (fields and not fields.get("augment")):
        return str(fields.get("domain", "photo" if job.domain == "auto" else job.domain))
    why = "which augmentations keep the label"
    return str(setup.ctx.record_decision("adapt/domain", lambda: _measure_domain(setup), why))


def count_affordable(backbone: str, ctx: Context) -> int:
    """Pictures that a small part of the time has room for, plain and changed; a given recipe has no bound."""
    if ctx.job.recipe:
        return MOST
    picture_s = estimate_pass_seconds({backbone: 1 + len(CHANGES)}, ctx.store)
    return max(1, min(MOST, int(plan_time(ctx.job).augmentation_s(ctx.left_s()) / picture_s)))


def _measure_domain(setup: TrainingSetup) -> str:
    """By the cheapest of the starting points, on as many pictures as a small part of the time has room for."""
    training_set, ctx = setup.training_set, setup.ctx
    trunks = [setup.networks.load_trunk(point.backbone)[0] for point in setup.recipe_space.starting_points]
    backbone = min(trunks, key=lambda trunk: (trunk.spec.flops, trunk.name))
    sample = training_set.positions[evenly_spaced(len(training_set.rows), count_affordable(backbone.name, ctx))]
    pictures = decoded_cache.load_decoded(
        training_set.data, training_set.rows[sample], backbone.spec.input, store=ctx.store, console=ctx.console
    )
    engine = loading.load_engine(backbone, ctx.store, ctx.console, pictures[:INFERENCE_BATCH], threads=count_threads())
    inner = max(1, len(backbone.spec.depths) - 1)  # all levels but the last

    def extract(changed: np.ndarray) -> np.ndarray:
        batches = ((at, changed[at : at + INFERENCE_BATCH]) for at in range(0, len(changed), INFERENCE_BATCH))
        return np.concatenate([np.concatenate(out[:inner], axis=1) for _, out in engine.run(batches)])

    check = find_safe_domain(
        extract,
        pictures,
        training_set.targets[sample],
        objective=training_set.objective,
        clusters=training_set.problem.clusters[training_set.rows[sample]],
        seed=ctx.seed,
    )
    ctx.console.print_line("adapt", f"augmentation as for {check.why}")
    return check.domain
