"""One recipe on one fold: a network learns from the other folds and answers for held-out pictures at every epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core.console import format_duration
from headstart.core.recipe import Recipe
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import EpochRow, TrainingLog
from headstart.finetuning.network.determinism import repeat_bit_for_bit
from headstart.finetuning.search.parallel.parallel_folds import fold_folder
from headstart.finetuning.search.training_setup import TrainingSetup
from headstart.finetuning.search.training_source import PreparedTraining
from headstart.finetuning.tracking import epoch_tracking
from headstart.finetuning.training import trainer
from headstart.finetuning.training.epoch_metrics import predict_logits
from headstart.finetuning.training.prefetch import Profile
from headstart.images.decoded_cache import require_room


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldRun:
    """A watched training: (M,) int64 held-out `rows`, (E + 1, M, C) float32 `logits` at the start and by epoch."""

    log: TrainingLog
    rows: np.ndarray
    logits: np.ndarray


def weights_folder(setup: TrainingSetup, trial: int, fold: int) -> Path:
    """Where the weights of a fold's epochs lie until the search is over."""
    return setup.work_folder / f"trial{trial:03d}-fold{fold}"


def is_begun(setup: TrainingSetup, trial: int, fold: int) -> bool:
    """Whether a fold of a trial was trained, or its training began in this process or an earlier one."""
    file = setup.ctx.make_step_folder("adapt/trials") / f"trial{trial:03d}-fold{fold}.json"
    return file.is_file() or weights_folder(setup, trial, fold).exists()


def run_fold(
    setup: TrainingSetup, recipe: Recipe, trial: int, fold: int, on_epoch: Callable[[EpochRow], bool] | None = None
) -> FoldRun:
    """Train on the other folds, or read what was trained; `on_epoch` is told of every epoch, and True stops."""
    folder, file = setup.ctx.make_step_folder("adapt/trials"), f"trial{trial:03d}-fold{fold}"
    earlier = serialization.find_value(FoldRun, folder, file)
    if earlier is not None:
        setup.cost.recall_pace(earlier.log.recipe)
        if setup.tracker is not None:
            setup.tracker.report_epochs(earlier.log.name, earlier.log.recipe, earlier.log.epochs)
        return earlier
    name, held_out = f"trial {trial}, fold {fold}", setup.training_set.held_out_positions(fold)
    positions, work = setup.training_set.training_positions(fold), weights_folder(setup, trial, fold)
    ahead = fold_folder(setup, recipe, fold)
    if ahead.is_dir() and not work.exists():
        ahead.rename(work)
    training = setup.prepare(recipe, positions)
    recipe, network = training.recipe, training.network
    places = setup.cost.choose_places(training)
    setup.cost.measure_pace(training, places)
    weight_bytes = 4 * network.trainable_params * (recipe.epochs + 3)
    require_room(setup.work_folder, weight_bytes, f"the weights of {recipe.epochs} epochs")
    trained = trainer.train_network(
        network,
        recipe,
        training.feed,
        held=training.source.make_held_out(held_out),
        class_weight=setup.training_set.problem.class_weight,
        folder=work,
        keep_epochs=True,
        on_epoch=epoch_tracking.follow_epochs(setup.tracker, name, recipe, on_epoch),
        console=setup.ctx.console,
        name=name,
        places=places,
    )
    print_profile(setup.ctx, name, trained.profile)
    log = make_log(training, trained, name=name, trial=trial, fold=fold, n_train=len(positions), best=trained.best)
    run = FoldRun(log=log, rows=setup.training_set.rows[held_out], logits=np.asarray(trained.logits))
    serialization.save_value(run, folder, file)
    return run


def make_log(
    training: PreparedTraining,
    trained: trainer.TrainingResult,
    *,
    name: str,
    trial: int,
    fold: int,
    n_train: int,
    best: int,
) -> TrainingLog:
    """What is told of a training; `trial` and `fold` are -1 for none, `best` is the epoch whose weights count."""
    return TrainingLog(
        name=name,
        trial=trial,
        recipe=training.recipe,
        fold=fold,
        n_train=n_train,
        start=trained.start,
        epochs=trained.rows,
        best=best,
        stopped=trained.stopped,
        trainable_params=training.network.trainable_params,
        notes=(*training.notes, *trained.notes),
    )


def load_weights(
    setup: TrainingSetup, training: PreparedTraining, trial: int, run: FoldRun, epoch: int, alpha: float
) -> Mapping[str, np.ndarray]:
    """What a fold's network knew at an epoch, part `alpha` of the way from its start; its last epoch at most."""
    folder = weights_folder(setup, trial, run.log.fold)
    start, tuned = (trainer.epoch_weights(folder, each) for each in (0, min(epoch, len(run.logits) - 1)))
    return training.network.interpolate_weights(start, tuned, alpha)


@repeat_bit_for_bit()
def predict_held_out(
    setup: TrainingSetup, training: PreparedTraining, weights: Mapping[str, np.ndarray], run: FoldRun
) -> np.ndarray:
    """(M, C) logits that a fold's held-out pictures get from some weights."""
    training.network.set(weights)
    positions = setup.training_set.held_out_positions(run.log.fold)
    return predict_logits(training.network, training.source.make_held_out(positions))


def print_profile(ctx: Context, name: str, profile: Profile) -> None:
    """Say which part of the steps' time was compute, when the job asks for it."""
    if ctx.job.profile and math.isfinite(profile.share):
        waited, first = format_duration(profile.wait_s), format_duration(profile.first_s)
        compute = f"{100 * profile.share:.0f} % of the step time was compute, {waited} waited for pictures"
        compiled = f"the first step, which compiles, took {first} and is left out"
        ctx.console.print_line("train", f"{name}: {compute}; {compiled}")
