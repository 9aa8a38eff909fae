"""Rows of embeddings, by the data set's row numbers."""

from __future__ import annotations

import numpy as np

from headstart.core.types import Embeddings


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
    at = np.searchsorted(of.rows, rows)
    found = np.asarray(of.rows)[np.minimum(at, len(of.rows) - 1)] if len(of.rows) else np.empty(0, np.int64)
    if not np.array_equal(found, rows):
        raise ValueError(f"some of the {len(rows)} rows asked for were not embedded by `{of.spec.name}`")
    return np.asarray(of.vectors[depth][at], np.float32)


def candidates(of: Embeddings) -> list[str]:
    """`backbone@depth` of every depth, from shallow to deep."""
    return [f"{of.spec.name}@{depth.name}" for depth in of.spec.depths]
