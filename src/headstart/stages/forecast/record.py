"""The small record that a finished run leaves in this user's cache, from which later runs learn."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.context import Context
from headstart.core.errors import HeadstartError
from headstart.core.types import (
    Adapted,
    Dataset,
    EpochScores,
    Evaluation,
    Forecasts,
    Ranking,
    RankRow,
    Score,
    Splits,
    TrainingLog,
    Trial,
    Tuning,
)
from headstart.kit import forecast, history, metrics, prior, trunk
from headstart.kit.forecast import BEFORE
from headstart.kit.history import Measured, Record
from headstart.kit.intervals import wilson

NAMES = ("accuracy", "balanced_accuracy")


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """What a finished run holds, as far as a record tells of it."""

    data: Dataset
    splits: Splits
    ranking: Ranking
    probe: Adapted
    tuning: Tuning | None
    evaluation: Evaluation
    forecasts: Forecasts


def keep(of: Ended, *, ctx: Context) -> None:
    """Keep what the run came to; that it cannot be kept is said and costs the run nothing."""
    try:
        history.keep(made(of, ctx), ctx.store)
    except HeadstartError as err:
        ctx.say.warn(f"what this run came to is not kept for later forecasts: {err.what}")


def made(of: Ended, ctx: Context) -> Record:
    """The record of a run."""
    targets, final = np.asarray(of.data.targets), _overall(of.evaluation.scores, of.evaluation.split)
    counts = sorted((int(n) for n in np.bincount(targets[of.splits.train]) if n), reverse=True)
    lasts = forecast.timed(ctx.run.path, BEFORE)
    return Record(
        address=history.address(of.data.digest, ctx.job),
        pictures_digest=of.data.digest,
        made_s=float(round(time.time())),
        classes=len(counts),
        pictures=len(of.data.uris),
        counts=tuple(counts),
        metric=ctx.job.metric,
        strategy=ctx.job.strategy,
        explicit=bool(ctx.job.recipe),
        backbones=_measured(of, final),
        probe=_of_probe(of, targets),
        final=final,
        planned_s=lasts.planned_s if lasts else math.nan,
        taken_s=lasts.taken_s if lasts else math.nan,
        forecast=tuple(forecast.as_score(one, final[0].n) for one in of.forecasts.forecasts),
    )


def _overall(scores: Sequence[Score], split: str = "") -> tuple[Score, ...]:
    """Accuracy and balanced accuracy over all classes."""
    return tuple(s for s in scores if s.name in NAMES and not s.subject and split in ("", s.split))


def _of_probe(of: Ended, targets: np.ndarray) -> tuple[Score, ...]:
    rows, p = np.asarray(of.probe.cv_rows), of.probe.cv_probabilities
    clusters = np.asarray(of.splits.clusters)[rows]
    return tuple(metrics.score(name, targets[rows], p, split="cv", clusters=clusters) for name in NAMES)


def _measured(of: Ended, final: tuple[Score, ...]) -> tuple[Measured, ...]:
    """All backbones but controls, each at its best depth, which stands first."""
    best: dict[str, RankRow] = {}
    for row in of.ranking.rows:
        if row.status != "control":
            best.setdefault(row.backbone, row)
    return tuple(
        dataclasses.replace(
            prior.measured(trunk.find(name).spec), probe=_overall(row.scores), tuned=_tuned(name, of, final)
        )
        for name, row in best.items()
    )


def _tuned(name: str, of: Ended, final: tuple[Score, ...]) -> tuple[Score, ...]:
    """Held-out scores of a backbone's best recipe, and the final ones where its network was handed over."""
    if of.tuning is None:
        return ()
    tried = [found for trial in of.tuning.trials if (found := _trial(trial, name, of))]
    network = of.tuning.network
    handed_over = of.tuning.taken and network is not None and network.backbone == name
    return (*max(tried, key=lambda scores: scores[1].value, default=()), *(final if handed_over else ()))


def _trial(trial: Trial, name: str, of: Ended) -> tuple[Score, ...]:
    """The mean over the folds that judged one recipe; empty where it is of another backbone or was not judged."""
    assert of.tuning is not None
    logs = [log for log in of.tuning.logs if log.trial == trial.number and log.fold >= 0]
    held = [one for log in logs if (one := _held(log)) is not None]
    if trial.recipe.backbone != name or trial.status in ("pruned", "failed") or not held:
        return ()
    folds = int(np.asarray(of.splits.folds[0]).max()) + 1
    n = round(len(of.splits.train) * len(held) / max(folds, len(held)))
    found = []
    for score in NAMES:
        value, low, high = wilson(n * float(np.mean([getattr(one, score) for one in held])), n)
        found.append(Score(split="cv", name=score, value=value, low=low, high=high, n=n, method="wilson"))
    return tuple(found)


def _held(log: TrainingLog) -> EpochScores | None:
    return log.start if log.best == 0 else log.epochs[log.best - 1].val
