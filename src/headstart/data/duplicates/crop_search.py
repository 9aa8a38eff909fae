"""Pictures that were cut out of others: their hashes looked up among hashes of windows, each pair checked on pixels.

A window's cosine coefficients follow from those of the whole picture, so that no picture is decoded to hash its windows
(like the hashes of sub-images of Ke, Sukthankar and Huston 2004, without key points). Of the pairs this leaves, both
pictures are decoded, the window is moved until the grey levels correlate best, and that correlation decides.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator

import numpy as np
from PIL import Image

from headstart.core.types import Dataset
from headstart.data.duplicates.clusters import find_clusters
from headstart.data.duplicates.copy_detection import (
    BLANK_STD,
    COLOUR_LIMIT,
    HASH_MOST,
    find_first_copies,
    find_near_pairs,
    measure_colour_distance,
)
from headstart.data.duplicates.near_duplicate_search import look_up_hashes
from headstart.images.codecs import open_picture
from headstart.images.file_formats import PictureError
from headstart.images.preprocessing import read_bytes

SIDES = (0.96, 0.92, 0.88, 0.84, 0.8, 0.76)  # of a window, by the picture's
_STEP = 0.04  # between windows of a size
_WAVES, _POINTS = 12, 64
_BLOCK = 2_000  # pictures whose windows are hashed together: about 200 MB
PIXELS = 128  # a side of the pictures that are decoded
_STAGES = ((16, 3.0), (32, 1.5), (48, 0.75))  # side of what is compared, and by how much its edges move, in px of these
# What gradients of a crop correlate by; where the hashes of a set lie close, those of other pictures do too.
ALIKE, DOUBTFUL_ALIKE = 0.9, 0.98
MOST_COMPARED = 1_500  # pairs, of 7 ms each
_HOPELESS = 0.5  # correlation after the first stage

Box = tuple[float, float, float, float]  # left, top, right, bottom, by the sides


@functools.cache
def list_windows() -> tuple[Box, ...]:
    """Windows of the same part of both sides, and those that keep one side whole."""
    cuts = [[(at, at + side) for at in np.linspace(0, 1 - side, 1 + round((1 - side) / _STEP))] for side in SIDES]
    both = [pair for places in cuts for pair in itertools.product(places, repeat=2)]
    single = [pair for place in itertools.chain(*cuts) for pair in (((0.0, 1.0), place), (place, (0.0, 1.0)))]
    return tuple((float(x[0]), float(y[0]), float(x[1]), float(y[1])) for x, y in (*both, *single))


@functools.cache
def _window_matrices() -> tuple[np.ndarray, np.ndarray]:
    """(W, 8, 12) float32 twice, for rows and columns: coefficients of a picture to those of its windows."""
    rows, columns = (
        np.stack([_waves_of_window(box[axis], box[axis + 2]) for box in list_windows()]) for axis in (1, 0)
    )
    return rows, columns


def _waves_of_window(start: float, end: float) -> np.ndarray:
    places = (np.arange(_POINTS) + 0.5) / _POINTS
    whole = np.cos(np.pi * np.arange(_WAVES)[:, None] * (start + (end - start) * places))
    inside = np.cos(np.pi * np.arange(8)[:, None] * places)
    for waves in (whole, inside):
        waves[0] /= np.sqrt(2)
    return np.asarray(2 / _POINTS * inside @ whole.T, np.float32)


def hash_windows(coefficients: np.ndarray) -> np.ndarray:
    """(N, W) uint64 hashes of the windows of pictures with coefficients (N, 144)."""
    rows, columns = _window_matrices()
    waves = np.asarray(coefficients, np.float32).reshape(-1, _WAVES, _WAVES)
    inside = np.einsum("wak,nkl,wbl->nwab", rows, waves, columns, optimize=True).reshape(len(waves), len(rows), 64)
    medians = np.partition(inside[..., 1:], 31, axis=-1)[..., 31:32]
    bits = np.ascontiguousarray(np.packbits(inside > medians, axis=-1))
    hashes: np.ndarray = bits.view(">u8")[..., 0].astype(np.uint64)
    return hashes


def find_crop_candidates(coefficients: np.ndarray, hashes: np.ndarray, limit: int) -> Iterator[np.ndarray]:
    """(P, 4) int64: a picture, one whose hash one of its windows has, this window, and the bits that differ."""
    for start in range(0, len(hashes), _BLOCK):
        windows = hash_windows(coefficients[start : start + _BLOCK])
        queries, crops, bits = look_up_hashes(windows.ravel(), hashes, limit)
        wholes, places = start + queries // windows.shape[1], queries % windows.shape[1]
        differ = wholes != crops
        yield np.stack([wholes, crops, places, bits], axis=1)[differ]


def find_cropped_pairs(data: Dataset) -> tuple[np.ndarray, float, int]:
    """(P, 2) int64 files of which one shows a part of the other, the most alike first; the correlation asked for; and
    how many pairs were left uncompared, beyond `MOST_COMPARED`.

    Copies that hashes of whole pictures tell are left out.
    """
    facts, near, limit = data.facts, *find_near_pairs(data)[::2]
    least = ALIKE if limit == HASH_MOST else DOUBTFUL_ALIKE
    firsts = find_first_copies(data.digests)
    clusters = find_clusters(len(firsts), np.concatenate([np.stack([np.arange(len(firsts)), firsts], axis=1), near]))
    rows = np.unique(firsts)
    rows = rows[np.asarray(facts.grey_std)[rows] >= BLANK_STD]
    found = [np.empty((0, 4), np.int64), *find_crop_candidates(facts.coefficients[rows], facts.phash[rows], limit)]
    candidates = np.concatenate(found)
    candidates = candidates[np.argsort(candidates[:, 3], kind="stable")]
    candidates[:, :2] = rows[candidates[:, :2]]
    ties = np.sort(clusters[candidates[:, :2]], axis=1)
    first_of_tie = np.sort(np.unique(ties[:, 0] * len(firsts) + ties[:, 1], return_index=True)[1])
    candidates = candidates[first_of_tie[ties[first_of_tie, 0] != ties[first_of_tie, 1]]]
    near_colours = measure_colour_distance(np.asarray(facts.histogram), candidates[:, :2]) <= COLOUR_LIMIT
    candidates = candidates[near_colours]
    compared = candidates[:MOST_COMPARED]
    alike = _compare_pictures(data, compared)
    order = np.argsort(-alike, kind="stable")
    return compared[order[alike[order] >= least], :2], least, len(candidates) - len(compared)


def _compare_pictures(data: Dataset, candidates: np.ndarray) -> np.ndarray:
    """(P,) correlations of candidates (P, 4); -1 where a picture cannot be read any more."""

    @functools.cache
    def read_grey(row: int) -> Image.Image | None:
        try:
            picture = open_picture(read_bytes(os.path.join(data.root, data.uris[row])), ranges=data.reading.ranges)  # noqa: PTH118
            upright = picture.turn_upright(picture.decode_rgb(least=PIXELS))
        except PictureError:
            return None
        return upright.convert("L").resize((PIXELS, PIXELS), Image.Resampling.BILINEAR, reducing_gap=2)

    alike = np.full(len(candidates), -1.0)
    for at, (whole, crop, window, _) in enumerate(candidates.tolist()):
        pictures = read_grey(whole), read_grey(crop)
        if pictures[0] is not None and pictures[1] is not None:
            alike[at] = correlate_crop(pictures[0], pictures[1], list_windows()[window])
    return alike


def correlate_crop(picture: Image.Image, part: Image.Image, box: Box) -> float:
    """The correlation, -1..1, of the gradients of a grey picture of 128 x 128 and of a window of another one.

    The window starts at `box`; its edges move, alone and together, as long as the grey levels correlate better.
    """
    edges, together = np.array(box) * PIXELS, np.array([[1, 0, 1, 0], [0, 1, 0, 1]])
    directions = np.concatenate([np.eye(4), -np.eye(4), together, -together])
    for side, step in _STAGES:
        small = _normalise(_shrink(part, side))
        best = small @ _normalise(_shrink(picture, side, edges))
        for _ in range(3):
            tries = np.clip(edges + step * directions, 0, PIXELS)
            values = [small @ _normalise(_shrink(picture, side, each)) for each in tries]
            if max(values) <= best:
                break
            best, edges = max(values), tries[int(np.argmax(values))]
        if best < _HOPELESS:
            return -1.0
    small, window = _shrink(part, side), _shrink(picture, side, edges)
    slopes = [np.concatenate([np.diff(each, axis=axis).ravel() for axis in (0, 1)]) for each in (small, window)]
    return float(_normalise(slopes[0]) @ _normalise(slopes[1]))


def _shrink(picture: Image.Image, side: int, edges: np.ndarray | None = None) -> np.ndarray:
    box = None if edges is None else tuple(edges.tolist())
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR, box=box), np.float32)


def _normalise(values: np.ndarray) -> np.ndarray:
    centred: np.ndarray = values.ravel() - values.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-6)
