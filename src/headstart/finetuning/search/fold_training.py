"""One recipe on one fold: a network learns from the other folds and answers for the held-out pictures at every epoch.

What came out is kept in the run folder (`adapt/trials/…`), so a training that is done is not done again; one that was
cut short goes on from its last epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core.console import format_duration
from headstart.core.recipe import Recipe
from headstart.core.storage import serialization
from headstart.core.types import EpochRow, TrainingLog
from headstart.finetuning.search.training_setup import PreparedTraining, Workbench
from headstart.finetuning.tracking import epoch_tracking
from headstart.finetuning.training import trainer
from headstart.images.decoded_cache import require_room


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldRun:
    """A training that was watched.

    Attributes:
        log: Its course.
        rows: (M,) int64 held-out pictures.
        logits: (E + 1, M, C) float32 at the start and after each epoch.
    """

    log: TrainingLog
    rows: np.ndarray
    logits: np.ndarray


def place(bench: Workbench, trial: int, fold: int) -> Path:
    """Where the weights of a fold's epochs lie until the search is over."""
    return bench.work / f"trial{trial:03d}-fold{fold}"


def run_fold(
    bench: Workbench, recipe: Recipe, trial: int, fold: int, on_epoch: Callable[[EpochRow], bool] | None = None
) -> FoldRun:
    """Train on the other folds, or read what was trained.

    Args:
        bench: Pictures, features and trunks.
        recipe: What to train.
        trial: Its number.
        fold: Held out.
        on_epoch: Told of every epoch; True stops the training.
    """
    folder, file = bench.ctx.make_step_folder("adapt/trials"), f"trial{trial:03d}-fold{fold}"
    known = serialization.find_value(FoldRun, folder, file)
    if known is not None:
        bench.price.recall(known.log.recipe)
        if bench.follow is not None:
            bench.follow.done(known.log.name, known.log.recipe, known.log.epochs)
        return known
    name, learnt, judged = f"trial {trial}, fold {fold}", bench.learnt(fold), bench.held_out(fold)
    job = bench.prepare(recipe, learnt)
    bench.price.learn(job)
    kept = 4 * job.network.trainable_params * (job.recipe.epochs + 3)
    require_room(bench.work, kept, f"the weights of {job.recipe.epochs} epochs")
    made = trainer.train(
        job.network,
        job.recipe,
        job.feed,
        held=job.source.held(judged),
        class_weight=bench.on.class_weight,
        folder=place(bench, trial, fold),
        keep_epochs=True,
        on_epoch=epoch_tracking.live(bench.follow, name, job.recipe, on_epoch),
        console=bench.ctx.console,
        name=name,
    )
    tell_profile(bench, name, made.profile)
    log = TrainingLog(
        name=name,
        trial=trial,
        recipe=job.recipe,
        fold=fold,
        n_train=len(learnt),
        start=made.start,
        epochs=made.rows,
        best=made.best,
        stopped=made.stopped,
        trainable_params=job.network.trainable_params,
        notes=(*job.notes, *made.notes),
    )
    found = FoldRun(log=log, rows=bench.rows[judged], logits=np.asarray(made.logits))
    serialization.save_value(found, folder, file)
    return found


def weights(
    bench: Workbench, job: PreparedTraining, trial: int, run: FoldRun, epoch: int, alpha: float
) -> dict[str, np.ndarray]:
    """What a fold's network knew at an epoch, part of the way from its start.

    Args:
        bench: Tells where weights lie.
        job: Whose network the weights are for.
        trial: Number of the trial.
        run: The fold.
        epoch: One after its last gives its last.
        alpha: Part of the way from the first weights.
    """
    folder = place(bench, trial, run.log.fold)
    start, tuned = (trainer.epoch_weights(folder, each) for each in (0, min(epoch, len(run.logits) - 1)))
    return job.network.between(start, tuned, alpha)


def logits(bench: Workbench, job: PreparedTraining, made: dict[str, np.ndarray], run: FoldRun) -> np.ndarray:
    """(M, C) what a fold's held-out pictures get from some weights."""
    job.network.set(made)
    return trainer.predict(job.network, job.source.held(bench.held_out(run.log.fold)))


def tell_profile(bench: Workbench, name: str, profile: trainer.Profile) -> None:
    """Say which part of the steps' time was compute, when the job asks for it (`--profile`)."""
    if bench.ctx.job.profile and math.isfinite(profile.share):
        bench.ctx.console.print_line(
            "train",
            f"{name}: {100 * profile.share:.0f} % of the step time was compute, {format_duration(profile.wait_s)} "
            "waited for "
            f"pictures; the first step, which compiles, took {format_duration(profile.first_s)} and is left out",
        )
