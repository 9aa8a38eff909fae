"""Pairs of very many vectors that are very like each other, by an index of nearest neighbours, in bounded memory.

The index is a graph of near ones (HNSW: Malkov and Yashunin 2018, by `usearch`). It is asked for each vector's eight
nearest, so it costs little more than linear time and misses some; how many is measured against all with all on a
sample. The graph is built by one thread: by several it, and so the clusters and splits, would differ from run to run.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headstart.core.settings import count_threads
from headstart.data.duplicates.near_duplicate_search import (
    UnitVectors,
    find_directions,
    measure_pairs,
    merge_blocks,
)

_NEIGHBOURS = 8
_BLOCK = 10_000
_ASKED = 300
_ROUNDING = 2e-3  # of squared distances between coordinates in half precision


def find_indexed_pairs(unit_ND: UnitVectors, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """What `find_vector_pairs` finds, among each row's eight nearest; and the part of rows whose nearest is among them.

    Of each row 64 coordinates are indexed in half precision: some 400 bytes with the graph.
    """
    from usearch.index import Index

    n, threads, directions = len(unit_ND), count_threads(), find_directions(unit_ND)
    small = np.empty((n, directions.shape[1]), np.float16)
    for start in range(0, n, _BLOCK):
        small[start : start + _BLOCK] = unit_ND[start : start + _BLOCK] @ directions
    index = Index(ndim=small.shape[1], metric="l2sq", dtype="f16", connectivity=16, expansion_add=64)
    index.add(np.arange(n), small, threads=1)
    neighbours, is_near = np.empty((n, _NEIGHBOURS + 1), np.int32), np.empty((n, _NEIGHBOURS + 1), bool)
    for start in range(0, n, _BLOCK):
        answer = index.search(small[start : start + _BLOCK], _NEIGHBOURS + 1, threads=threads)
        neighbours[start : start + _BLOCK] = answer.keys
        # on the sphere a squared distance is twice the cosine distance, and fewer coordinates make it no larger
        is_near[start : start + _BLOCK] = answer.distances <= 2 * limits[start : start + _BLOCK, None] + _ROUNDING

    def list_pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, n, _BLOCK):
            rows, places = np.nonzero(is_near[start : start + _BLOCK])
            rows += start
            pairs = np.stack([rows, neighbours[rows, places]], axis=1)
            yield measure_pairs(unit_ND, pairs[pairs[:, 0] != pairs[:, 1]], limits)

    pairs, distances = merge_blocks(n, list_pairs())
    return pairs, distances, _measure_recall(unit_ND, neighbours)


def _measure_recall(unit_ND: UnitVectors, neighbours: np.ndarray) -> float:
    """The part of a sample whose nearest other vector, by comparing it with all, is among its neighbours (N, K)."""
    rows = np.sort(np.random.default_rng(0).choice(len(unit_ND), min(_ASKED, len(unit_ND)), replace=False))
    asked, nearest, most = unit_ND[rows], np.zeros(len(rows), np.int64), np.full(len(rows), -np.inf)
    for start in range(0, len(unit_ND), _BLOCK):
        likeness = asked @ unit_ND[start : start + _BLOCK].T
        inside = (rows >= start) & (rows < start + likeness.shape[1])
        likeness[inside, rows[inside] - start] = -np.inf
        best = likeness.argmax(axis=1)
        value = likeness[np.arange(len(rows)), best]
        nearest, most = np.where(value > most, start + best, nearest), np.maximum(value, most)
    return float((neighbours[rows] == nearest[:, None]).any(axis=1).mean())
