"""What a run hands over: the frozen probe, or the network that beat it, described in the same way."""

from __future__ import annotations

import dataclasses

import numpy as np

from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import (
    Calibrated,
    Dataset,
    Embeddings,
    Feature,
    FineTuningResult,
    FitResult,
    Splits,
    TunedNetwork,
)
from headstart.features import feature_matrix
from headstart.features.embeddings import take_vectors
from headstart.heads import prediction
from headstart.uncertainty import temperature


def assemble_fit_result(
    probe: FitResult,
    tuning: FineTuningResult | None,
    data: Dataset,
    splits: Splits,
    embeddings: tuple[Embeddings, ...],
    *,
    ctx: Context,
) -> FitResult:
    """Join the probe and the fine-tuning; `embeddings` hold the taken network's among them."""
    result = probe if tuning is None else dataclasses.replace(probe, tuning=tuning)
    if tuning is not None and tuning.taken and tuning.network is not None:
        network = tuning.network
        depth = network.spec.depths[0]
        network_embeddings = next(e for e in embeddings if e.spec.name == network.spec.name)
        head, chunks = network.fitted, feature_matrix.row_chunks(np.asarray(splits.train))
        blocks = (take_vectors(network_embeddings, depth.name, chunk) for chunk in chunks)
        p = [prediction.predict_probabilities(head.kind, head.arrays, x) for x in blocks]
        result = dataclasses.replace(
            result,
            strategy=network.recipe.strategy,
            features=(Feature(backbone=network.spec.name, depth=depth.name, dim=depth.dim),),
            fitted=head,
            cv_rows=tuning.rows,
            cv_probabilities=tuning.probabilities,
            train_probabilities=np.concatenate(p),
            nested=(),
            nested_probabilities=None,
            calibrated=_describe_temperature(tuning, network.temperature, data, splits, ctx),
        )
    serialization.save_value(without_times(result), ctx.make_step_folder("adapt"))
    return result


def _describe_temperature(
    tuning: FineTuningResult, own_temperature: float, data: Dataset, splits: Splits, ctx: Context
) -> Calibrated | None:
    """A trained network keeps the temperature that its logits were divided by, so that its file answers alike.

    None for numbers.
    """
    if data.learning_task.is_number:
        return None
    rows = np.asarray(tuning.rows)
    y, clusters = np.asarray(data.targets)[rows], np.asarray(splits.clusters)[rows]
    held_out, task = np.asarray(tuning.probabilities)[None], data.learning_task
    calibrated = temperature.choose_temperature(held_out, y, clusters, ctx.seed, task)
    why = (
        f"the network was divided by a temperature of its own, {own_temperature:.3f}, which is in its weights: "
        f"log loss of {calibrated.n:,} held-out pictures is {calibrated.before:.4f}, "
        f"with another one {calibrated.after:.4f}"
    )
    return dataclasses.replace(calibrated, temperature=1.0, why=why)


def list_passes(tuning: FineTuningResult, splits: Splits, every: np.ndarray) -> list[tuple[TunedNetwork, np.ndarray]]:
    """Networks and the rows that are to go through them: of all pictures where one is handed over, else of those that
    judge; of its random-init control these too.

    Where the first fold judges, which the network learnt from, it answers as it was cross-validated instead.
    """
    held_out = np.concatenate([splits.test, splits.val]).astype(np.int64)
    judges = held_out if len(held_out) else np.flatnonzero(splits.folds[0] == 0)
    passes = ((tuning.network, every if tuning.taken else held_out), (tuning.scratch, judges))
    return [(network, rows) for network, rows in passes if network is not None and len(rows)]


def without_times(adapted: FitResult) -> FitResult:
    """Without what a clock measured, so that a resumed run's file equals that of an unbroken one."""
    return dataclasses.replace(adapted, tried=tuple(dataclasses.replace(row, seconds=0.0) for row in adapted.tried))
