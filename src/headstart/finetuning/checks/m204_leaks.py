"""Held-out scores that are too good: copies on both sides, or far above what the training scores allow."""

from __future__ import annotations

import numpy as np

from headstart.core.recipe import field_values
from headstart.core.types import Diagnosis, TrainingInput, TrainingLog
from headstart.finetuning import check_base as base
from headstart.finetuning.check_base import Check
from headstart.finetuning.training_curves import score_curve

ABOVE = 0.10  # of the skill, held-out above training, besides chance and the last epoch's own progress
# What makes running training scores lower than the network is.
HAMPERS = ("augment", "mixup", "cutmix", "dropout", "stochastic_depth")


def _check_leakage(check: Check, training: TrainingInput) -> Diagnosis:
    if training.overlap:
        subject = "picture looks" if training.overlap == 1 else "pictures look"
        learnt = f"{training.overlap:,} held-out {subject} like one that the network learnt from"
        sentence, fix = f"{learnt}: held-out scores are too good", "keep near-duplicates on one side"
        return check.report_finding("issue", sentence, f"{fix}; the audit names them (D101 to D201)", {})
    apart = "no held-out picture looks like one that the network learnt from"
    logs, name = base.select_long_enough(training.logs), training.probe.names[1]
    recipe = training.logs[0].recipe
    hampers = [name for name in HAMPERS if field_values(recipe)[name]]
    if hampers or recipe.sampling == "balanced" or not logs:
        hampered = f"training is hampered on purpose ({', '.join(hampers or ['balanced sampling'])})"
        why = hampered if logs else base.format_no_curve(training.logs)
        return check.pass_without_finding("passed", f"{apart}; training and held-out {name} are not compared: {why}")
    above = [_held_out_surplus(log) for log in logs]
    n = base.count_held_out(training) * len(logs)
    chance = 2 * max(training.probe.skill_deviation(skill, n) for skill in (1 / 3, 1 / 2))  # at most
    learnt, held = (np.mean([score_curve(log, side, "skill")[-1] for log in logs]) for side in ("train", "val"))
    skills = f"held-out {name} {held:.2f}, training {name} {learnt:.2f} in the last epoch"
    probe, final = training.probe.skill, base.average_final_score(logs, "val", "skill")
    if np.mean(above) > ABOVE + chance and final > probe + ABOVE:
        sentence = f"{skills}, the frozen probe {probe:.2f}: held-out pictures are easier than others"
        fix = "look for copies, and for pictures of one object on both sides"
        return check.report_finding("issue", sentence, fix, {})
    return check.pass_without_finding("passed", f"{apart}; {skills}")


def _held_out_surplus(log: TrainingLog) -> float:
    """Held-out skill over training skill in the last epoch, less what training gained within it."""
    train, val = score_curve(log, "train", "skill"), score_curve(log, "val", "skill")
    return float(val[-1] - train[-1] - max(0.0, train[-1] - train[-2]))


PLUGIN = Check("M204", "leakage", _check_leakage)
