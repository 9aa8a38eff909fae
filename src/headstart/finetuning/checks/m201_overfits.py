"""Held-out loss rises while training loss still falls, or the training pictures are learnt by heart."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.core.recipe import Recipe
from headstart.core.types import Diagnosis, TrainingInput, TrainingLog
from headstart.finetuning import check_base as base
from headstart.finetuning.check_base import Check, list_changes
from headstart.finetuning.training_curves import score_curve

# Of the least held-out loss: epoch to epoch it moves by a few per cent where nothing is wrong.
RISE, LEAST_RISE = 0.10, 0.02
GAP = 0.15  # of the skill, training above held-out


def _check_overfitting(check: Check, training: TrainingInput) -> Diagnosis:
    logs = base.select_long_enough(training.logs)
    if not logs:
        return check.pass_without_finding("skipped", base.format_no_curve(training.logs))
    turned = [_has_turned(log) for log in logs]
    if base.holds_in_most(turned):
        turned_logs = [log for log, flag in zip(logs, turned, strict=True) if flag]
        return _report_turn(check, turned_logs, base.format_folds(turned))
    right, held_out = (base.average_final_score(logs, side, "skill") for side in ("train", "val"))
    loss_name, skill_name = training.probe.names
    gap = f"{skill_name} {right:.2f} on training pictures, {held_out:.2f} on held-out ones at the epoch that counts"
    if right - held_out > GAP and base.average_final_score(logs, "val", "loss") >= training.probe.loss:
        sentence = f"learns by heart: {gap}, no better than the frozen probe's {training.probe.skill:.2f}"
        return check.report_finding("tip", sentence, _FIX, regularise(logs[0].recipe))
    return check.pass_without_finding(
        "passed", f"held-out {loss_name} stays within {RISE:.0%} of its least value; {gap}"
    )


def _has_turned(log: TrainingLog) -> bool:
    """Two epochs or more after its least value the held-out loss is well above it, and the training loss below."""
    val, train = score_curve(log, "val"), score_curve(log, "train")
    best = int(np.nanargmin(val))
    if len(val) - 1 - best < 2:
        return False
    rise = val[-2:].mean() - val[best]
    return bool(rise > max(RISE * val[best], LEAST_RISE) and train[-1] < min(train[max(best, 1)], val[-1]))


def _report_turn(check: Check, logs: list[TrainingLog], folds: str) -> Diagnosis:
    held_out, learnt, right = (
        [score_curve(log, *of) for log in logs] for of in (("val",), ("train",), ("val", "skill"))
    )
    best = [int(np.nanargmin(val)) for val in held_out]
    least, last = np.mean([v[b] for v, b in zip(held_out, best, strict=True)]), np.mean([v[-1] for v in held_out])
    first, final = np.mean([t[max(b, 1)] for t, b in zip(learnt, best, strict=True)]), np.mean([t[-1] for t in learnt])
    first_skill, after = np.mean([a[b] for a, b in zip(right, best, strict=True)]), np.mean([a[-1] for a in right])
    loss_name, skill_name = logs[0].epochs[0].train.names
    rise = f"held-out {loss_name} rises from {least:.2f} to {last:.2f}"
    curves = f"{rise} while training {loss_name} falls from {first:.2f} to {final:.2f}, {folds}"
    epoch, recipe = int(np.median(best)) + 1, logs[0].recipe
    if after > first_skill:
        rise = f"{skill_name} still rises, {first_skill:.3f} to {after:.3f}"
        sentence = f"grows over-confident from epoch {epoch}: {curves}; {rise}"
        return check.report_finding("tip", sentence, "smooth the labels", _smooth_labels(recipe))
    sentence = f"overfits from epoch {epoch}: {curves}; held-out {skill_name} {first_skill:.3f} to {after:.3f}"
    return check.report_finding("issue", sentence, _FIX, regularise(recipe, epoch))


_FIX = "regularise more: augmentation, mixup, dropout, weight decay; or train less: fewer blocks or epochs"


def regularise(recipe: Recipe, epoch: int = 0) -> dict[str, Any]:
    """The next step against overfitting: first other pictures, then mixed ones, then fewer weights, then less time."""
    decay = max(1e-3, min(10 * recipe.weight_decay, 0.1))
    if not recipe.augmentation.augment:
        return list_changes(recipe, augment=0.5, weight_decay=decay)
    if not (recipe.mixup or recipe.cutmix):
        return list_changes(recipe, mixup=0.2, dropout=max(recipe.dropout, 0.2), weight_decay=decay)
    if recipe.trunk.part == "all":
        return list_changes(recipe, part="last", blocks=1)
    if recipe.trunk.blocks > 1 and recipe.strategy not in ("probe", "scratch"):
        return list_changes(recipe, blocks=recipe.trunk.blocks - 1)
    return list_changes(recipe, dropout=max(recipe.dropout, 0.5), epochs=min(max(epoch, 3), recipe.epochs))


def _smooth_labels(recipe: Recipe) -> dict[str, Any]:
    if recipe.label_smoothing < 0.1:
        return list_changes(recipe, label_smoothing=0.1)
    return list_changes(recipe, mixup=max(recipe.mixup, 0.2))


PLUGIN = Check("M201", "overfitting", _check_overfitting)
