"""How the model does on parts of the pictures that nobody asked for: dark ones, small ones, those of one folder.

The parts are fixed by the training pictures (thirds by their own quantiles) and by file facts alone, before any answer
is looked at. A part with fewer than `FEWEST` unlike pictures that judge is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from headstart.core.types import Score
from headstart.reporting.card.card_data import CardInput
from headstart.statistics.intervals import (
    Interval,
    compact_clusters,
    design_effect,
    difference_interval,
    wilson_interval,
)

FEWEST = 10
MOST_FOLDERS = 12
_GREY = np.array([0.299, 0.587, 0.114])
_SHAPES = ("wider than high", "square", "higher than wide")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of the pictures that judge.

    Attributes:
        by: What it is cut by: `brightness`, `contrast`, …
        name: Which part.
        score: Accuracy on it.
        apart: That minus the accuracy on the other parts, with an interval.
    """

    by: str
    name: str
    score: Score
    apart: Interval

    @property
    def weak(self) -> bool:
        """Whether it is surely below the others."""
        return self.apart.high < 0


def cut(of: CardInput) -> list[Slice]:
    """All slices with enough pictures."""
    rows, found = np.asarray(of.evaluation.rows), []
    right, clusters = of.truth == of.answers, np.asarray(of.splits.clusters)[rows]
    for by, names, labels in _cuts(of):
        here = labels[rows]
        parts = [at for at in range(len(names)) if unlike(clusters, here == at) >= FEWEST]
        if len(parts) > 1:
            scores = {at: share(right, clusters, here == at) for at in parts}
            rest = {at: share(right, clusters, here != at) for at in parts}
            found += [
                Slice(by=by, name=names[at], score=scores[at], apart=difference_interval(scores[at], rest[at]))
                for at in parts
            ]
    return found


def unlike(clusters: np.ndarray, part: np.ndarray) -> int:
    """How many pictures of a part do not look alike."""
    return len(np.unique(clusters[part]))


def share(right: np.ndarray, clusters: np.ndarray, part: np.ndarray) -> Score:
    """The share answered rightly of a part, with Wilson's interval; near-duplicates widen it.

    Args:
        right: (M,) bool.
        clusters: (M,) of near-duplicates.
        part: (M,) bool, some of them.
    """
    here, n = right[part], int(part.sum())
    known = n / design_effect(here - here.mean(), compact_clusters(clusters[part]))
    value, low, high = wilson_interval(float(here.mean()) * known, known)
    return Score(split="", name="accuracy", value=value, low=low, high=high, n=n, method="wilson")


Cut = tuple[str, tuple[str, ...], np.ndarray]  # by what, names of the parts, (N,) part of each picture or -1


def _cuts(of: CardInput) -> Iterator[Cut]:
    facts = of.dataset.facts
    width, height = np.asarray(facts.width_px), np.asarray(facts.height_px)
    yield "brightness", ("dark", "middle", "light"), _thirds(brightness(np.asarray(facts.histogram)), of)
    yield "contrast", ("flat", "middle", "rich"), _thirds(np.asarray(facts.grey_std), of)
    yield "size", ("small", "middle", "large"), _thirds(np.sqrt(width.astype(np.float64) * height), of)
    yield "shape", _SHAPES, 1 + np.sign(height.astype(np.int64) - width)
    changed = np.array([bool(note) for note in facts.notes], np.int64)
    yield "reading", ("as it is", "converted"), changed
    folders = [_folder(uri, of) for uri in of.dataset.uris]
    names = tuple(sorted(set(folders)))
    if 1 < len(names) <= MOST_FOLDERS:
        yield "folder", names, np.array([names.index(folder) for folder in folders], np.int64)


def brightness(histogram: np.ndarray) -> np.ndarray:
    """(N, 64) colour histograms, red slowest -> (N,) mean grey 0..255, as exact as four steps a colour are."""
    middles = 32.0 + 64.0 * np.arange(4)
    red, green, blue = np.meshgrid(middles, middles, middles, indexing="ij")
    grey = _GREY[0] * red + _GREY[1] * green + _GREY[2] * blue
    return np.asarray(histogram.astype(np.float64) @ grey.ravel())


def _thirds(numbers: np.ndarray, of: CardInput) -> np.ndarray:
    """(N,) 0, 1 or 2 by the thirds of the training pictures; all 1 where these hardly differ."""
    known = numbers[np.asarray(of.splits.train)]
    low, high = np.quantile(known, [1 / 3, 2 / 3])
    if not low < high:
        return np.ones(len(numbers), np.int64)
    return np.asarray((numbers > low).astype(np.int64) + (numbers > high))


def _folder(uri: str, of: CardInput) -> str:
    """The folder below that of the class; empty where the picture lies in that itself."""
    parts = PurePosixPath(uri).parts[:-1]
    names = set(of.dataset.class_names)
    at = next((place for place, part in enumerate(parts) if part in names), len(parts))
    return "/".join(parts[at + 1 :]) or "."
