"""The training loop: a network, a recipe and a feed become weights that can be trusted and made again.

Each epoch runs the feed's batches through the compiled step at the schedule's rates, then asks the held-out pictures
and keeps everything that the next epoch starts from, so that a killed training ends in the same bits as an unbroken
one. The first step must move every block that trains and nothing else. Training ends after the last epoch, when the
monitored metric no longer gains, when `on_epoch` or a callback says so, or at a loss that is not finite; then the
weights that count are put back: those of the best epoch, or the first ones if no epoch was better.
"""

from __future__ import annotations

import dataclasses
import hashlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.console import Console, format_duration
from headstart.core.errors import DataError, SetupError
from headstart.core.recipe import Recipe, field_values
from headstart.core.storage.hashing import compute_digest
from headstart.core.types import EpochRow, EpochScores
from headstart.finetuning.network.trainable_network import Network
from headstart.finetuning.training import memory, schedules
from headstart.finetuning.training.checkpoint import Facts, Folder
from headstart.finetuning.training.epoch_loop import Loop, Task
from headstart.finetuning.training.epoch_metrics import predict, scores
from headstart.finetuning.training.prefetch import Feed, Held, Profile, endless
from headstart.finetuning.training.train_step import TrainStep

__all__ = [
    "Feed",
    "Held",
    "Interrupted",
    "Profile",
    "Trained",
    "epoch_weights",
    "measure",
    "predict",
    "scores",
    "train",
]

_STATE_REVISION = 2  # raise it when the optimiser's state has other arrays
_TEST_STEPS = 60  # of the rising-rate test
_TEST_RATES = {"adamw": (1e-6, 1e-1), "sgd": (1e-4, 1e1)}
_TEST_WORSE, _TEST_FIRST = 4.0, 5  # times the largest loss of the first steps ends the test


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A training that is over.

    Attributes:
        rows: Of its epochs.
        start: Held-out scores before the first step; None when nothing was held out.
        best: The epoch whose weights count and are in the network now, 0 for the start.
        stopped: Why it ended, one clause.
        logits: (E + 1, M, C) float32 held-out logits at the start and after each epoch; None when nothing was held out.
        weights: Epoch -> weights by path, as `Network.set` takes them; 0, the best one, and with `keep_epochs` all.
        steps: Taken.
        profile: Where their time went.
        notes: Choices with their numbers.
    """

    rows: tuple[EpochRow, ...]
    start: EpochScores | None
    best: int
    stopped: str
    logits: np.ndarray | None
    weights: Callable[[int], dict[str, np.ndarray]]
    steps: int
    profile: Profile
    notes: tuple[str, ...]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a training: the best weights so far are in the network, and its folder can be gone on from.

    Attributes:
        trained: The training as far as it came.
    """

    def __init__(self, trained: Trained) -> None:
        super().__init__(trained.stopped)
        self.trained = trained


def train(
    network: Network,
    recipe: Recipe,
    feed: Feed,
    *,
    held: Held | None,
    class_weight: np.ndarray | None,
    folder: Path | None,
    stop_after: int | None = None,
    keep_epochs: bool = False,
    on_epoch: Callable[[EpochRow], bool] | None = None,
    callbacks: Sequence[Any] = (),
    console: Console,
    name: str,
) -> Trained:
    """Train a network, or go on with a training that was cut short, or read one that is done.

    Args:
        network: With its first weights.
        recipe: How; a rate of 0 has one found first.
        feed: What trains.
        held: What is watched; without it the last epoch counts.
        class_weight: (C,) float64 or None.
        folder: Where states and weights are kept; None keeps them in memory, and a kill loses them.
        stop_after: Last epoch, of a schedule that is laid out for all of the recipe's.
        keep_epochs: Keep the weights of every epoch.
        on_epoch: Told of every epoch, once more of the done ones when a training goes on; True ends it.
        callbacks: Plain Keras callbacks; one that changes the learning rate scales the rest of the schedule. Their own
            state is not kept: with them, a training that was killed may end otherwise than an unbroken one.
        console: The terminal.
        name: Of the training, for the terminal.

    Raises:
        NoOpError: The first step moves a block that is frozen, or leaves one that trains.
        DataError: The loss is not finite before anything moved.
        SetupError: Not even a few pictures fit into memory, or the disk is full.
        Interrupted: Ctrl-C.
    """
    last = recipe.epochs if stop_after is None else min(stop_after, recipe.epochs)
    task = Task(
        network=network, recipe=recipe, feed=feed, held=held, last=last, keep_epochs=keep_epochs,
        on_epoch=on_epoch, callbacks=callbacks, console=console, name=name,
    )  # fmt: skip
    first, store, batch = network.get(), Folder(folder), min(recipe.batch, feed.n)
    key = _key(task, first, class_weight)
    known = store.load(key)
    count, note = (known[0].parts, "") if known else memory.parts(network.model, batch)
    while True:
        try:
            return _attempt(task, class_weight, store, key, count, note)
        except Exception as err:
            if not memory.exhausted(err):
                raise
            if count >= batch:
                raise SetupError(
                    f"{name}: one picture at a time does not fit into memory",
                    hint="free some memory, or train fewer blocks: --recipe blocks=1",
                ) from err
        store.clear()
        network.set(first)
        count *= 2
        note = f"{memory.cut(batch, count)}: memory ran out in training"
        console.print_warning(f"{name}: {note}")


def epoch_weights(folder: Path, epoch: int) -> dict[str, np.ndarray]:
    """Weights that a training kept in its folder, as `Trained.weights` gives them.

    Raises:
        KeyError: They were not kept.
    """
    return Folder(folder).kept(epoch)


def measure(network: Network, recipe: Recipe, feed: Feed, steps: int = 3) -> float:
    """Seconds that a step takes: of the computing, or of the feed where that is slower.

    The first step, which compiles, does not count. The network ends as it was.
    """
    before = network.get()
    stepper = TrainStep(network, recipe, None, memory.parts(network.model, min(recipe.batch, feed.n))[0])
    batches, made_s, step_s = endless(feed), list[float](), list[float]()
    for _ in range(steps + 1):
        began = time.perf_counter()
        inputs, soft, _ = next(batches)
        ready = time.perf_counter()
        stepper.step(inputs, soft, 0.0)
        made_s.append(ready - began)
        step_s.append(time.perf_counter() - ready)
    network.set(before)
    return max(statistics.median(made_s[1:]), statistics.median(step_s[1:]))


# ---------------------------------------------------------------- from the first weights to the result


def _attempt(task: Task, class_weight: np.ndarray | None, store: Folder, key: str, count: int, note: str) -> Trained:
    known = store.load(key)
    if known is not None and known[0].stopped:
        facts, arrays = known
        if task.on_epoch is not None:
            for row in facts.rows:
                task.on_epoch(row)
        return _result(task, facts, arrays.logits, store)
    stepper = TrainStep(task.network, task.recipe, class_weight, known[0].parts if known else count)
    if known is None:
        facts, logits = _begin(task, stepper, store, Facts(key=key, parts=count, notes=(note,) if note else ()))
    else:
        facts, arrays = known
        task.network.set(arrays.weights)
        stepper.restore(arrays.state)
        logits = [] if arrays.logits is None else list(arrays.logits)
    loop = Loop(task, stepper, store, facts, logits)
    try:
        loop.run()
    except KeyboardInterrupt:
        cut = dataclasses.replace(loop.facts, stopped=f"interrupted in epoch {loop.facts.epoch + 1}")
        raise Interrupted(_result(task, cut, _stacked(loop.logits[: cut.epoch + 1]), store)) from None
    return _result(task, loop.facts, _stacked(loop.logits), store)


def _begin(task: Task, stepper: TrainStep, store: Folder, facts: Facts) -> tuple[Facts, list[np.ndarray]]:
    """What is known before the first step: the start's scores, and the rate."""
    store.keep(0, task.network.get())
    logits, start = [], None
    if task.held is not None:
        logits = [predict(task.network, task.held)]
        if not np.isfinite(logits[0]).all():
            raise DataError(
                f"{task.name}: what the network says is not finite before the first step",
                hint="look for pictures or first weights that are not finite",
            )
        start = task.scores(logits[0])
    peak, notes = task.recipe.rate, facts.notes
    if not peak and task.last:
        peak = _found_rate(task, stepper)
        notes = (*notes, f"learning rate {peak:.2g} found by a rising-rate test of up to {_TEST_STEPS} steps")
    return dataclasses.replace(facts, peak=peak, start=start, notes=notes), logits


def _found_rate(task: Task, stepper: TrainStep) -> float:
    """The rate of a rising-rate test on the training batches; weights and optimiser end as they were."""
    before, state, losses = task.network.get(), stepper.state(), list[float]()
    rates = schedules.rising(*_TEST_RATES[task.recipe.optimiser], _TEST_STEPS)
    for rate, (inputs, soft, _) in zip(rates, endless(task.feed), strict=False):
        losses.append(stepper.step(inputs, soft, float(rate))[0])
        if not losses[-1] <= _TEST_WORSE * max(losses[:_TEST_FIRST]):  # written so that NaN ends it
            break
    task.network.set(before)
    stepper.restore(state)
    return schedules.find_rate(np.array(losses), rates[: len(losses)])


def _result(task: Task, facts: Facts, logits: np.ndarray | None, store: Folder) -> Trained:
    task.network.set(store.kept(facts.best))
    counts = facts.start if not facts.best or not facts.rows else facts.rows[facts.best - 1].val
    held = ""
    if counts is not None and facts.start is not None and task.held is not None:
        held = _told(facts, counts, len(task.held.y))
    took = format_duration(facts.profile.total_s)
    task.console.print_line("train", f"{task.name}: {facts.stopped}, {facts.steps:,} steps in {took}{held}")
    return Trained(
        rows=facts.rows,
        start=facts.start,
        best=facts.best,
        stopped=facts.stopped,
        logits=logits,
        weights=store.kept,
        steps=facts.steps,
        profile=facts.profile,
        notes=facts.notes,
    )


def _told(facts: Facts, counts: EpochScores, n: int) -> str:
    """What held-out pictures say of the best epoch; raw, for a temperature and more come when folds are judged."""
    assert facts.start is not None
    if not facts.best:
        return (
            f"; on {n:,} held-out pictures no epoch is better than the start: raw log loss {counts.log_loss:.3f}, "
            f"accuracy {counts.accuracy:.3f}"
        )
    return (
        f"; on {n:,} held-out pictures best at epoch {facts.best}: raw log loss {counts.log_loss:.3f} (was "
        f"{facts.start.log_loss:.3f}), accuracy {counts.accuracy:.3f} (was {facts.start.accuracy:.3f})"
    )


def _stacked(logits: list[np.ndarray]) -> np.ndarray | None:
    return np.stack(logits) if logits else None


def _key(task: Task, first: Mapping[str, np.ndarray], class_weight: np.ndarray | None) -> str:
    """Digest of what decides the training, as far as it can be seen from here."""
    seen = hashlib.sha256()
    for path in sorted(first):
        seen.update(path.encode() + first[path].tobytes())
    if task.held is not None:
        seen.update(np.asarray(task.held.y, np.int64).tobytes())
    facts = {
        "recipe": field_values(task.recipe),
        "last": task.last,
        "keep": task.keep_epochs,
        "first": seen.hexdigest(),
    }
    weights = None if class_weight is None else [float(one) for one in class_weight]
    facts |= {"n": task.feed.n, "steps": task.feed.steps, "class_weight": weights, "state": _STATE_REVISION}
    return compute_digest(facts)
