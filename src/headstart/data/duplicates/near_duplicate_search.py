"""Pairs of pictures that are very like each other, by perceptual hash or by embedding, in bounded memory.

64-bit hashes are compared all with all up to `EXACT_ROWS`, above that by multi-index hashing (Norouzi 2012): at
distance 7 or less two agree in one of four 16-bit chunks up to one bit; of pairs at distance 8, 96 % do. Vectors are
compared by cosine distance; an orthogonal projection never lengthens one, so it throws out most pairs and loses none.
Where pairs abound, a shortest spanning forest of them is kept: it makes the same clusters.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

EXACT_ROWS = 20_000
_BLOCK = 2_000_000  # comparisons held at a time: about 50 MB
_MOST_PAIRS = 4_000_000
_MEASURED = 4_096  # pairs of vectors held at a time: of width 1,280 about 100 MB
_NEXT = 8
_FILTER_DIM, _FILTER_PART = 64, 0.5
_POWERS = 2  # of the randomised range finder (Halko, Martinsson and Tropp 2011): an eigh took ten times as long
_SAMPLE = 2_000


def find_hash_pairs(hashes: np.ndarray, limit: int, *, exact_rows: int = EXACT_ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows whose hashes (N,) uint64 differ in at most `limit` bits (8 or less), the closest first.

    Rows of the same hash meet the next eight of their kind, and only the first of them meets the other hashes: enough
    to cluster by. Returns (P, 2) int64 pairs, smaller row first, and (P,) float32 distances in bits.
    """
    unique, first = np.unique(hashes, return_index=True)
    search = _compare_all if len(unique) <= exact_rows else _compare_by_chunks
    blocks = itertools.chain([_pair_equal_values(hashes)], (first[pairs] for pairs in search(unique, limit)))
    return merge_blocks(len(hashes), ((p, np.bitwise_count(hashes[p[:, 0]] ^ hashes[p[:, 1]])) for p in blocks))


def find_turned_pairs(hashes: np.ndarray, turned: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows of which one's hash (N,) and a turned hash (N, 7) of the other differ in at most `limit` bits.

    All with all, by chunks: exact up to 7 bits. Of rows of the same hash only the first meets others. Returns as
    `find_hash_pairs` does.
    """
    columns = (look_up_hashes(column, hashes, limit) for column in turned.T)
    return merge_blocks(len(hashes), ((np.stack([a, b], axis=1)[a != b], bits[a != b]) for a, b, bits in columns))


def look_up_hashes(queries: np.ndarray, hashes: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries (P,), hashes (P,) within the limit of them, and the bits (P,); the first stands for its equals."""
    values, rows = np.unique(queries, return_index=True)
    unique, first = np.unique(hashes, return_index=True)
    blocks = [np.empty((0, 2), np.int64), *_compare_by_chunks(unique, limit, values)]
    a, b = np.unique(np.concatenate(blocks), axis=0).T
    return rows[a], first[b], np.bitwise_count(values[a] ^ unique[b])


def merge_blocks(n: int, blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of pairs and distances as one, ordered, each pair once; thinned when beyond `_MOST_PAIRS`."""
    pairs, distances = np.empty((0, 2), np.int64), np.empty(0, np.float32)
    for block_pairs, block_distances in blocks:
        if len(block_pairs):
            pairs = np.concatenate([pairs, np.sort(block_pairs, axis=1)])
            distances = np.concatenate([distances, block_distances.astype(np.float32)])
        if len(pairs) > _MOST_PAIRS:
            pairs, distances = _find_spanning_forest(n, pairs, distances)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], distances))
    pairs, distances = pairs[order], distances[order]
    _, first_rows = np.unique(pairs[:, 0] * n + pairs[:, 1], return_index=True)
    first_rows.sort()
    return pairs[first_rows], distances[first_rows]


def _find_spanning_forest(n: int, pairs: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    _, first_rows = np.unique(pairs[:, 0] * n + pairs[:, 1], return_index=True)  # coo_array would add repeats up
    pairs, distances = pairs[first_rows], distances[first_rows]
    tree = minimum_spanning_tree(coo_array((1.0 + distances, (pairs[:, 0], pairs[:, 1])), shape=(n, n)).tocsr()).tocoo()
    return np.stack([tree.row, tree.col], axis=1).astype(np.int64), (tree.data - 1).astype(np.float32)


def _pair_equal_values(values: np.ndarray) -> np.ndarray:
    """(P, 2) rows of equal values, each with the next few: one that a second look throws out leaves the rest tied."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    steps = [
        (np.flatnonzero(ordered[step:] == ordered[:-step]), step) for step in range(1, min(_NEXT, len(values) - 1) + 1)
    ]
    return np.concatenate(
        [np.empty((0, 2), np.int64), *(np.stack([order[same], order[same + step]], axis=1) for same, step in steps)]
    )


def _compare_all(unique: np.ndarray, limit: int) -> Iterator[np.ndarray]:
    n = len(unique)
    step = max(1, _BLOCK // max(n, 1))
    for start in range(0, n, step):
        later = unique[start:]
        a, b = np.nonzero(np.bitwise_count(unique[start : start + step, None] ^ later[None, :]) <= limit)
        keep = a < b
        yield np.stack([a[keep], b[keep]], axis=1) + start


def _compare_by_chunks(unique: np.ndarray, limit: int, queries: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Pairs (query, hash) within the limit; without queries each two hashes once."""
    flips = [0, *(1 << bit for bit in range(16))]
    asked = unique if queries is None else queries
    for shift in (0, 16, 32, 48):
        chunk, asked_chunk = ((each >> np.uint64(shift)).astype(np.uint16).astype(np.int64) for each in (unique, asked))
        order, asked_order = (np.argsort(each, kind="stable") for each in (chunk, asked_chunk))
        count = np.bincount(chunk, minlength=1 << 16)
        start = np.cumsum(count) - count
        for flip in flips:
            other = asked_chunk[asked_order] ^ flip
            buckets = _list_buckets(asked_order, order, start[other], count[other])
            for left, right in buckets:
                near = np.bitwise_count(asked[left] ^ unique[right]) <= limit
                if queries is None:
                    near &= left < right
                yield np.stack([left[near], right[near]], axis=1)


def _list_buckets(
    asked: np.ndarray, order: np.ndarray, start: np.ndarray, count: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each asked row beside those of its bucket `order[start : start + count]`, in blocks."""
    ends = np.cumsum(count)
    row = 0
    while row < len(asked):
        stop = max(row + 1, int(np.searchsorted(ends, (ends[row - 1] if row else 0) + _BLOCK, side="right")))
        size = count[row:stop]
        left = np.repeat(asked[row:stop], size)
        offset = np.arange(len(left)) - np.repeat(np.cumsum(size) - size, size)
        yield left, order[np.repeat(start[row:stop], size) + offset]
        row = stop


class UnitVectors:
    """(N, D) vectors minus their mean, each of length 1, made as they are asked for: a million are never copied.

    With `centred` False nothing is taken off.
    """

    def __init__(self, vectors: np.ndarray, *, centred: bool = True) -> None:
        self._vectors = vectors
        self._mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32) if centred else np.float32(0)
        self.shape = vectors.shape

    def __len__(self) -> int:
        return len(self._vectors)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        return _normalise_rows(np.asarray(self._vectors[rows], np.float32) - self._mean)


def to_unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """(N, D) float32 vectors minus their mean, each of length 1 (a vector equal to the mean stays zero)."""
    return UnitVectors(vectors)[:]


def _normalise_rows(centred: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    np.divide(centred, length, out=centred, where=length > 0)
    return centred


def find_vector_pairs(unit_ND: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of unit vectors (N, D) whose cosine distance is within the limits (N,) of both rows, the closest first.

    Returns (P, 2) int64 pairs, smaller row first, and (P,) float32 cosine distances.
    """
    limits = np.asarray(limits, np.float32)
    return merge_blocks(
        len(unit_ND),
        (measure_pairs(unit_ND, p, limits) for p in _compare_projections(_project_vectors(unit_ND), 2 * limits)),
    )


def measure_pairs(
    unit_ND: np.ndarray | UnitVectors, pairs: np.ndarray, limits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Those of pairs (P, 2) that are within the limits (N,) of both rows, and their cosine distances."""
    parts = np.array_split(pairs, 1 + len(pairs) // _MEASURED)
    distance = 1 - np.concatenate([np.einsum("pd,pd->p", unit_ND[p[:, 0]], unit_ND[p[:, 1]]) for p in parts])
    near = distance <= np.minimum(limits[pairs[:, 0]], limits[pairs[:, 1]])
    return pairs[near], distance[near]


def _project_vectors(unit_ND: np.ndarray) -> np.ndarray:
    """(N, 64) coordinates along the widest directions, or the vectors themselves where these say too little."""
    if unit_ND.shape[1] <= _FILTER_DIM:
        return unit_ND
    directions = find_directions(unit_ND)
    sample = unit_ND[:: max(1, len(unit_ND) // _SAMPLE)]
    if np.sum((sample @ directions) ** 2) < _FILTER_PART * np.sum(sample**2):
        return unit_ND
    small: np.ndarray = unit_ND @ directions
    return small


def find_directions(unit_ND: np.ndarray | UnitVectors) -> np.ndarray:
    """(D, 64) float32 orthonormal directions in which a sample of (N, D) vectors is widest; all where D is less."""
    if unit_ND.shape[1] <= _FILTER_DIM:
        return np.eye(unit_ND.shape[1], dtype=np.float32)
    sample = unit_ND[:: max(1, len(unit_ND) // _SAMPLE)]
    directions = np.random.default_rng(0).standard_normal((unit_ND.shape[1], _FILTER_DIM), np.float32)
    for _ in range(_POWERS):
        directions = np.linalg.qr(sample.T @ (sample @ directions))[0]
    return directions


def _compare_projections(small: np.ndarray, squared: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs within both rows' squared distance (on the sphere twice the cosine distance), with room for rounding."""
    square, room = np.einsum("nd,nd->n", small, small), squared + 1e-5
    step = max(1, _BLOCK // max(len(small), 1))
    for start in range(0, len(small), step):
        rows, later = small[start : start + step], small[start:]
        distance = square[start : start + step, None] + square[None, start:] - 2 * rows @ later.T
        near = (distance <= room[start : start + step, None]) & (distance <= room[None, start:])
        a, b = np.nonzero(near)
        keep = a < b
        yield from np.array_split(np.stack([a[keep], b[keep]], axis=1) + start, 1 + int(keep.sum()) // 5_000)


def closest_part(n: int) -> float:
    """The part of all pairs of `n` rows that copies are allowed to make up: 1 %, or 2 N pairs if these are more."""
    return min(max(0.01, 4 / max(n - 1, 1)), 0.5)


def typical_bits(hashes: np.ndarray, *, seed: int = 0) -> float:
    """The Hamming distance that all but the closest part of the pairs of hashes keep; by a sample of 2,000 rows."""
    sample = _sample_rows(hashes, seed)
    if len(sample) < 2:
        return 0.0
    bits = np.bitwise_count(sample[:, None] ^ sample[None, :])[np.triu_indices(len(sample), 1)]
    return float(np.quantile(bits, closest_part(len(sample))))


def measure_isolation(unit_ND: np.ndarray | UnitVectors, k: int, *, seed: int = 0) -> np.ndarray:
    """(N,) float32 cosine distance of each unit vector (N, D) to its k-th nearest other in a sample of 2,000 rows."""
    sample = _sample_rows(unit_ND, seed)
    distances = np.empty(len(unit_ND), np.float32)
    step = _BLOCK // len(sample)
    for start in range(0, len(unit_ND), step):
        block = unit_ND[start : start + step]
        near = np.sort(np.partition(1 - block @ sample.T, k, axis=1)[:, : k + 1], axis=1)
        itself = near[:, 0] < 1e-6
        distances[start : start + len(block)] = np.where(itself, near[:, k], near[:, k - 1])
    return distances


def _sample_rows(rows: np.ndarray | UnitVectors, seed: int) -> np.ndarray:
    if len(rows) <= _SAMPLE:
        return rows[:]
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), _SAMPLE, replace=False))]
