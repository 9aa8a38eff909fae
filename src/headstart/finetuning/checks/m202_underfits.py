"""Training ends before the network has learnt what the pictures hold: too short, too slow or too much held back."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.core.recipe import Recipe, field_values
from headstart.core.types import Diagnosis, TrainingInput, TrainingLog
from headstart.finetuning import check_base as base
from headstart.finetuning.check_base import Check, list_changes
from headstart.finetuning.training_curves import score_curve

BELOW = 0.02  # of the skill, under the frozen probe
GAINING = 0.05  # of the held-out loss, in the last third of the epochs
STILL = 0.02  # of the loss, over all epochs
MOST_EPOCHS = 100
TOP_RATE = {"adamw": 5e-3, "sgd": 0.1}  # that is advised; a higher one mostly diverges


def _check_underfitting(check: Check, training: TrainingInput) -> Diagnosis:
    logs = base.select_long_enough(training.logs)
    if not logs:
        return check.pass_without_finding("skipped", base.format_no_curve(training.logs))
    recipe, probe = logs[0].recipe, training.probe.skill
    loss_name, skill_name = training.probe.names
    learnt, held_out = (base.average_final_score(logs, side, "skill") for side in ("train", "val"))
    held = f"{held_out:.2f} on held-out ones at the epoch that counts"
    skills = f"{skill_name} {learnt:.2f} on training pictures and {held}"
    if max(learnt, held_out) < probe - BELOW:
        common = f", {training.probe.guess_name} {training.guess:.2f}"
        sentence = f"underfits: {skills}, and the frozen probe has {probe:.2f}{common}"
        fix = "hold back less, or train faster or longer"
        return check.report_finding("issue", sentence, fix, _hold_back_less(recipe))
    still, gaining = [_hardly_moves(log) for log in logs], [_still_gains(log) for log in logs]
    if base.holds_in_most(still):
        first, last = _mean_at_epoch(logs, "train", 1), _mean_at_epoch(logs, "train", -1)
        change = f"training {loss_name} {first:.3f} in the first epoch, {last:.3f} in the last"
        sentence = f"hardly moves: {change}, {base.format_folds(still)}"
        return check.report_finding("tip", sentence, "raise the rate", _raise_rate(recipe))
    if base.holds_in_most(gaining):
        earlier, after = _mean_at_epoch(logs, "val", _last_third_start(recipe.epochs)), _mean_at_epoch(logs, "val", -1)
        change = f"held-out {loss_name} {earlier:.3f} after two thirds of {recipe.epochs} epochs, {after:.3f} after all"
        sentence = f"still gains when it ends: {change}, {base.format_folds(gaining)}"
        fields = _raise_rate(recipe) or _train_longer(recipe)
        return check.report_finding("tip", sentence, "raise the rate, or train longer", fields)
    return check.pass_without_finding("passed", f"{skills}; the frozen probe has {probe:.2f}")


def _mean_at_epoch(logs: list[TrainingLog], side: str, epoch: int) -> float:
    return float(np.mean([score_curve(log, side)[min(epoch, len(log.epochs))] for log in logs]))


def _last_third_start(epochs: int) -> int:
    """The epoch at which the last third begins."""
    return epochs - max(1, epochs // 3)


def _hardly_moves(log: TrainingLog) -> bool:
    train, val = score_curve(log, "train"), score_curve(log, "val")
    train_rests = abs(train[1] - train[-1]) < STILL * train[1]
    return bool(train_rests and np.nanmax(val) - np.nanmin(val) < STILL * np.nanmax(val))


def _still_gains(log: TrainingLog) -> bool:
    val, epochs = score_curve(log, "val"), len(log.epochs)
    best_at_end = epochs == log.recipe.epochs and np.nanargmin(val) == len(val) - 1
    return bool(best_at_end and val[-1] < (1 - GAINING) * val[_last_third_start(epochs)])


def _hold_back_less(recipe: Recipe) -> dict[str, Any]:
    """What holds back goes first; where nothing does, more time and a higher rate."""
    strict = {"mixup": 0.0, "cutmix": 0.0, "dropout": 0.0, "stochastic_depth": 0.0, "label_smoothing": 0.0}
    held_back = {name: value for name, value in strict.items() if field_values(recipe)[name] > value}
    return held_back or _raise_rate(recipe) | _train_longer(recipe)


def _raise_rate(recipe: Recipe) -> dict[str, Any]:
    return list_changes(recipe, rate=max(recipe.rate, min(3 * recipe.rate, TOP_RATE[recipe.optimiser])))


def _train_longer(recipe: Recipe) -> dict[str, Any]:
    return list_changes(recipe, epochs=max(recipe.epochs, min(2 * recipe.epochs, MOST_EPOCHS)))


PLUGIN = Check("M202", "underfitting", _check_underfitting)
