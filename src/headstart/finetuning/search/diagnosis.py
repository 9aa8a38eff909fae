"""What the model checks say of a recipe's trainings, and the recipe that follows from their advice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headstart.core import registry
from headstart.core.recipe import Recipe
from headstart.core.types import Diagnosis, TrainingInput
from headstart.finetuning.search.fold_training import FoldRun
from headstart.finetuning.search.training_setup import Workbench
from headstart.finetuning.training import trainer

if TYPE_CHECKING:
    from headstart.finetuning.search.recipe_search import RecipeTrial


def diagnoses(bench: Workbench, runs: Sequence[FoldRun]) -> list[Diagnosis]:
    """Every model check on one recipe, in the order of their codes.

    Args:
        bench: Gives the classes and the probe's held-out answers.
        runs: The recipe's folds.
    """
    rows = np.concatenate([run.rows for run in runs])
    y = np.array([bench.y_of[row] for row in rows.tolist()], np.int64)
    counts = np.bincount(bench.y, minlength=bench.on.n_classes)
    given = TrainingInput(
        logs=tuple(run.log for run in runs),
        class_names=bench.data.class_names,
        majority=float(counts.max() / counts.sum()),
        probe=trainer.scores(y, bench.probe_of(rows), bench.on.n_classes),
        overlap=sum(bench.overlap(run.log.fold) for run in runs),
    )
    return [registry.load_plugin("model_checks", name)(given) for name in registry.list_plugins("model_checks")]


def astray(attempts: Sequence[RecipeTrial]) -> bool:
    """Whether the last trial followed the advice on an earlier one and did no better: its own is then not asked, for
    one check after the other would lower a rate for ever. Where neither has a loss, advice goes on."""
    *before, last = attempts
    start = (last.recipe.backbone, last.recipe.depths)
    advised = next((a for a in reversed(before) if (a.recipe.backbone, a.recipe.depths) == start), None)
    if advised is None or not last.origin.startswith("M"):
        return False
    return last.judged is not None and last.loss >= advised.loss


def advice(bench: Workbench, runs: Sequence[FoldRun]) -> tuple[str, Recipe] | None:
    """The code of the first check that would change the recipe, and the changed recipe; None when none would."""
    recipe = runs[0].log.recipe
    for found in diagnoses(bench, runs):
        if found.change:
            return found.outcome.code, recipe.with_fields(**found.change)
    return None
