"""The stage `drift`: counts of the model's answers to pictures it never learnt from, kept beside the model.

`headstart drift` compares a model in use with them: the saved model's answers to the new domain that the model is for,
else to the test split, else to a given `val/`, else the held-out predictions of cross-validation. Of the latter novelty
and prediction sets are unknown, since the final model has learnt from the very pictures; so are features, where a trunk
has. Of a new domain novelty and sets are not taken either: its pictures say what is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.core.types import Prediction
from headstart.features.embeddings import take_vectors
from headstart.runtime import usage_counts, usage_log
from headstart.runtime.inputs.decoded_batches import Chunk
from headstart.statistics.sampling import evenly_spaced

if TYPE_CHECKING:
    from headstart.core.run.context import Context
    from headstart.core.types import AdaptedTarget, Dataset, Embeddings, Evaluation, FitResult
    from headstart.runtime.model import Model

MOST = 5000  # pictures of a new domain that are counted
CHUNK = 1024  # pictures answered at once


def write_drift_reference(
    data: Dataset,
    embeddings: tuple[Embeddings, ...],
    adapted: FitResult,
    evaluation: Evaluation,
    *,
    ctx: Context,
    target: AdaptedTarget | None = None,
) -> usage_log.UsageReference:
    """Count the saved model's answers to pictures of `target`, else to held-out ones, and write `model/usage.json`."""
    from headstart.runtime.model import load

    folder = ctx.run.path / "model"
    model, rows, split = load(folder), np.asarray(evaluation.rows, np.int64), evaluation.split
    if target is not None:
        data, embeddings, split = target.domain.pictures, target.embeddings, "target"
        rows = evenly_spaced(len(data.uris), MOST)
    predictions, blocks = list[Prediction](), list[np.ndarray]()
    for chunk in _make_chunks(model, data, embeddings, rows):
        predictions += model.predict_chunk(chunk)
        blocks.append(usage_counts.project_features(model.join_features(chunk)))
    has_sets = model.manifest.doubt is not None and split not in ("cv", "target")
    if split == "cv":
        predictions = _drop_uncertainty(model, predictions, np.asarray(evaluation.probabilities, np.float32))
    elif split == "target":
        p = np.array([list(prediction.probabilities.values()) for prediction in predictions], np.float32)
        predictions = _drop_uncertainty(model, predictions, p)
    projections, number_edges = np.concatenate(blocks), None
    edges = usage_counts.find_tenths(projections)
    if model.layout.is_number:
        [number_edges] = usage_counts.find_tenths(np.array([[prediction.number] for prediction in predictions]))
    counts = usage_counts.count_predictions(predictions, number_edges=number_edges, has_sets=has_sets)
    if split != "cv" or adapted.strategy == "probe":
        counts.features += usage_counts.count_tenths(projections, edges)
    reference = usage_log.UsageReference(
        model=usage_log.model_digest(folder),
        split=split,
        counts=counts,
        edges=edges,
        number_edges=number_edges,
    )
    usage_log.write_reference(reference, folder)
    return reference


def _make_chunks(model: Model, data: Dataset, embeddings: tuple[Embeddings, ...], rows: np.ndarray) -> Iterator[Chunk]:
    """Chunks whose features come from the run, not from the pictures."""
    by_name = {e.spec.name: e for e in embeddings}
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        features = {
            (f.backbone, f.depth): take_vectors(by_name[f.backbone], f.depth, part) for f in model.manifest.features
        }
        yield Chunk([Path(data.uris[row]) for row in part], [], features=features)


def _drop_uncertainty(model: Model, predictions: list[Prediction], p: np.ndarray) -> list[Prediction]:
    """The same pictures without novelty and sets, by calibrated answers (B, C): of models that had not learnt them."""
    return [
        model.make_prediction(prediction.uri, row, chosen)
        for prediction, row, chosen in zip(predictions, p, model.choose_classes(p).tolist(), strict=True)
    ]
