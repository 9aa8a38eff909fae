"""The head's input: features of several backbones and levels side by side, in memory or, when large, in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from headstart.core.storage.files import translate_disk_errors
from headstart.core.storage.row_cache import unmap_pages
from headstart.core.types import Embeddings, Feature, FittedHead
from headstart.features.embeddings import join_columns
from headstart.heads.prediction import predict_probabilities

IN_MEMORY_BYTES = 500_000_000
_CHUNK_ROWS = 8_192


def list_feature_names(features: Sequence[Feature]) -> tuple[str, ...]:
    """`backbone@depth` of each."""
    return tuple(f"{f.backbone}@{f.depth}" for f in features)


def format_features(features: Sequence[Feature]) -> str:
    """The same for people, each backbone named once: `a@stage4+stage5, b@last`."""
    depths: dict[str, list[str]] = {}
    for feature in features:
        depths.setdefault(feature.backbone, []).append(feature.depth)
    return ", ".join(f"{backbone}@{'+'.join(levels)}" for backbone, levels in depths.items())


def sum_flops(embeddings: Sequence[Embeddings], features: Sequence[Feature]) -> int:
    """Operations for one picture through all trunks that the features need."""
    needed = {f.backbone for f in features}
    return sum(e.spec.flops for e in embeddings if e.spec.name in needed)


@contextmanager
def open_columns(
    embeddings: Sequence[Embeddings], features: Sequence[Feature], rows: np.ndarray, scratch: Path
) -> Iterator[np.ndarray]:
    """(M, D) float32 of any number of rows (M,); above 500 MB in a file below `scratch` that vanishes with the block.

    A full disk is a `SetupError`.
    """
    width = sum(f.dim for f in features)
    if len(rows) * width * 4 <= IN_MEMORY_BYTES:
        yield join_columns(embeddings, features, rows)
        return
    with (
        translate_disk_errors(scratch),
        tempfile.NamedTemporaryFile(dir=scratch, prefix=".tmp-", suffix=".f32") as file,
    ):
        for chunk in row_chunks(rows):
            file.write(join_columns(embeddings, features, chunk).tobytes())
            for each_embeddings in embeddings:
                for vectors in each_embeddings.vectors.values():
                    unmap_pages(vectors)
        file.flush()
        yield np.memmap(file.name, np.float32, "r", shape=(len(rows), width)).view(np.ndarray)


def row_chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of an array, as many at a time as memory holds easily."""
    for start in range(0, len(array), _CHUNK_ROWS):
        yield array[start : start + _CHUNK_ROWS]


def predict_rows(
    fitted: FittedHead, embeddings: Sequence[Embeddings], features: Sequence[Feature], rows: np.ndarray
) -> np.ndarray:
    """(M, C) float32 by a head of the features of some rows, of which a block at a time is in memory."""
    inputs = (join_columns(embeddings, features, block) for block in row_chunks(np.asarray(rows)))
    return np.concatenate([predict_probabilities(fitted.kind, fitted.arrays, x) for x in inputs])
