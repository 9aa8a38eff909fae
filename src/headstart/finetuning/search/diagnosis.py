"""What the model checks say of a recipe's trainings, and the recipe that follows from their advice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core import registry
from headstart.core.recipe import Recipe
from headstart.core.types import Diagnosis, TrainingInput
from headstart.finetuning.search.fold_training import FoldRun
from headstart.finetuning.search.recipe_trial import RecipeTrial
from headstart.finetuning.search.training_set import TrainingSet


def run_model_checks(training_set: TrainingSet, runs: Sequence[FoldRun]) -> list[Diagnosis]:
    """Every model check on one recipe, in the order of their codes."""
    rows = np.concatenate([run.rows for run in runs])
    objective = training_set.objective
    subject = TrainingInput(
        logs=tuple(run.log for run in runs),
        class_names=training_set.data.class_names,
        guess=objective.guess_skill(training_set.targets),
        probe=objective.score(training_set.targets_of(rows), training_set.probe_probabilities(rows)),
        overlap=sum(training_set.count_near_duplicates(run.log.fold) for run in runs),
    )
    return [registry.load_plugin("model_checks", name)(subject) for name in registry.list_plugins("model_checks")]


def advice_failed(trials: Sequence[RecipeTrial]) -> bool:
    """Whether the last trial followed the advice on an earlier one and did no better: its own is then not asked, for
    one check after the other would lower a rate for ever. Where neither has a loss, advice goes on."""
    *earlier, last = trials
    start = (last.recipe.backbone, last.recipe.depths)
    advised = next((t for t in reversed(earlier) if (t.recipe.backbone, t.recipe.depths) == start), None)
    if advised is None or not last.origin.startswith("M"):
        return False
    return last.verdict is not None and last.loss >= advised.loss


def find_advice(training_set: TrainingSet, runs: Sequence[FoldRun]) -> tuple[str, Recipe] | None:
    """The code of the first check that would change the recipe, and the changed recipe; None when none would."""
    advice = (diagnosis for diagnosis in run_model_checks(training_set, runs) if diagnosis.change)
    first = next(advice, None)
    return (first.outcome.code, runs[0].log.recipe.with_fields(**first.change)) if first else None
