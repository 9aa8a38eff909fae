"""The folds end far apart, or the held-out loss jumps from epoch to epoch."""

from __future__ import annotations

import numpy as np

from headstart.core.recipe import Recipe
from headstart.core.types import Diagnosis, TrainingInput, TrainingLog
from headstart.finetuning import check_base as base
from headstart.finetuning.check_base import Check, list_changes
from headstart.finetuning.training_curves import score_curve

SPREAD, RARE = 0.05, 0.001  # standard deviation of the folds' skills; how rarely chance alone gives as much
FEWEST_FOLDS = 3
JUMP, FEWEST_EPOCHS = 0.20, 5  # mean step of the held-out loss, as a part of it


def _check_instability(check: Check, training: TrainingInput) -> Diagnosis:
    logs = base.select_long_enough(training.logs)
    if not logs:
        return check.pass_without_finding("skipped", base.format_no_curve(training.logs))
    right = np.array([score_curve(log, "val", "skill")[log.best] for log in logs])
    loss_name, skill_name = training.probe.names
    skills = f"held-out {skill_name} {right.min():.2f} to {right.max():.2f} over {_format_folds(logs)}"
    n, recipe = base.count_held_out(training), logs[0].recipe
    chance = training.probe.skill_deviation(float(np.clip(right.mean(), 1 / n, 1 - 1 / n)), n)
    if _differ_beyond_chance(right, chance):
        spread = f"standard deviation {right.std(ddof=1):.3f}, of which chance explains {chance:.3f}"
        sentence = f"unstable across folds: {skills}, {spread}"
        return check.report_finding("issue", sentence, _FIX, _train_calmly(recipe, logs[0].n_train))
    jumps = [_mean_jump(log) for log in logs]
    if base.holds_in_most([jump > JUMP for jump in jumps]):
        folds = base.format_folds([jump > JUMP for jump in jumps])
        sentence = f"held-out {loss_name} jumps by {np.mean(jumps):.0%} from epoch to epoch {folds}"
        return check.report_finding("issue", sentence, _FIX, _train_calmly(recipe, logs[0].n_train))
    if len(logs) < FEWEST_FOLDS:
        why = f"how far folds lie apart is judged from three on, here {_format_few_folds(logs)}"
        return check.pass_without_finding("not_applicable", why)
    return check.pass_without_finding("passed", skills)


_FIX = "average the weights over an epoch (ema), at a third of the rate"


def _format_folds(logs: list[TrainingLog]) -> str:
    return f"{len(logs)} fold{'s' if len(logs) != 1 else ''}"


def _format_few_folds(logs: list[TrainingLog]) -> str:
    """How many folds there are, and whether their curves jump."""
    watched = [log for log in logs if len(log.epochs) >= FEWEST_EPOCHS]
    jumps = "its held-out loss does not jump" if len(logs) == 1 else "their held-out loss does not jump"
    are = f"{'is' if len(logs) == 1 else 'are'} {_format_folds(logs)}"
    return f"{are}; {jumps} from epoch to epoch" if watched else are


def _differ_beyond_chance(right: np.ndarray, chance: float) -> bool:
    """Whether the folds' skills spread more than pictures drawn at random, which move each by `chance`, explain.

    By a chi-squared test.
    """
    from scipy.special import chdtrc

    if len(right) < FEWEST_FOLDS or right.std(ddof=1) < SPREAD:
        return False
    return bool(chdtrc(len(right) - 1, np.sum((right - right.mean()) ** 2) / chance**2) < RARE)


def _mean_jump(log: TrainingLog) -> float:
    """Mean step of the held-out loss in the second half, as a part of its mean; 0 unless it goes up and down."""
    val = score_curve(log, "val")[1:]
    late = val[len(val) // 2 :]
    steps = np.diff(late)
    turns = int(np.sum(steps[1:] * steps[:-1] < 0))
    jumps = len(val) >= FEWEST_EPOCHS and 2 * turns > len(steps) - 1
    return float(np.abs(steps).mean() / late.mean()) if jumps else 0.0


def _train_calmly(recipe: Recipe, n_train: int) -> dict[str, float]:
    """Averaged over about one epoch of steps."""
    steps = max(1, n_train // recipe.batch)
    ema = min(max(1 - 1 / steps, 0.9), 0.999)
    return list_changes(recipe, ema=max(recipe.averaging.ema, ema), rate=recipe.rate / 3)


PLUGIN = Check("M205", "instability", _check_instability)
