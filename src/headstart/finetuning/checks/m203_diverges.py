"""Training runs away: the loss is not finite or rises, or the first epoch destroys what the start knew."""

from __future__ import annotations

from headstart.core.types import Diagnosis, TrainingInput
from headstart.finetuning.check_base import Check, format_failure, format_folds, list_changes


def _check_divergence(check: Check, training: TrainingInput) -> Diagnosis:
    how = [format_failure(log) for log in training.logs]
    flags = [bool(reason) for reason in how]
    if not any(flags):
        finite = f"the loss is finite and does not run away in {_format_epochs(training)}"
        return check.pass_without_finding("passed", finite)
    recipe = training.logs[0].recipe
    first = training.logs[flags.index(True)]
    sentence = f"diverges {format_folds(flags)}: {first.name}: {how[flags.index(True)]}, highest rate {recipe.rate:.3g}"
    rate, warmup = recipe.rate / 10, max(recipe.warmup, 0.1)
    change = list_changes(recipe, rate=rate, clip=recipe.clip or 1.0, warmup=warmup, precision="float32")
    return check.report_finding("issue", sentence, f"train at a tenth of the rate, {rate:.3g}", change)


def _format_epochs(training: TrainingInput) -> str:
    """`20 epochs in each of 2 folds`, `12 to 20 epochs in each of 5 folds`, `1 epoch in 1 fold`."""
    each, folds = [len(log.epochs) for log in training.logs], len(training.logs)
    least, most = min(each), max(each)
    epochs = f"{most} epoch{'s' if most != 1 else ''}" if least == most else f"{least} to {most} epochs"
    return f"{epochs} in {f'each of {folds} folds' if folds > 1 else '1 fold'}"


PLUGIN = Check("M203", "divergence", _check_divergence)
