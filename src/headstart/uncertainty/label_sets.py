"""Prediction sets of each label, {absent, present}, that hold the true state as often as promised.

Each state of each label has a threshold of its own (Mondrian; Vovk 2005), set and judged as those of classes are. A
label is surely there or surely absent where its set holds one state, and open where it holds both; no set is empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.core.types import PRESENT, Score
from headstart.uncertainty import conformal, coverage
from headstart.uncertainty.coverage import CoveragePromise, HeldOutPredictions, format_percent, score_share


def promise_label_sets(predictions: HeldOutPredictions, share: float) -> CoveragePromise:
    """Thresholds (C, 2) that out-of-fold pictures set, for a coverage of `share` where a label is absent and where not.

    A state that too few pictures have has no threshold: it is never ruled out. With one for both states, the absences
    of a rare label would keep the promise alone, and its presence would be missed.
    """
    y, n, needed = predictions.y.astype(bool), len(predictions.y), conformal.count_needed_pictures(share)
    counts = np.stack([n - y.sum(axis=0), y.sum(axis=0)], axis=1)
    thresholds = [
        [conformal.conformal_quantile(_score_states(p[has == state])[:, state], share) for state in (0, 1)]
        for p, has in zip(predictions.p.T, y.T, strict=True)
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
        why += f"; {short:,} of {len(counts):,} labels are there or absent in under {needed:,}: that is never ruled out"
    return CoveragePromise(
        score=conformal.SCORES[0], by_class=True, thresholds=np.array(thresholds), guaranteed=guaranteed, why=why
    )


def make_label_sets(p: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(M, C, 2) bool, whether absent and present cannot be ruled out, of (M, C) probabilities and (C, 2) thresholds.

    The state that is answered is always in.
    """
    answered = np.stack([p < PRESENT, p >= PRESENT], axis=-1)
    return np.asarray(answered | (_score_states(p) <= thresholds))


def _score_states(p: np.ndarray) -> np.ndarray:
    """(…, 2) float64, how odd absent and present would be: one minus the probability."""
    return np.asarray(1.0 - np.stack([1 - p, p], axis=-1).astype(np.float64))


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
