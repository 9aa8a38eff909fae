"""Rows of embeddings, by the data set's row numbers; several backbones and depths side by side; where they are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.storage.hashing import compute_digest
from headstart.core.types import Embeddings, EmbedKey, Feature
from headstart.images.preprocessing import revision


def address(key: EmbedKey) -> str:
    """Where in the cache the vectors of a key lie; `revision` tells how files become the pixels that a trunk sees."""
    return f"vectors/{compute_digest([key, revision()])}"


def take(of: Embeddings, depth: str, rows: np.ndarray) -> np.ndarray:
    """Features of some pictures at one depth; only these rows are read where the vectors are memory-mapped.

    Args:
        of: Embeddings that hold all of `rows`.
        depth: Name of the depth.
        rows: (M,) int64 rows of the data set, in any order.

    Returns:
        (M, D) float32 in memory.

    Raises:
        ValueError: A row was not embedded.
    """
    at = places(np.asarray(of.rows), rows, f"embedded by `{of.spec.name}`")
    return np.asarray(of.vectors[depth][at], np.float32)


def places(known: np.ndarray, rows: np.ndarray, what: str) -> np.ndarray:
    """(M,) int64 where some rows of the data set stand among others.

    Args:
        known: (K,) int64 rows, in any order.
        rows: (M,) int64 that are looked for.
        what: Of rows that are known, for the error.

    Raises:
        ValueError: A row is not among them.
    """
    order = np.argsort(known, kind="stable")
    at = np.searchsorted(known, rows, sorter=order)
    found = order[np.minimum(at, len(known) - 1)] if len(known) else np.empty(0, np.int64)
    if not np.array_equal(known[found], rows):
        raise ValueError(f"some of the {len(rows)} rows asked for were not {what}")
    return found


def columns(of: Sequence[Embeddings], features: Sequence[Feature], rows: np.ndarray) -> np.ndarray:
    """A head's input: the features of some pictures side by side.

    Args:
        of: Embeddings of every backbone that `features` name.
        features: In this order.
        rows: (M,) int64 rows of the data set, in any order.

    Returns:
        (M, D) float32 in memory.
    """
    by_name = {e.spec.name: e for e in of}
    blocks = [take(by_name[f.backbone], f.depth, rows) for f in features]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
