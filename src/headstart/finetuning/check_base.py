"""What all model checks share: a check looks at the trainings of one recipe, one a fold, and says what most did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.recipe import Recipe, field_values
from headstart.core.types import Diagnosis, Finding, Outcome, TrainingInput, TrainingLog
from headstart.finetuning.training_curves import score_curve

FEWEST = 3  # epochs that make a curve
# A training is lost when what it minimises ends this far above its least value, or when no epoch comes near the start.
LOSS_RISE, LEAST_RISE = 1.2, 0.1
START_JUMP, START_KEPT = 1.5, 1.1


@dataclass(frozen=True, slots=True)
class Check:
    """A model check: called with a `TrainingInput`, it answers with a `Diagnosis`; `look` ends with a method below."""

    code: str
    name: str
    look: Callable[[Check, TrainingInput], Diagnosis]

    def __call__(self, trainings: TrainingInput) -> Diagnosis:
        """Look at the curves and say how it ended."""
        if not trainings.logs:
            return self.pass_without_finding("skipped", "no training was watched on held-out pictures")
        return self.look(self, trainings)

    def pass_without_finding(self, status: str, why: str) -> Diagnosis:
        """Nothing found: `passed` (with what was looked at), `not_applicable` or `skipped`."""
        return Diagnosis(outcome=Outcome(code=self.code, name=self.name, status=status, why=why))

    def report_finding(self, status: str, sentence: str, fix: str, change: Mapping[str, Any]) -> Diagnosis:
        """An `issue` or a `tip`, and the recipe fields that would change it."""
        severity = "warning" if status == "issue" else "info"
        finding = Finding(code=self.code, severity=severity, sentence=sentence, fix=fix)
        outcome = Outcome(code=self.code, name=self.name, status=status, why=sentence, findings=(finding,))
        return Diagnosis(outcome=outcome, change=change)


def select_long_enough(logs: Iterable[TrainingLog]) -> list[TrainingLog]:
    """Those with enough epochs to make a curve, lost ones left out."""
    return [log for log in logs if len(log.epochs) >= FEWEST and not format_failure(log)]


def format_no_curve(logs: Iterable[TrainingLog]) -> str:
    """Why `select_long_enough` is empty, one clause."""
    if all(map(format_failure, logs)):
        return "every training is lost: M203 says how"
    return "no training is long enough, it takes three epochs"


def average_final_score(logs: Sequence[TrainingLog], side: str, score: str) -> float:
    """Mean over the folds of a score at the epoch whose weights count; the first epoch's for training at the start."""
    epochs = [max(log.best, 1) if side == "train" else log.best for log in logs]
    return float(np.mean([score_curve(log, side, score)[at] for log, at in zip(logs, epochs, strict=True)]))


def format_failure(log: TrainingLog) -> str:
    """How a training went astray, one clause with numbers; empty when it did not."""
    if "not finite" in log.stopped:
        return log.stopped
    if not log.epochs:
        return ""
    val, loss = score_curve(log, "val"), np.array([row.loss for row in log.epochs])
    if not np.isfinite([*loss, *val[1:]]).all():
        at = 1 + int(np.argmin(np.isfinite(loss) & np.isfinite(val[1:])))
        return f"the loss is not finite at epoch {at}"
    least, last = loss.min(), loss[-2:].mean()
    if len(loss) >= FEWEST and last > max(LOSS_RISE * least, least + LEAST_RISE):
        return f"the training loss rises from {least:.2f} to {last:.2f}"
    skill, start, first, lowest = score_curve(log, "val", "skill"), val[0], val[1], val[1:].min()
    jumps = first > max(START_JUMP * start, start + LEAST_RISE) and lowest > START_KEPT * start
    if len(loss) >= FEWEST and jumps and skill[1:].max() < skill[0]:
        name = log.epochs[0].train.names[0]
        return f"held-out {name} jumps from {start:.2f} to {first:.2f} and comes back to {lowest:.2f} at best"
    return ""


def count_held_out(trainings: TrainingInput) -> float:
    """Held-out pictures of a fold, at least: one in ten, or fewer where there are more folds."""
    n_train = min(log.n_train for log in trainings.logs)
    return max(1.0, n_train / max(9, len(trainings.logs) - 1))


def holds_in_most(flags: Sequence[bool]) -> bool:
    """Whether it holds in more than half of the folds."""
    return 2 * sum(flags) > len(flags)


def format_folds(flags: Sequence[bool]) -> str:
    """`in 4 of 5 folds`."""
    return f"in {sum(flags)} of {len(flags)} fold{'s' if len(flags) != 1 else ''}"


def list_changes(recipe: Recipe, **values: Any) -> dict[str, Any]:
    """Those of the wanted values that the recipe does not have already; small numbers rounded to three digits."""
    present = field_values(recipe)
    changes = {name: value for name, value in values.items() if value != present[name]}
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in changes.items()}
