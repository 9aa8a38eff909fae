"""Seconds that a run is expected to take, from measured paces, counted operations and the budget."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.backbones import loading
from headstart.core import recipe as recipes
from headstart.core.job import Job
from headstart.core.recipe import Recipe
from headstart.core.settings import count_threads

START_S = 6.0  # reading, audit, export and report of a small set
HEADS_S = 0.003  # of probes and heads, for each picture and backbone
CONTROLS_FACTOR = 1.15  # of the passes, with those of the random-init controls
KERAS_S = 10.0  # until the training framework is there
TRACING_S = 5.0  # until a training takes its first step
TRAIN_FLOPS_PER_S = 2e10  # of a core, forward and backward
BACKWARD_FACTOR = 2  # operations of the backward pass for one of the forward pass
TRAINED_SHARE = 0.5  # of a trunk's operations that a usual recipe trains
EXTRA_TRAININGS = 2  # besides the folds: the final one, and the same from random weights


def estimate_run_seconds(
    job: Job, training_pictures: int, pictures: int, backbones: Sequence[str], passes_s: float
) -> float:
    """Seconds of a whole run; `passes_s` are those of passing all pictures through each backbone."""
    frozen_s = START_S + CONTROLS_FACTOR * passes_s + HEADS_S * pictures * len(backbones)
    if job.strategy == "probe":
        return frozen_s
    return frozen_s + _training_s(job, training_pictures, backbones) if job.recipe else max(frozen_s, job.budget_s)


def _training_s(job: Job, training_pictures: int, backbones: Sequence[str]) -> float:
    """Seconds of training the job's recipe on all folds and all pictures, on the backbone it names, else the first."""
    fields = recipes.parse_fields(job.recipe)
    epochs, asked_backbone = int(fields.get("epochs", Recipe().epochs)), str(fields.get("backbone", ""))
    named = [name for name in backbones if asked_backbone and recipes.is_backbone_named(asked_backbone, name)]
    name = (*named, *backbones)[0]
    flops = loading.find_backbone(name).spec.flops * (1 + BACKWARD_FACTOR) * TRAINED_SHARE * epochs * training_pictures
    trainings = job.folds + EXTRA_TRAININGS
    return KERAS_S + trainings * (TRACING_S + flops / (TRAIN_FLOPS_PER_S * count_threads()))
