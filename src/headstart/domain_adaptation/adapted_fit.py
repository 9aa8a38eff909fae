"""What a run hands over after adaptation: the same description as of a probe, its numbers those of the adapted head.

Temperature, prediction sets and their scores are of held-out source pictures as the target would show them: that is
where the model will answer. What the run says of the labelled domain itself is of the model before adaptation.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import Dataset, DomainAdaptation, Evaluation, FitResult, Splits
from headstart.selection.probe.fit_result import without_times
from headstart.uncertainty import temperature


def make_adapted_fit(
    source_fit: FitResult,
    domain: DomainAdaptation,
    data: Dataset,
    splits: Splits,
    *,
    ctx: Context,
) -> FitResult:
    """Replace what the labelled pictures say by what was adapted to the target, and save it."""
    rows = np.asarray(domain.source_rows)
    y, clusters = np.asarray(data.targets)[rows], np.asarray(splits.clusters)[rows]
    calibrated = temperature.choose_temperature(
        np.asarray(domain.mapped_probabilities)[None], y, clusters, ctx.seed, data.learning_task
    )
    network = domain.network
    if network is not None and network.epochs:  # it was divided by a temperature of its own
        calibrated = dataclasses.replace(calibrated, temperature=1.0)
    adapted = dataclasses.replace(
        source_fit,
        strategy=network.recipe.strategy if network is not None and network.epochs else source_fit.strategy,
        features=domain.features,
        fitted=domain.fitted,
        why=f"{source_fit.why}; {domain.why}",
        cv_probabilities=domain.mapped_probabilities,
        train_probabilities=domain.train_probabilities,
        cv_rows=domain.source_rows,
        nested=(),
        nested_probabilities=None,
        calibrated=calibrated,
        domain_network=network,
    )
    serialization.save_value(without_times(adapted), ctx.make_step_folder("adapt"))
    ctx.console.print_line("target", calibrated.why)
    return adapted


def judge_mapped(evaluation: Evaluation, adapted: FitResult) -> Evaluation:
    """What was held out of an adapted model: source pictures as the target would show them, tempered."""
    return dataclasses.replace(
        evaluation,
        split="cv",
        rows=adapted.cv_rows,
        probabilities=temperature.apply_temperature(np.asarray(adapted.cv_probabilities), adapted.temperature),
        nested=False,
    )
