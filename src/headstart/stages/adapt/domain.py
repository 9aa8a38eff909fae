"""Which augmentations may be used: as the user says, or those that keep the label, measured on held-out pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from headstart.core.settings import threads
from headstart.kit import pictures, trunk
from headstart.kit.audition import MOST, audition
from headstart.kit.engine import BATCH
from headstart.kit.linear import spread
from headstart.stages.adapt import bases
from headstart.stages.adapt.workbench import Workbench


def decided(bench: Workbench, given: Mapping[str, Any]) -> str:
    """The domain: of the recipe, of the job, or by an audition when augmentation may be used.

    Args:
        bench: Pictures, features and folds; the first fold's pictures are listened to.
        given: Fields of the user's recipe.
    """
    job = bench.ctx.job
    if "domain" in given or job.domain != "auto" or (given and not given.get("augment")):
        return str(given.get("domain", "photo" if job.domain == "auto" else job.domain))
    base, fold = bench.bases[0], bench.fold_numbers[0]
    learnt, held = bench.learnt(fold), bench.held_out(fold)
    few = held[spread(len(held), MOST)]
    head = bases.fitted(base, bench.embeddings, bench.rows[learnt], bench.y[learnt], bench.on)
    found, _ = bench.trunk(base.backbone)
    raw = pictures.load(bench.data, bench.rows[few], found.spec.input, store=bench.ctx.store, say=bench.ctx.say)
    engine = trunk.ready(found, bench.ctx.store, bench.ctx.say, raw[:8], threads=threads())
    names = [depth.name for depth in found.spec.depths]
    order = [names.index(depth) for depth in base.depths]

    def answer(seen: np.ndarray) -> np.ndarray:
        parts = [np.concatenate([outputs[at] for at in order], axis=1) for _, outputs in engine.run(_batches(seen))]
        return np.asarray(np.concatenate(parts) @ head.weights + head.bias)

    heard = audition(answer, raw, bench.y[few], seed=bench.ctx.seed)
    bench.ctx.say.line("adapt", f"augmentation as for {heard.why}")
    return heard.domain


def _batches(seen: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for at in range(0, len(seen), BATCH):
        yield at, np.ascontiguousarray(seen[at : at + BATCH])
