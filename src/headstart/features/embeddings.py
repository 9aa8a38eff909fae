"""Rows of embeddings, by the data set's row numbers; several backbones and levels side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.types import Embeddings, Feature


def take_vectors(embeddings: Embeddings, depth: str, rows: np.ndarray) -> np.ndarray:
    """(M, D) float32 features of rows (M,) at one level; only these are read from a mapped file.

    A row that was not embedded is a `ValueError`.
    """
    positions = find_positions(np.asarray(embeddings.rows), rows, f"embedded by `{embeddings.spec.name}`")
    return np.asarray(embeddings.vectors[depth][positions], np.float32)


def find_positions(known: np.ndarray, rows: np.ndarray, condition: str) -> np.ndarray:
    """(M,) int64 where `rows` (M,) of the data set stand among `known` (K,), both in any order.

    A row that is not among them is a `ValueError`; `condition` says what the known ones are.
    """
    order = np.argsort(known, kind="stable")
    order_positions = np.searchsorted(known, rows, sorter=order)
    positions = order[np.minimum(order_positions, len(known) - 1)] if len(known) else np.empty(0, np.int64)
    if not np.array_equal(known[positions], rows):
        raise ValueError(f"some of the {len(rows)} rows asked for were not {condition}")
    return positions


def join_columns(embeddings: Sequence[Embeddings], features: Sequence[Feature], rows: np.ndarray) -> np.ndarray:
    """A head's input: (M, D) float32 features of rows (M,) of the data set side by side, in the order of `features`."""
    by_name = {e.spec.name: e for e in embeddings}
    blocks = [take_vectors(by_name[f.backbone], f.depth, rows) for f in features]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
