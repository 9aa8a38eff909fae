"""The epochs of one training: steps at the schedule's rates, a look at the held-out pictures, a state to go on from.

What decides (when to stop, which epoch counts) is worked out from the held-out logits of all epochs, never from a
clock, so that a training that goes on from its folder decides as the unbroken one did.
"""

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
from headstart.finetuning.network.trainable_network import Network
from headstart.finetuning.network.weight_movement import require_moved
from headstart.finetuning.training import schedules
from headstart.finetuning.training.checkpoint import Arrays, Facts, Folder
from headstart.finetuning.training.epoch_metrics import EpochPredictions, monitored, predict, scores
from headstart.finetuning.training.prefetch import Ahead, Batch, Feed, Held, Profile
from headstart.finetuning.training.train_step import TrainStep
from headstart.heads.prediction import softmax

_REDRAW_S = 0.2


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What `headstart.finetuning.training.trainer.train` was asked for, with the last epoch made plain."""

    network: Network
    recipe: Recipe
    feed: Feed
    held: Held | None
    last: int
    keep_epochs: bool
    on_epoch: Callable[[EpochRow], bool] | None
    callbacks: Sequence[Any]
    console: Console
    name: str

    @property
    def n_classes(self) -> int:
        """C."""
        return int(self.network.model.output.shape[-1])

    def scores(self, logits: np.ndarray) -> EpochScores:
        """Of (M, C) logits of the held-out pictures."""
        assert self.held is not None
        return scores(self.held.y, softmax(logits.astype(np.float64)), self.n_classes)


class Loop:
    """A training on its way.

    Args:
        task: What is asked for.
        stepper: On the weights to go on from.
        folder: Where states are kept.
        facts: What is known so far.
        logits: (M, C) held-out logits of the start and of each done epoch; empty when nothing is watched.
    """

    def __init__(self, task: Task, stepper: TrainStep, folder: Folder, facts: Facts, logits: list[np.ndarray]) -> None:
        self.task, self.stepper, self.folder, self.facts, self.logits = task, stepper, folder, facts, logits
        self._steps, self._scale = facts.steps, facts.scale
        self._profile, self._warm = facts.profile, False
        self._rates = schedules.rates(task.recipe, task.feed.steps * task.recipe.epochs, facts.peak)
        self._paths = [[variable.path for variable in block.variables] for block in task.network.blocks]
        self._all_free = next(e for e in range(1, task.recipe.epochs + 1) if self._factors(e) == stepper.factors)
        self._drawn = 0.0

    def run(self) -> None:
        """Train until something stops it; `facts.stopped` says what."""
        from keras.callbacks import CallbackList

        task, model = self.task, self.stepper.model
        model.stop_training = False
        told = CallbackList(list(task.callbacks), model=model, epochs=task.last, steps=task.feed.steps, verbose=0)
        told.on_train_begin()
        if self.facts.epoch >= task.last:
            self._save(self._at_end())
        if task.on_epoch is not None and any(task.on_epoch(row) for row in self.facts.rows):
            self._save("pruned")
        with Ahead(task.feed, self.facts.epoch + 1, task.last) as ahead:
            while not self.facts.stopped:
                self._epoch(ahead, told)
        told.on_train_end()

    # ---------------------------------------------------------------- one epoch

    def _epoch(self, ahead: Ahead, told: Any) -> None:
        epoch, seen = self.facts.epoch + 1, EpochPredictions(self.task.n_classes)
        self.stepper.optimiser.set_factors(self._factors(epoch))
        self.stepper.optimiser.learning_rate = self._rate(self._steps)
        self._tell(lambda: told.on_epoch_begin(epoch - 1))
        trouble = self._batches(epoch, ahead, told, seen)
        self._profile += Profile(wait_s=ahead.waited_s())
        if not trouble:
            weights = self.stepper.averaged() if self.task.recipe.averaging.ema else self.task.network.get()
            logits = self._look(weights)
            if not all(np.isfinite(one).all() for one in (*weights.values(), *logits)):
                trouble = f"weights are not finite after step {self._steps}, rate {self._rate(self._steps - 1):g}"
        if trouble:
            self._save(trouble)
            return
        self.logits += logits
        val = self.task.scores(logits[0]) if logits else None
        rate = self._rate(self._steps - 1)
        row = EpochRow(epoch=epoch, rate=rate, loss=seen.loss, train=seen.scores(), val=val)
        best = self._best(epoch)
        if self.task.keep_epochs or best == epoch:
            self.folder.keep(epoch, weights)
        pruned = self.task.on_epoch is not None and self.task.on_epoch(row)
        self._tell(lambda: told.on_epoch_end(epoch - 1, _logs(row)))
        self.facts = dataclasses.replace(self.facts, epoch=epoch, rows=(*self.facts.rows, row), best=best)
        self._save("pruned" if pruned else self._at_end())

    def _batches(self, epoch: int, ahead: Ahead, told: Any, seen: EpochPredictions) -> str:
        """The steps of an epoch; what stopped them, or nothing."""
        factors, listening = self._factors(epoch), bool(self.task.callbacks)
        check = epoch == 1 or _moving(factors) != _moving(self._factors(epoch - 1))
        for number, batch in enumerate(ahead.epoch()):
            before = self.task.network.get(frozen=True) if check and not number else None
            if listening:
                told.on_train_batch_begin(number)
            rate = self._rate(self._steps)
            if not np.isfinite(self._step(batch, rate, seen)):
                return self._not_finite(rate)
            if before is not None:
                require_moved(self.task.network, before, self.task.network.get(frozen=True), factors)
            if listening:
                told.on_train_batch_end(number, {"loss": seen.loss, "accuracy": seen.accuracy})
                if self.stepper.model.stop_training:
                    break
            self._draw(seen)
        return ""

    def _step(self, batch: Batch, rate: float, seen: EpochPredictions) -> float:
        inputs, soft, hard = batch
        began = time.perf_counter()
        loss, logits = self.stepper.step(inputs, soft, rate)
        took_s = time.perf_counter() - began
        self._profile += Profile(compute_s=took_s) if self._warm else Profile(first_s=took_s)
        self._warm = True
        self._steps += 1
        if np.isfinite(loss):
            seen.add(loss, logits, hard)
        return loss

    def _not_finite(self, rate: float) -> str:
        if self._steps == 1:
            raise DataError(
                f"{self.task.name}: the loss is not finite at the first step, before any weight moved",
                hint="look for pictures or first weights that are not finite",
            )
        return f"loss is not finite at step {self._steps}, rate {rate:g}"

    def _look(self, weights: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """What the weights that would count say of the held-out pictures: (M, C), or nothing."""
        task = self.task
        if task.held is None:
            return []
        if not task.recipe.averaging.ema:
            return [predict(task.network, task.held)]
        moving = task.network.get()
        task.network.set(weights)
        found = predict(task.network, task.held)
        task.network.set(moving)
        return [found]

    # ---------------------------------------------------------------- rates and factors

    def _rate(self, step: int) -> float:
        return float(self._rates[step]) * self._scale if step < len(self._rates) else 0.0

    def _tell(self, call: Callable[[], None]) -> None:
        """Call callbacks; by how much they change the rate, the rest of the schedule changes."""
        before = self.stepper.rate
        call()
        if self.task.callbacks and before > 0:
            self._scale *= self.stepper.rate / before

    def _factors(self, epoch: int) -> dict[str, float]:
        return schedules.phases(self.task.recipe, self._paths, epoch, self.stepper.factors)

    # ---------------------------------------------------------------- which epoch counts, and when to stop

    def _best(self, epoch: int) -> int:
        """The epoch whose weights count after `epoch`: the first of the best, or the last when nothing is watched."""
        if self.task.held is None:
            return epoch
        return int(np.argmin(monitored(self.task.recipe.monitor, self.task.held.y, np.stack(self.logits))))

    def _at_end(self) -> str:
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

    # ---------------------------------------------------------------- what is kept and shown

    def _save(self, stopped: str) -> None:
        self.facts = dataclasses.replace(
            self.facts,
            stopped=stopped,
            scale=self._scale,
            steps=self._steps,
            profile=self._profile,
        )
        arrays = Arrays(logits=np.stack(self.logits) if self.logits else None)
        if not stopped:
            arrays.weights, arrays.state = self.task.network.get(), self.stepper.state()
        self.folder.save(self.facts, arrays)
        if not self.task.keep_epochs:
            self.folder.drop(but=self.facts.best)

    def _draw(self, seen: EpochPredictions) -> None:
        now, console, task = time.monotonic(), self.task.console, self.task
        if not console.shows_progress or now - self._drawn < _REDRAW_S:
            return
        self._drawn = now
        steps = task.feed.steps
        epoch, number = divmod(self._steps - 1, steps)
        last = self.facts.rows[-1].val if self.facts.rows else self.facts.start
        held = f", held out: log loss {last.log_loss:.3f}, accuracy {last.accuracy:.3f}" if last else ""
        left_s = self._profile.total_s / self._steps * (task.last * steps - self._steps)
        console.draw_progress(
            f"{'train':<12}{task.name}: epoch {epoch + 1} of {task.last}, step {number + 1} of {steps}, "
            f"loss {seen.loss:.3f}{held}, at most {format_duration(left_s)} left"
        )


def _moving(factors: Mapping[str, float]) -> set[str]:
    return {path for path, factor in factors.items() if factor > 0}


def _logs(row: EpochRow) -> dict[str, float]:
    """What Keras callbacks are told of an epoch, under the names that `fit` gives."""
    names = ("accuracy", "log_loss", "balanced_accuracy", "precision", "recall")
    logs = {"loss": row.loss, "learning_rate": row.rate} | {name: getattr(row.train, name) for name in names}
    if row.val is not None:
        logs |= {"val_loss": row.val.log_loss} | {f"val_{name}": getattr(row.val, name) for name in names}
    return logs
