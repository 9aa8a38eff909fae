"""Prediction sets of each label, {absent, present}, that hold the true state as often as promised.

Each state of each label has a threshold of its own (Mondrian; Vovk 2005), set and judged as those of classes are. A
label is surely there or surely absent where its set holds one state, and open where it holds both; no set is empty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from headstart.core.types import Score
from headstart.uncertainty import conformal, coverage
from headstart.uncertainty.coverage import CoveragePromise, HeldOutPredictions, format_percent, score_share
from headstart.uncertainty.temperature import pair_probabilities

KIND = conformal.SCORES[0]
NO_FLOORS = np.full(2, np.inf)  # a label that no state fits is open, and no reason to decline
ABSENT, PRESENT = 0, 1


def select_label(predictions: HeldOutPredictions, c: int) -> HeldOutPredictions:
    """The pictures as a choice of two: whether label `c` is absent or present."""
    p = pair_probabilities(predictions.p[:, [c]])
    y = predictions.y[:, c].astype(np.int64)
    return replace(predictions, y=y, p=p, answers=(p[:, PRESENT] >= 0.5).astype(np.int64))


def promise_label_sets(predictions: HeldOutPredictions, share: float) -> CoveragePromise:
    """Thresholds (C, 2) that out-of-fold pictures set, for a coverage of `share` where a label is absent and where not.

    A state that too few pictures have has no threshold: it is never ruled out. With one for both states, the absences
    of a rare label would keep the promise alone, and its presence would be missed.
    """
    n, needed = len(predictions.y), conformal.count_needed_pictures(share)
    labels = [select_label(predictions, c) for c in range(predictions.p.shape[1])]
    counts = np.stack([np.bincount(label.y, minlength=2) for label in labels])
    thresholds = [
        conformal.compute_thresholds(label.score_true_classes(KIND), label.y, 2, share, by_class=True)
        for label in labels
    ]
    folds = len(np.unique(predictions.fold))
    guarantees = [conformal.cross_validation_guarantee(int(k), folds, share) for k in counts[counts >= needed]]
    guaranteed, short = min(guarantees, default=1.0), int((counts < needed).any(axis=1).sum())
    why = (
        f"{n:,} out-of-fold training pictures set the thresholds of each label, for {format_percent(share)} of those "
        f"that have it and of those that lack it; theory guarantees {format_percent(guaranteed)}, and that of the "
        "folds' models"
    )
    if short:
        why += f"; {short:,} of {len(labels):,} labels are there or absent in under {needed:,}: that is never ruled out"
    return CoveragePromise(score=KIND, by_class=True, thresholds=np.stack(thresholds), guaranteed=guaranteed, why=why)


def make_label_sets(p: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(M, C, 2) bool, whether absent and present cannot be ruled out, of (M, C) probabilities and (C, 2) thresholds."""
    pairs = pair_probabilities(p)
    limits = np.tile(thresholds, (len(p), 1))
    return conformal.make_sets(pairs, KIND, limits, (pairs[:, PRESENT] >= 0.5).astype(np.int64)).reshape(*p.shape, 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelOutcomes:
    """Of each label of each picture, (M, C) bool each, by thresholds that the picture had no part in."""

    hits: np.ndarray  # whether the true state is in the set
    open: np.ndarray  # whether both states are


def judge_label_sets(predictions: HeldOutPredictions, promise: CoveragePromise, share: float) -> LabelOutcomes:
    """The sets of held-out pictures; where folds judge each other, each by the thresholds of the others."""
    sets = make_label_sets(predictions.p, promise.thresholds)
    if predictions.split == "cv":
        for inside, others in conformal.split_by_fold(predictions.fold):
            thresholds = promise_label_sets(predictions.select(others), share).thresholds
            sets[inside] = make_label_sets(predictions.p[inside], thresholds)
    hits = np.take_along_axis(sets, predictions.y.astype(np.int64)[:, :, None], axis=2)[:, :, 0]
    return LabelOutcomes(hits=hits, open=np.all(sets, axis=2))


def score_label_sets(predictions: HeldOutPredictions, outcomes: LabelOutcomes, names: tuple[str, ...]) -> list[Score]:
    """Coverage and the share of open labels, over all labels and of each; and coverage of each where it is there.

    Over all labels a picture counts by its share of them, and once: they are not independent of each other.
    """
    if len(predictions.y) < coverage.FEWEST:
        return []
    split, flags = predictions.split, {"coverage": outcomes.hits, "open_labels": outcomes.open}
    return [
        *(score for name, of in flags.items() for score in score_share(name, predictions, of.mean(axis=1))),
        *(
            coverage.make_held_out_share(name, split, of[:, c], subject=label)
            for name, of in flags.items()
            for c, label in enumerate(names)
        ),
        *(
            coverage.make_held_out_share("coverage_where_present", split, outcomes.hits[there, c], subject=label)
            for c, label in enumerate(names)
            if (there := predictions.y[:, c].astype(bool)).any()
        ),
    ]
