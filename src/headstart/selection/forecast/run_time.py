"""Seconds that a run is reckoned to take, from paces, operations and the budget, nothing learnt of earlier runs."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.backbones import loading
from headstart.core import recipe as recipes
from headstart.core.job import Job
from headstart.core.recipe import Recipe
from headstart.core.settings import count_threads

START_S = 6.0  # reading, audit, export and report of a small set
HEADS_S = 0.003  # of probes and heads, for each picture and backbone
TWINS = 1.15  # of the passes, with those of the random twins
KERAS_S = 10.0  # until the training framework is there
TRACED_S = 5.0  # until a training takes its first step
TRAIN_FLOPS_PER_S = 2e10  # of a core, forward and backward
BACKWARD = 2  # operations of the way back for one of the way forth
TRAINED_PART = 0.5  # of a trunk's operations that a usual recipe trains
TOGETHER = 2  # trainings besides the folds: the final one, and the same from random weights


def planned_s(job: Job, counts: Sequence[int], pictures: int, chosen: Sequence[str], passes_s: float) -> float:
    """Seconds of a whole run.

    Args:
        job: The request.
        counts: Training pictures of each class.
        pictures: All pictures.
        chosen: Names of the candidates.
        passes_s: Of passing all pictures through each of them.
    """
    frozen_s = START_S + TWINS * passes_s + HEADS_S * pictures * len(chosen)
    if job.strategy == "probe":
        return frozen_s
    return frozen_s + training_s(job, counts, chosen) if job.recipe else max(frozen_s, job.budget_s)


def training_s(job: Job, counts: Sequence[int], chosen: Sequence[str]) -> float:
    """Seconds of training the job's recipe on all folds and all pictures, on the backbone it names, else the first."""
    given = recipes.parse(job.recipe)
    epochs, wanted = int(given.get("epochs", Recipe().epochs)), str(given.get("backbone", ""))
    name = next((name for name in chosen if wanted and recipes.meant(wanted, name)), chosen[0])
    flops = loading.find(name).spec.flops * (1 + BACKWARD) * TRAINED_PART * epochs * sum(counts)
    trainings = job.folds + TOGETHER
    return KERAS_S + trainings * (TRACED_S + flops / (TRAIN_FLOPS_PER_S * count_threads()))
