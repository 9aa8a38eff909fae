"""The small record that a finished run leaves in this user's cache, from which later runs learn."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.backbones import loading
from headstart.core.errors import HeadstartError
from headstart.core.run.context import Context
from headstart.core.types import (
    Dataset,
    Evaluation,
    FitResult,
    Ranking,
    RankRow,
    Score,
    Splits,
)
from headstart.selection.forecast import forecast_model, history, prior
from headstart.selection.forecast.forecast_model import BEFORE
from headstart.selection.forecast.history import Measured, Record
from headstart.statistics import metrics

NAMES = ("accuracy", "balanced_accuracy")


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """What a finished run holds, as far as a record tells of it."""

    data: Dataset
    splits: Splits
    ranking: Ranking
    probe: FitResult
    evaluation: Evaluation


def keep(of: Ended, *, ctx: Context) -> None:
    """Keep what the run came to; that it cannot be kept is said and costs the run nothing."""
    try:
        history.keep(made(of, ctx), ctx.store)
    except HeadstartError as err:
        ctx.console.print_warning(f"what this run came to is not kept for later forecasts: {err.what}")


def made(of: Ended, ctx: Context) -> Record:
    """The record of a run."""
    targets = np.asarray(of.data.targets)
    counts = sorted((int(n) for n in np.bincount(targets[of.splits.train]) if n), reverse=True)
    lasts = forecast_model.timed(ctx.run.path, BEFORE)
    return Record(
        address=history.address(of.data.digest, ctx.job),
        pictures_digest=of.data.digest,
        made_s=float(round(time.time())),
        classes=len(counts),
        counts=tuple(counts),
        strategy=ctx.job.strategy,
        explicit=bool(ctx.job.recipe),
        backbones=_measured(of.ranking),
        probe=_of_probe(of, targets),
        final=_overall([s for s in of.evaluation.scores if s.split == of.evaluation.split]),
        planned_s=lasts.planned_s if lasts else math.nan,
        taken_s=lasts.taken_s if lasts else math.nan,
    )


def _overall(scores: Sequence[Score], names: Sequence[str] = NAMES) -> tuple[Score, ...]:
    """Those over all classes."""
    return tuple(s for s in scores if s.name in names and not s.subject)


def _of_probe(of: Ended, targets: np.ndarray) -> tuple[Score, ...]:
    rows, p = np.asarray(of.probe.cv_rows), of.probe.cv_probabilities
    clusters = np.asarray(of.splits.clusters)[rows]
    return tuple(metrics.score(name, targets[rows], p, split="cv", clusters=clusters) for name in NAMES)


def _measured(ranking: Ranking) -> tuple[Measured, ...]:
    """All backbones but controls, each at its best depth, which stands first."""
    best: dict[str, RankRow] = {}
    for row in ranking.rows:
        if row.status != "control":
            best.setdefault(row.backbone, row)
    return tuple(
        dataclasses.replace(prior.measured(loading.find(name).spec), probe=_overall(row.scores, NAMES[1:]))
        for name, row in best.items()
    )
