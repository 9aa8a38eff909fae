"""Whether something that is no content tells the class: the size of a picture, of its file, or its colours alone.

A model may learn such a shortcut (Geirhos 2020). A rule that knows nothing else is learnt from the training pictures
and held against the most frequent class on the pictures that judge, picture by picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headstart.core.types import Score
from headstart.reporting.card.card_data import CardInput
from headstart.statistics.intervals import Interval, mean_interval

_BINS = 8  # of the bytes of a file, by quantiles
_HOW_MADE = "The model may have learnt how the pictures were made."
_HOW_KEPT = "The model may have learnt how they were saved; but a JPEG also grows with the detail that it shows."
HISTOGRAM = "colour histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """A rule that looks at no content.

    Attributes:
        by: What it looks at.
        note: What that may mean.
        gain: Its accuracy minus that of always naming the most frequent class.
        accuracy: Its own.
        n: Pictures.
    """

    by: str
    note: str
    gain: Interval
    accuracy: float
    n: int

    @property
    def found(self) -> bool:
        """Whether it surely tells something."""
        return self.gain.low > 0


def look(of: CardInput) -> list[Shortcut]:
    """Rules by the size in pixels and by the bytes of the file."""
    facts = of.dataset.facts
    pixels = np.unique(np.stack([facts.width_px, facts.height_px], axis=1), axis=0, return_inverse=True)[1].ravel()
    size = np.asarray(facts.file_bytes, np.float64)
    edges = np.unique(np.quantile(size[np.asarray(of.splits.train)], np.arange(1, _BINS) / _BINS))
    return [
        _rule("the picture's width and height", _HOW_MADE, pixels, of),
        _rule("the bytes of its file", _HOW_KEPT, np.searchsorted(edges, size, "right"), of),
    ]


def _rule(by: str, note: str, kinds: np.ndarray, of: CardInput) -> Shortcut:
    """The most frequent class of each kind among the pictures learnt from."""
    rows, truth = np.asarray(of.evaluation.rows), of.truth
    right, dummy = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for learnt, judged in _sides(of):
        usual, answers = _learnt(kinds, learnt, of)
        right[judged] = answers[kinds[rows[judged]]] == truth[judged]
        dummy[judged] = truth[judged] == usual
    gain = mean_interval(right * 1.0 - dummy, np.asarray(of.splits.clusters)[rows])
    return Shortcut(by=by, note=note, gain=gain, accuracy=float(right.mean()), n=len(rows))


def _sides(of: CardInput) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows to learn from, and positions among those that judge: where the training pictures judge, fold by fold."""
    train, rows = np.asarray(of.splits.train), np.asarray(of.evaluation.rows)
    if of.evaluation.split != "cv":
        yield train, np.arange(len(rows))
        return
    folds = np.asarray(of.splits.folds[0])
    for fold in np.unique(folds[rows]):
        yield train[folds[train] != fold], np.flatnonzero(folds[rows] == fold)


def _learnt(kinds: np.ndarray, train: np.ndarray, of: CardInput) -> tuple[int, np.ndarray]:
    """The most frequent class of all, and of each kind."""
    targets, count = np.asarray(of.dataset.targets)[train], len(of.dataset.class_names)
    usual = int(np.bincount(targets, minlength=count).argmax())
    answers = np.full(int(kinds.max()) + 1, usual)
    pairs, often = np.unique(kinds[train].astype(np.int64) * count + targets, return_counts=True)
    last = np.lexsort((-pairs, often))  # the rarest first: of each kind the most frequent class is written last
    answers[pairs[last] // count] = pairs[last] % count
    return usual, answers


def colours(of: CardInput) -> Score | None:
    """Balanced accuracy from mere colours, as the evaluation measured it; None where it did not."""
    found = [s for s in of.evaluation.baselines if s.subject == HISTOGRAM and s.name == "balanced_accuracy"]
    return found[0] if found else None
