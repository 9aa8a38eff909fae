"""Training ends before the network has learnt what the pictures hold: too short, too slow or too much held back."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.core.recipe import Recipe, field_values
from headstart.core.types import Diagnosis, TrainingInput, TrainingLog
from headstart.finetuning.check_base import Check, changed, ends, in_most, long_enough, no_curve, of_folds
from headstart.finetuning.training_curves import curve

BELOW = 0.02  # of accuracy, under the frozen probe
GAINING = 0.05  # of the held-out loss, in the last third of the epochs
STILL = 0.02  # of the loss, over all epochs
MOST_EPOCHS = 100
TOP_RATE = {"adamw": 5e-3, "sgd": 0.1}  # that is advised; a higher one mostly diverges


def _look(check: Check, given: TrainingInput) -> Diagnosis:
    logs = long_enough(given.logs)
    if not logs:
        return check.ended("skipped", no_curve(given.logs))
    recipe, probe = logs[0].recipe, given.probe.accuracy
    learnt, held = ends(logs, "train", "accuracy"), ends(logs, "val", "accuracy")
    told = f"accuracy {learnt:.2f} on training pictures and {held:.2f} on held-out ones at the epoch that counts"
    if max(learnt, held) < probe - BELOW:
        common = f", always answering the largest class {given.majority:.2f}"
        sentence = f"underfits: {told}, and the frozen probe has {probe:.2f}{common}"
        return check.found("issue", sentence, "hold back less, or train faster or longer", _freer(recipe))
    still, gaining = [_still(log) for log in logs], [_gaining(log) for log in logs]
    if in_most(still):
        change = f"training log loss {_mean(logs, 'train', 1):.3f} in the first epoch, {_mean(logs, 'train', -1):.3f}"
        sentence = f"hardly moves: {change} in the last, {of_folds(still)}"
        return check.found("tip", sentence, "raise the rate", _faster(recipe))
    if in_most(gaining):
        before, after = _mean(logs, "val", _third(recipe.epochs)), _mean(logs, "val", -1)
        change = f"held-out log loss {before:.3f} after two thirds of {recipe.epochs} epochs, {after:.3f} after all"
        sentence = f"still gains when it ends: {change}, {of_folds(gaining)}"
        return check.found("tip", sentence, "raise the rate, or train longer", _faster(recipe) or _longer(recipe))
    return check.ended("passed", f"{told}; the frozen probe has {probe:.2f}")


def _mean(logs: list[TrainingLog], side: str, epoch: int) -> float:
    return float(np.mean([curve(log, side)[min(epoch, len(log.epochs))] for log in logs]))


def _third(epochs: int) -> int:
    """The epoch at which the last third begins."""
    return epochs - max(1, epochs // 3)


def _still(log: TrainingLog) -> bool:
    train, val = curve(log, "train"), curve(log, "val")
    return bool(
        abs(train[1] - train[-1]) < STILL * train[1] and np.nanmax(val) - np.nanmin(val) < STILL * np.nanmax(val)
    )


def _gaining(log: TrainingLog) -> bool:
    val, all_ran = curve(log, "val"), len(log.epochs) == log.recipe.epochs
    return bool(
        all_ran and np.nanargmin(val) == len(val) - 1 and val[-1] < (1 - GAINING) * val[_third(len(log.epochs))]
    )


def _freer(recipe: Recipe) -> dict[str, Any]:
    """What holds back goes first; where nothing does, more time and a higher rate."""
    strict = {"mixup": 0.0, "cutmix": 0.0, "dropout": 0.0, "stochastic_depth": 0.0, "label_smoothing": 0.0}
    held_back = {name: value for name, value in strict.items() if field_values(recipe)[name] > value}
    return held_back or _faster(recipe) | _longer(recipe)


def _faster(recipe: Recipe) -> dict[str, Any]:
    return changed(recipe, rate=max(recipe.rate, min(3 * recipe.rate, TOP_RATE[recipe.optimiser])))


def _longer(recipe: Recipe) -> dict[str, Any]:
    return changed(recipe, epochs=max(recipe.epochs, min(2 * recipe.epochs, MOST_EPOCHS)))


PLUGIN = Check("M202", "underfitting", _look)
