"""The epochs of one training: steps at the schedule's rates, a look at the held-out pictures, a state to go on from."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.console import Console, format_duration
from headstart.core.errors import DataError
from headstart.core.recipe import Recipe
from headstart.core.types import EpochRow, EpochScores
from headstart.finetuning.network.trainable_network import Network, require_moved
from headstart.finetuning.objectives import Objective
from headstart.finetuning.training import schedules
from headstart.finetuning.training.checkpoint import CheckpointFolder, TrainingArrays, TrainingFacts
from headstart.finetuning.training.domain_loss import DomainLoss
from headstart.finetuning.training.epoch_metrics import (
    EpochPredictions,
    format_epoch,
    monitored_losses,
    predict_logits,
)
from headstart.finetuning.training.prefetch import Batch, Feed, HeldOut, PrefetchedEpochs, Profile
from headstart.finetuning.training.train_step import TrainStep

_REDRAW_S = 0.2


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingTask:
    """The arguments of `headstart.finetuning.training.trainer.train_network`, with the last epoch."""

    network: Network
    recipe: Recipe
    feed: Feed
    held: HeldOut | None
    last: int
    keep_epochs: bool
    on_epoch: Callable[[EpochRow], bool] | None
    callbacks: Sequence[Any]
    console: Console
    name: str
    domain: DomainLoss | None = None
    places: tuple[str, ...] = ()

    @property
    def objective(self) -> Objective:
        """What is learnt."""
        return self.network.objective

    def score_logits(self, logits: np.ndarray) -> EpochScores:
        """Of (M, C) logits of the held-out pictures."""
        assert self.held is not None
        return self.objective.score(self.held.y, self.objective.answer(logits))


class TrainingLoop:
    """A training on its way; `logits` are (M, C) held-out ones of the start and of each done epoch, if any."""

    def __init__(
        self,
        task: TrainingTask,
        stepper: TrainStep,
        folder: CheckpointFolder,
        facts: TrainingFacts,
        logits: list[np.ndarray],
    ) -> None:
        self.task, self.stepper, self.folder, self.facts, self.logits = task, stepper, folder, facts, logits
        self._steps, self._scale = facts.steps, facts.scale
        self._profile, self._warm = facts.profile, False
        self._rates = schedules.schedule_rates(task.recipe, task.feed.steps * task.recipe.epochs, facts.peak)
        self._paths = [[variable.path for variable in block.variables] for block in task.network.blocks]
        epochs = range(1, task.recipe.epochs + 1)
        self._all_free = next(epoch for epoch in epochs if self._factors_in_epoch(epoch) == stepper.factors)
        self._drawn = 0.0

    def run_epochs(self) -> None:
        """Train until something stops it; `facts.stopped` has the reason."""
        from keras.callbacks import CallbackList

        task, model = self.task, self.stepper.model
        model.stop_training = False
        callbacks = CallbackList(list(task.callbacks), model=model, epochs=task.last, steps=task.feed.steps, verbose=0)
        callbacks.on_train_begin()
        if self.facts.epoch >= task.last:
            self._save_state(self._reason_to_stop())
        if task.on_epoch is not None and any(task.on_epoch(row) for row in self.facts.rows):
            self._save_state("pruned")
        with PrefetchedEpochs(task.feed, self.facts.epoch + 1, task.last) as batches:
            while not self.facts.stopped:
                self._train_epoch(batches, callbacks)
        callbacks.on_train_end()

    def _train_epoch(self, batches: PrefetchedEpochs, callbacks: Any) -> None:
        epoch, predictions = self.facts.epoch + 1, EpochPredictions(self.task.objective)
        self.stepper.optimiser.set_factors(self._factors_in_epoch(epoch))
        self.stepper.optimiser.learning_rate = self._scheduled_rate(self._steps)
        self._call_callbacks(lambda: callbacks.on_epoch_begin(epoch - 1))
        trouble = self._train_batches(epoch, batches, callbacks, predictions)
        self._profile += Profile(wait_s=batches.waited_s())
        if not trouble:
            weights = self.stepper.average_weights() if self.task.recipe.averaging.ema else self.task.network.get()
            logits = self._predict_held_out(weights)
            if not all(np.isfinite(array).all() for array in (*weights.values(), *logits)):
                rate = self._scheduled_rate(self._steps - 1)
                trouble = f"weights are not finite after step {self._steps}, rate {rate:g}"
        if trouble:
            self._save_state(trouble)
            return
        self.logits += logits
        val = self.task.score_logits(logits[0]) if logits else None
        rate = self._scheduled_rate(self._steps - 1)
        row = EpochRow(epoch=epoch, rate=rate, loss=predictions.loss, train=predictions.scores(), val=val)
        best = find_best_epoch(self.task, epoch, np.stack(self.logits) if self.logits else None)
        if self.task.keep_epochs or best == epoch:
            self.folder.keep_weights(epoch, weights)
        pruned = self.task.on_epoch is not None and self.task.on_epoch(row)
        self._call_callbacks(lambda: callbacks.on_epoch_end(epoch - 1, _callback_logs(row)))
        self.facts = dataclasses.replace(self.facts, epoch=epoch, rows=(*self.facts.rows, row), best=best)
        if self.task.console.shows_progress:
            about = f"{self.task.name}, epoch {epoch} of {self.task.last}"
            self.task.console.print_line("train", f"{about}: {format_epoch(row)}")
        self._save_state("pruned" if pruned else self._reason_to_stop())

    def _train_batches(
        self, epoch: int, batches: PrefetchedEpochs, callbacks: Any, predictions: EpochPredictions
    ) -> str:
        """The steps of an epoch; what stopped them, or nothing."""
        factors, listening = self._factors_in_epoch(epoch), bool(self.task.callbacks)
        check = epoch == 1 or _moving_paths(factors) != _moving_paths(self._factors_in_epoch(epoch - 1))
        for number, batch in enumerate(batches.epoch()):
            first = self.task.network.get(frozen=True) if check and not number else None
            if listening:
                callbacks.on_train_batch_begin(number)
            rate = self._scheduled_rate(self._steps)
            if not np.isfinite(self._take_step(batch, rate, predictions)):
                return self._not_finite(rate)
            if first is not None:
                require_moved(self.task.network, first, self.task.network.get(frozen=True), factors)
            if listening:
                scores = predictions.scores()
                logs = {"loss": predictions.loss, list(scores.drawn)[1]: scores.skill}
                callbacks.on_train_batch_end(number, logs)
                if self.stepper.model.stop_training:
                    break
            self._draw_progress(predictions)
        return ""

    def _take_step(self, batch: Batch, rate: float, predictions: EpochPredictions) -> float:
        inputs, targets, scored_targets = batch
        began = time.perf_counter()
        loss, logits = self.stepper.take_step(inputs, targets, rate)
        took_s = time.perf_counter() - began
        self._profile += Profile(compute_s=took_s) if self._warm else Profile(first_s=took_s)
        self._warm = True
        self._steps += 1
        if np.isfinite(loss):
            predictions.add_batch(loss, logits, scored_targets)
        return loss

    def _not_finite(self, rate: float) -> str:
        if self._steps == 1:
            raise DataError(
                f"{self.task.name}: the loss is not finite at the first step, before any weight moved",
                hint="look for pictures or first weights that are not finite",
            )
        return f"loss is not finite at step {self._steps}, rate {rate:g}"

    def _predict_held_out(self, weights: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """(M, C) logits of the held-out pictures by the weights that would count, or nothing."""
        task = self.task
        if task.held is None:
            return []
        if not task.recipe.averaging.ema:
            return [predict_logits(task.network, task.held)]
        moving = task.network.get()
        task.network.set(weights)
        logits = predict_logits(task.network, task.held)
        task.network.set(moving)
        return [logits]

    def _scheduled_rate(self, step: int) -> float:
        return float(self._rates[step]) * self._scale if step < len(self._rates) else 0.0

    def _call_callbacks(self, call: Callable[[], None]) -> None:
        """Call callbacks; by how much they change the rate, the rest of the schedule changes."""
        rate = self.stepper.rate
        call()
        if self.task.callbacks and rate > 0:
            self._scale *= self.stepper.rate / rate

    def _factors_in_epoch(self, epoch: int) -> dict[str, float]:
        return schedules.factors_in_epoch(self.task.recipe, self._paths, epoch, self.stepper.factors)

    def _reason_to_stop(self) -> str:
        """Why the training is over after the done epochs; empty when it is not."""
        facts, task = self.facts, self.task
        if self.stepper.model.stop_training:
            return "a callback stopped it"
        waited = facts.epoch - max(facts.best, self._all_free - 1)
        if task.held is not None and task.recipe.patience and waited >= task.recipe.patience:
            return f"no gain in {waited} epochs"
        if facts.epoch < task.last:
            return ""
        return f"all {task.last} epochs" if task.last == task.recipe.epochs else f"after epoch {task.last}, as asked"

    def _save_state(self, stopped: str) -> None:
        self.facts = dataclasses.replace(
            self.facts, stopped=stopped, scale=self._scale, steps=self._steps, profile=self._profile
        )
        arrays = TrainingArrays(logits=np.stack(self.logits) if self.logits else None)
        if not stopped:
            arrays.weights, arrays.state = self.task.network.get(), self.stepper.copy_state()
        self.folder.save_state(self.facts, arrays)
        if not self.task.keep_epochs:
            self.folder.drop_weights(but=self.facts.best)

    def _draw_progress(self, predictions: EpochPredictions) -> None:
        now, console, task = time.monotonic(), self.task.console, self.task
        if not console.shows_progress or now - self._drawn < _REDRAW_S:
            return
        self._drawn = now
        steps = task.feed.steps
        epoch, number = divmod(self._steps - 1, steps)
        left_s = self._profile.total_s / self._steps * (task.last * steps - self._steps)
        scores = predictions.scores()
        console.draw_progress(
            f"{'train':<12}{task.name}: epoch {epoch + 1} of {task.last}, step {number + 1} of {steps}, loss "
            f"{predictions.loss:.3f}, {scores.names[1]} {scores.skill:.3f}, at most {format_duration(left_s)} left"
        )


def find_best_epoch(task: TrainingTask, epoch: int, logits: np.ndarray | None) -> int:
    """The epoch whose weights count after `epoch`: the first of the best by held-out (E + 1, M, C) `logits`, or the
    last when nothing is watched."""
    if task.held is None or logits is None:
        return epoch
    return int(np.argmin(monitored_losses(task.recipe.monitor, task.held.y, logits, task.objective)))


def _moving_paths(factors: Mapping[str, float]) -> set[str]:
    return {path for path, factor in factors.items() if factor > 0}


def _callback_logs(row: EpochRow) -> dict[str, float]:
    """The logs of an epoch for Keras callbacks, under the names that `fit` gives."""
    logs = {"loss": row.loss, "learning_rate": row.rate} | row.train.values()
    if row.val is not None:
        logs |= {"val_loss": row.val.loss} | {f"val_{name}": value for name, value in row.val.values().items()}
    return logs
