"""The training loop: a network, a recipe and a feed become weights that can be trusted and made again.

All that an epoch starts from is kept, so a killed training ends in the same bits as an unbroken one. The first step
must move every block that trains and nothing else. At the end the weights that count are put back: those of the best
epoch, or the first ones if no epoch was better.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
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
from headstart.finetuning.network.determinism import repeat_bit_for_bit
from headstart.finetuning.network.trainable_network import Network
from headstart.finetuning.training import memory, schedules
from headstart.finetuning.training.checkpoint import CheckpointFolder, TrainingArrays, TrainingFacts
from headstart.finetuning.training.domain_loss import DomainLoss
from headstart.finetuning.training.epoch_loop import TrainingLoop, TrainingTask, find_best_epoch
from headstart.finetuning.training.epoch_metrics import predict_logits
from headstart.finetuning.training.prefetch import Feed, HeldOut, Profile, repeat_epochs
from headstart.finetuning.training.train_step import TrainStep
from headstart.networks.hardware import is_out_of_memory

_STATE_REVISION = 2  # raise it when the optimiser's state has other arrays
_TEST_STEPS = 60  # of the rising-rate test
_TEST_RATES = {"adamw": (1e-6, 1e-1), "sgd": (1e-4, 1e1)}
_TEST_WORSE, _TEST_FIRST = 4.0, 5  # times the largest loss of the first steps ends the test


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingResult:
    """A training that is over."""

    rows: tuple[EpochRow, ...]
    start: EpochScores | None  # held-out scores before the first step; None when nothing was held out
    best: int  # the epoch whose weights count and are in the network now, 0 for the start
    stopped: str  # why it ended, one clause
    logits: np.ndarray | None  # (E + 1, M, C) float32 held-out, at the start and after each epoch
    weights: Callable[[int], dict[str, np.ndarray]]  # by epoch and path; of 0, the best, or all (`keep_epochs`)
    steps: int
    profile: Profile
    notes: tuple[str, ...]


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C: the best weights so far are in the network; `trained` is the training as far as it came."""

    def __init__(self, trained: TrainingResult) -> None:
        super().__init__(trained.stopped)
        self.trained = trained


@repeat_bit_for_bit()
def train_network(
    network: Network,
    recipe: Recipe,
    feed: Feed,
    *,
    held: HeldOut | None,
    class_weight: np.ndarray | None,
    folder: Path | None,
    stop_after: int | None = None,
    keep_epochs: bool = False,
    on_epoch: Callable[[EpochRow], bool] | None = None,
    callbacks: Sequence[Any] = (),
    domain: DomainLoss | None = None,
    console: Console,
    name: str,
    places: Sequence[str] = (),
) -> TrainingResult:
    """Train a network, or go on with a training that was cut short, or read one that is done.

    Args:
        recipe: A rate of 0 has one found first.
        held: What is watched; without it the last epoch counts.
        class_weight: (C,) float64 or None.
        folder: Where states and weights are kept; None keeps them in memory, and a kill loses them.
        stop_after: Last epoch, of a schedule that is laid out for all of the recipe's.
        on_epoch: Told of every epoch, once more of the done ones when a training goes on; True ends it.
        callbacks: Plain Keras callbacks; one that changes the learning rate scales the rest of the schedule. Their own
            state is not kept: with them, a training that was killed may end otherwise than an unbroken one.
        domain: A loss of source and target together; the feed then gives rows of both.
        places: Two devices or more over which each step is spread (`headstart.finetuning.training.replicas`); not with
            a `domain`.

    Raises:
        NoOpError: The first step moves a block that is frozen, or leaves one that trains.
        DataError: The loss is not finite before anything moved.
        SetupError: Not even a few pictures fit into memory, or the disk is full.
        TrainingInterrupted: Ctrl-C.
    """
    last = recipe.epochs if stop_after is None else min(stop_after, recipe.epochs)
    task = TrainingTask(
        network=network, recipe=recipe, feed=feed, held=held, last=last, keep_epochs=keep_epochs,
        on_epoch=on_epoch, callbacks=callbacks, console=console, name=name, domain=domain, places=tuple(places),
    )  # fmt: skip
    first, store, batch = network.get(), CheckpointFolder(folder), min(recipe.batch, feed.n)
    batch *= domain.groups if domain else 1
    key = _training_key(task, first, class_weight)
    state = store.load_state(key)
    count, note = (state[0].parts, "") if state else _count_parts(network, batch, places)
    while True:
        try:
            return _train_once(task, class_weight, store, key, count, note)
        except Exception as err:
            if not is_out_of_memory(err):
                raise
            if count >= batch:
                raise SetupError(
                    f"{name}: one picture at a time does not fit into memory",
                    hint="free some memory, or train fewer blocks: --recipe blocks=1",
                ) from err
        store.clear_states()
        network.set(first)
        count *= 2
        note = f"{memory.format_parts(batch, count)}: memory ran out in training"
        console.print_warning(f"{name}: {note}")


def epoch_weights(folder: Path, epoch: int) -> dict[str, np.ndarray]:
    """Weights that a training kept in its folder; a KeyError where they were not kept."""
    return CheckpointFolder(folder).read_weights(epoch)


@repeat_bit_for_bit()
def measure_step_s(
    network: Network, recipe: Recipe, feed: Feed, steps: int = 3, *, places: Sequence[str] = ()
) -> float:
    """Seconds that a step takes, compiling left out: of the computing, or of the feed where that is slower."""
    weights = network.get()
    parts, _ = _count_parts(network, min(recipe.batch, feed.n), places)
    stepper = TrainStep(network, recipe, None, parts, places=places)
    batches, made_s, step_s = repeat_epochs(feed), list[float](), list[float]()
    for _ in range(steps + 1):
        began = time.perf_counter()
        inputs, targets, _ = next(batches)
        ready = time.perf_counter()
        stepper.take_step(inputs, targets, 0.0)
        made_s.append(ready - began)
        step_s.append(time.perf_counter() - ready)
    network.set(weights)
    return max(statistics.median(made_s[1:]), statistics.median(step_s[1:]))


def _count_parts(network: Network, batch: int, places: Sequence[str]) -> tuple[int, str]:
    return memory.count_parts(network.model, math.ceil(batch / max(len(places), 1)))


def _train_once(
    task: TrainingTask, class_weight: np.ndarray | None, store: CheckpointFolder, key: str, count: int, note: str
) -> TrainingResult:
    state = store.load_state(key)
    if state is not None and state[0].stopped:
        return _make_result(task, *_end_where_asked(task, *state), store)
    stepper = TrainStep(task.network, task.recipe, class_weight, count, task.domain, task.places)  # of the state too
    if state is None:
        facts = TrainingFacts(key=key, name=task.name, parts=count, notes=(note,) if note else ())
        facts, logits = _score_start(task, stepper, store, facts)
    else:
        facts, arrays = state
        task.network.set(arrays.weights)
        stepper.restore_state(arrays.state)
        logits = [] if arrays.logits is None else list(arrays.logits)
    loop = TrainingLoop(task, stepper, store, facts, logits)
    try:
        loop.run_epochs()
    except KeyboardInterrupt:
        cut = dataclasses.replace(loop.facts, stopped=f"interrupted in epoch {loop.facts.epoch + 1}")
        raise TrainingInterrupted(_make_result(task, cut, _stack_logits(loop.logits[: cut.epoch + 1]), store)) from None
    return _make_result(task, loop.facts, _stack_logits(loop.logits), store)


def _end_where_asked(
    task: TrainingTask, facts: TrainingFacts, arrays: TrainingArrays
) -> tuple[TrainingFacts, np.ndarray | None]:
    """A training that is over, cut after the epoch at which `on_epoch` ends it, for it may have gone on elsewhere."""
    for row in facts.rows:
        if task.on_epoch is not None and task.on_epoch(row):
            logits = None if arrays.logits is None else arrays.logits[: row.epoch + 1]
            best, steps = find_best_epoch(task, row.epoch, logits), task.feed.steps * row.epoch
            rows = facts.rows[: row.epoch]
            return dataclasses.replace(
                facts, rows=rows, epoch=row.epoch, best=best, steps=steps, stopped="pruned"
            ), logits
    return facts, arrays.logits


def _score_start(
    task: TrainingTask, stepper: TrainStep, store: CheckpointFolder, facts: TrainingFacts
) -> tuple[TrainingFacts, list[np.ndarray]]:
    store.keep_weights(0, task.network.get())
    logits, start = [], None
    if task.held is not None:
        logits = [predict_logits(task.network, task.held)]
        if not np.isfinite(logits[0]).all():
            raise DataError(
                f"{task.name}: the logits are not finite before the first step",
                hint="look for pictures or first weights that are not finite",
            )
        start = task.score_logits(logits[0])
    peak, notes = task.recipe.rate, facts.notes
    if not peak and task.last:
        peak = _find_learning_rate(task, stepper)
        notes = (*notes, f"learning rate {peak:.2g} found by a rising-rate test of up to {_TEST_STEPS} steps")
    return dataclasses.replace(facts, peak=peak, start=start, notes=notes), logits


def _find_learning_rate(task: TrainingTask, stepper: TrainStep) -> float:
    """The rate of a rising-rate test on the training batches; weights and optimiser end as they were."""
    weights, state, losses = task.network.get(), stepper.copy_state(), list[float]()
    rates = np.geomspace(*_TEST_RATES[task.recipe.optimiser], _TEST_STEPS)
    for rate, (inputs, targets, _) in zip(rates, repeat_epochs(task.feed), strict=False):
        losses.append(stepper.take_step(inputs, targets, float(rate))[0])
        if not losses[-1] <= _TEST_WORSE * max(losses[:_TEST_FIRST]):  # written so that NaN ends it
            break
    task.network.set(weights)
    stepper.restore_state(state)
    return schedules.find_rate(np.array(losses), rates[: len(losses)])


def _make_result(
    task: TrainingTask, facts: TrainingFacts, logits: np.ndarray | None, store: CheckpointFolder
) -> TrainingResult:
    task.network.set(store.read_weights(facts.best))
    counts = facts.start if not facts.best or not facts.rows else facts.rows[facts.best - 1].val
    scores_text = ""
    if counts is not None and facts.start is not None and task.held is not None:
        scores_text = _format_best_epoch(facts, counts, task)
    took = format_duration(facts.profile.total_s)
    task.console.print_line("train", f"{task.name}: {facts.stopped}, {facts.steps:,} steps in {took}{scores_text}")
    return TrainingResult(
        rows=facts.rows,
        start=facts.start,
        best=facts.best,
        stopped=facts.stopped,
        logits=logits,
        weights=store.read_weights,
        steps=facts.steps,
        profile=facts.profile,
        notes=facts.notes,
    )


def _format_best_epoch(facts: TrainingFacts, counts: EpochScores, task: TrainingTask) -> str:
    """Scores are raw: a temperature is fitted when folds are judged."""
    assert facts.start is not None and task.held is not None
    which, loss, skill = "no epoch is better than the start", "", ""
    if facts.best:
        which = f"best at epoch {facts.best}"
        loss, skill = (f" (was {score:.3f})" for score in (facts.start.loss, facts.start.skill))
    (loss_name, skill_name), raw = counts.names, "raw " if task.objective.has_temperature else ""
    scores = f"{raw}{loss_name} {counts.loss:.3f}{loss}, {skill_name} {counts.skill:.3f}{skill}"
    return f"; on {len(task.held.y):,} held-out pictures {which}: {scores}"


def _stack_logits(logits: list[np.ndarray]) -> np.ndarray | None:
    return np.stack(logits) if logits else None


def _training_key(task: TrainingTask, first: Mapping[str, np.ndarray], class_weight: np.ndarray | None) -> str:
    """Digest of what decides the training."""
    hasher = hashlib.sha256()
    for path in sorted(first):
        hasher.update(path.encode() + first[path].tobytes())
    if task.held is not None:
        hasher.update(np.ascontiguousarray(task.held.y).tobytes())
    weights = None if class_weight is None else [float(weight) for weight in class_weight]
    facts = {"recipe": field_values(task.recipe), "last": task.last, "keep": task.keep_epochs, "class_weight": weights}
    facts |= {"first": hasher.hexdigest(), "n": task.feed.n, "steps": task.feed.steps, "state": _STATE_REVISION}
    facts |= {"domain": task.domain.name} if task.domain else {}
    return compute_digest(facts | ({"devices": len(task.places)} if task.places else {}))
