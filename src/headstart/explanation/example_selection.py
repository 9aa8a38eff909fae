"""Which training pictures a run keeps to compare with, and which of them stand for their class."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from headstart.core.settings import count_threads
from headstart.core.types import Dataset
from headstart.explanation.example_store import standardise
from headstart.images import thumbnails as small
from headstart.statistics.sampling import evenly_spaced

MOST = 500
LEAST_A_CLASS = 2  # kept even where there are more classes than `MOST` allows for
PROTOTYPES = 3  # a class
SIDE_PX = 96
_QUALITY = 70


def choose_rows(train: np.ndarray, targets: np.ndarray, n_classes: int) -> np.ndarray:
    """Ascending int64 rows to keep: as many of each class as there is room for, spread over it.

    What a small class leaves over goes to the others.
    """
    groups = [train[targets[train] == c] for c in range(n_classes)]
    groups = sorted((group for group in groups if len(group)), key=len)
    left, rows = max(MOST, LEAST_A_CLASS * len(groups)), []
    for place, group in enumerate(groups):
        share = max(left // (len(groups) - place), LEAST_A_CLASS)
        chosen = np.sort(group)[evenly_spaced(len(group), share)]
        left -= len(chosen)
        rows.append(chosen)
    return np.sort(np.concatenate(rows))


def make_vectors(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is kept of features (M, D): (M, D) float16 of length 1, and the (2, D) float32 by which they were made."""
    wide = np.asarray(features, np.float64)
    centre, deviation = wide.mean(axis=0), wide.std(axis=0)
    factor = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    scale = np.stack([centre, factor]).astype(np.float32)
    return standardise(features, scale[0], scale[1]).astype(np.float16), scale


def choose_prototypes(vectors: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(M,) int64: 1 for the first prototype of its class, 2 …; 0 for no prototype, from vectors (M, D) of length 1.

    Each is the picture by which the likeness of all of the class's pictures to their nearest prototype grows most (the
    greedy rule of facility location; Nemhauser 1978).
    """
    places = np.zeros(len(vectors), np.int64)
    for c in np.unique(targets):
        class_rows = np.flatnonzero(targets == c)
        wide = vectors[class_rows].astype(np.float32)
        alike = np.round(wide @ wide.T, 4)  # what the order of sums makes decides nothing
        best = np.full(len(class_rows), -1.0, np.float32)
        for place in range(min(PROTOTYPES, len(class_rows))):
            gains = np.maximum(alike, best[:, None]).sum(axis=0).astype(np.float64)
            gains[places[class_rows] > 0] = -np.inf
            chosen = int(np.argmax(np.round(gains, 3)))
            places[class_rows[chosen]] = place + 1
            best = np.maximum(best, alike[:, chosen])
    return places


def make_thumbnails(data: Dataset, rows: np.ndarray) -> list[bytes]:
    """JPEG of each picture, at most 96 px; empty where its file cannot be read any more."""
    paths = [os.path.join(data.root, data.uris[row]) for row in rows.tolist()]  # noqa: PTH118 - names of any bytes
    with ThreadPoolExecutor(count_threads(), thread_name_prefix="thumbnail") as pool:
        ranges = data.reading.ranges
        return list(pool.map(lambda path: small.make_jpeg_thumbnail(path, SIDE_PX, _QUALITY, ranges), paths))
