"""Some rows of many, evenly spaced."""

from __future__ import annotations

import numpy as np


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """(B,) at most so many evenly spaced positions of 0..count-1."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def spread_rows(count: int, most: int) -> slice | np.ndarray:
    """The same to index rows by: where all are taken a slice, which copies nothing."""
    return slice(None) if count <= most else evenly_spaced(count, most)


def draw_rows(count: int, most: int) -> np.ndarray:
    """(B,) at most so many positions of 0..count-1 in their order, drawn at random but always the same.

    For rows that repeat in a pattern, of which even steps would see a part alone.
    """
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))
