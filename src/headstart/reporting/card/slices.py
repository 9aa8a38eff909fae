"""How the model does on parts of the pictures that nobody asked for: dark ones, small ones, those of one folder.

Thirds of the training pictures and file facts alone fix the parts, before any answer is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from headstart.core.types import Score
from headstart.reporting.card.card_data import CardInput
from headstart.statistics.intervals import Interval, difference_interval, make_score, mean_interval, share_interval

FEWEST = 10  # unlike pictures that judge; a part with fewer is left out
MOST_FOLDERS = 12
_SHAPES = ("wider than high", "square", "higher than wide")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of the pictures that judge."""

    by: str  # what it is cut by: `brightness`, `contrast`, …
    name: str  # which part
    score: Score  # accuracy on it, or the share of labels that are right
    apart: Interval  # that minus the accuracy on the other parts, with an interval

    @property
    def is_weak(self) -> bool:
        """Whether it is surely below the others."""
        return self.apart.high < 0


def make_slices(card: CardInput) -> list[Slice]:
    """All slices with enough pictures."""
    rows, card_slices = np.asarray(card.evaluation.rows), []
    right, clusters = card.right, np.asarray(card.splits.clusters)[rows]
    for by, names, labels in _make_cuts(card):
        part_of = labels[rows]
        parts = [position for position in range(len(names)) if count_unlike(clusters, part_of == position) >= FEWEST]
        if len(parts) > 1:
            scores = {position: accuracy_of_part(right, clusters, part_of == position) for position in parts}
            rest_scores = {position: accuracy_of_part(right, clusters, part_of != position) for position in parts}
            for position in parts:
                apart = difference_interval(scores[position], rest_scores[position])
                card_slices.append(Slice(by=by, name=names[position], score=scores[position], apart=apart))
    return card_slices


def count_unlike(clusters: np.ndarray, part: np.ndarray) -> int:
    """How many pictures of a part do not look alike."""
    return len(np.unique(clusters[part]))


def accuracy_of_part(right: np.ndarray, clusters: np.ndarray, part: np.ndarray) -> Score:
    """The mean of a part of (M,) `right`: Wilson's interval of a share, else Student's t; `clusters` (M,) widen it."""
    measure = share_interval if np.isin(right, (0, 1)).all() else mean_interval
    value, low, high = measure(right[part], clusters[part])
    return make_score("accuracy", "", Interval(value, max(0.0, low), min(1.0, high)), int(part.sum()))


Cut = tuple[str, tuple[str, ...], np.ndarray]  # by what, names of the parts, (N,) part of each picture or -1


def _make_cuts(card: CardInput) -> Iterator[Cut]:
    facts = card.dataset.facts
    width, height = np.asarray(facts.width_px), np.asarray(facts.height_px)
    yield "brightness", ("dark", "middle", "light"), _split_thirds(mean_brightness(np.asarray(facts.histogram)), card)
    yield "contrast", ("flat", "middle", "rich"), _split_thirds(np.asarray(facts.grey_std), card)
    yield "size", ("small", "middle", "large"), _split_thirds(np.sqrt(width.astype(np.float64) * height), card)
    yield "shape", _SHAPES, 1 + np.sign(height.astype(np.int64) - width)
    yield "reading", ("as it is", "converted"), np.array([bool(note) for note in facts.notes], np.int64)
    folders = [_find_folder(uri, card) for uri in card.dataset.uris]
    names = tuple(sorted(set(folders)))
    if 1 < len(names) <= MOST_FOLDERS:
        yield "folder", names, np.array([names.index(folder) for folder in folders], np.int64)


def mean_brightness(histogram: np.ndarray) -> np.ndarray:
    """(N, 64) colour histograms, red slowest -> (N,) mean grey 0..255, as exact as four steps a colour are."""
    middles = 32.0 + 64.0 * np.arange(4)
    red, green, blue = np.meshgrid(middles, middles, middles, indexing="ij")
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.asarray(histogram.astype(np.float64) @ grey.ravel())


def _split_thirds(numbers: np.ndarray, card: CardInput) -> np.ndarray:
    """(N,) 0, 1 or 2 by the thirds of the training pictures; all 1 where these hardly differ."""
    training_numbers = numbers[np.asarray(card.splits.train)]
    low, high = np.quantile(training_numbers, [1 / 3, 2 / 3])
    if not low < high:
        return np.ones(len(numbers), np.int64)
    return np.asarray((numbers > low).astype(np.int64) + (numbers > high))


def _find_folder(uri: str, card: CardInput) -> str:
    """The folder below that of the class; empty where the picture lies in that itself."""
    parts = PurePosixPath(uri).parts[:-1]
    names = set(card.dataset.class_names)
    class_position = next((place for place, part in enumerate(parts) if part in names), len(parts))
    return "/".join(parts[class_position + 1 :]) or "."
