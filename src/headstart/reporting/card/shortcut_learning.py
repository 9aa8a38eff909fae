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
    """A rule that looks at no content."""

    by: str  # what it looks at
    note: str  # what that may mean
    gain: Interval  # its accuracy minus that of always naming the most frequent class
    accuracy: float  # its own
    n: int  # pictures

    @property
    def is_certain(self) -> bool:
        """Whether it surely tells something."""
        return self.gain.low > 0


def find_shortcuts(card: CardInput) -> list[Shortcut]:
    """Rules by the size in pixels and by the bytes of the file."""
    facts = card.dataset.facts
    pixels = np.unique(np.stack([facts.width_px, facts.height_px], axis=1), axis=0, return_inverse=True)[1].ravel()
    size = np.asarray(facts.file_bytes, np.float64)
    edges = np.unique(np.quantile(size[np.asarray(card.splits.train)], np.arange(1, _BINS) / _BINS))
    return [
        _judge_rule("the picture's width and height", _HOW_MADE, pixels, card),
        _judge_rule("the bytes of its file", _HOW_KEPT, np.searchsorted(edges, size, "right"), card),
    ]


def _judge_rule(by: str, note: str, kinds: np.ndarray, card: CardInput) -> Shortcut:
    """The most frequent class of each kind among the pictures learnt from."""
    rows, truth = np.asarray(card.evaluation.rows), card.truth
    right, usual_right = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for learnt, judged in _split_rows(card):
        usual, answers = _learn_rule(kinds, learnt, card)
        right[judged] = answers[kinds[rows[judged]]] == truth[judged]
        usual_right[judged] = truth[judged] == usual
    gain = mean_interval(right * 1.0 - usual_right, np.asarray(card.splits.clusters)[rows])
    return Shortcut(by=by, note=note, gain=gain, accuracy=float(right.mean()), n=len(rows))


def _split_rows(card: CardInput) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows to learn from, and positions among those that judge: where the training pictures judge, fold by fold."""
    train, rows = np.asarray(card.splits.train), np.asarray(card.evaluation.rows)
    if card.evaluation.split != "cv":
        yield train, np.arange(len(rows))
        return
    folds = np.asarray(card.splits.folds[0])
    for fold in np.unique(folds[rows]):
        yield train[folds[train] != fold], np.flatnonzero(folds[rows] == fold)


def _learn_rule(kinds: np.ndarray, train: np.ndarray, card: CardInput) -> tuple[int, np.ndarray]:
    """The most frequent class of all, and of each kind."""
    targets, count = np.asarray(card.dataset.targets)[train], len(card.dataset.class_names)
    usual = int(np.bincount(targets, minlength=count).argmax())
    answers = np.full(int(kinds.max()) + 1, usual)
    pairs, often = np.unique(kinds[train].astype(np.int64) * count + targets, return_counts=True)
    last = np.lexsort((-pairs, often))  # the rarest first: of each kind the most frequent class is written last
    answers[pairs[last] // count] = pairs[last] % count
    return usual, answers


def find_colour_score(card: CardInput) -> Score | None:
    """Balanced accuracy from mere colours, as the evaluation measured it; None where it did not."""
    scores = [s for s in card.evaluation.baselines if s.subject == HISTOGRAM and s.name == "balanced_accuracy"]
    return scores[0] if scores else None
