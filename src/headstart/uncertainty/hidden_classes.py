"""Near strangers: how many pictures of a class are declined by a model that never saw the class.

Each of the largest classes is left out in turn, of the references and of the head. Both are fitted without each fold on
vectors that are there already; the known pictures of a fold set limit and floors as they do for the saved model, and
each picture of the hidden class is judged once. At most `PICTURES` training pictures take part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from headstart.core.types import Score
from headstart.statistics.intervals import make_share_score
from headstart.statistics.sampling import evenly_spaced
from headstart.uncertainty import coverage, ood_detection, ood_threshold
from headstart.uncertainty.coverage import HeldOutPredictions
from headstart.uncertainty.ood_threshold import FAMILIAR, FEWEST, HIDDEN, TrainingSample

PICTURES = 1000
ALL = "hidden classes"  # subject of what is told of all of them together
HIDDEN_CLASS = "hidden class "  # and, with its name behind, of each
# pictures of classes 0..C-1, and positions that learn and that are answered (B,) -> (B, C) probabilities
PredictHeldOut = Callable[[TrainingSample, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class SetRule:
    """How the saved model's sets are made."""

    score: str  # one of `conformal.SCORES`
    coverage: float


def choose_hidden_classes(sample: TrainingSample, count: int) -> list[int]:
    """The largest classes, at most `HIDDEN`, that have pictures enough and leave enough."""
    sizes = np.bincount(sample.y, minlength=count)
    largest = np.argsort(-sizes, kind="stable")[:HIDDEN].tolist()
    return sorted(c for c in largest if sizes[c] >= FEWEST and len(sample.y) - sizes[c] >= ood_detection.LEAST)


def score_hidden_classes(
    sample: TrainingSample, method: str, predict: PredictHeldOut, rule: SetRule, names: tuple[str, ...]
) -> list[Score]:
    """Of each class left out, the share declined and the area under the ROC curve; of all together the share."""
    sample = sample.select(evenly_spaced(len(sample.y), PICTURES))
    scores, declined = list[Score](), list[np.ndarray]()
    for c in choose_hidden_classes(sample, len(names)):
        distances, strange, hopeless = _judge_hidden_class(sample, c, method, predict, rule)
        of_class, subject = sample.y == c, HIDDEN_CLASS + names[c]
        declined.append(strange | hopeless)
        scores.append(make_share_score("unknown", "cv", declined[-1], subject))
        near, far = distances[~of_class], distances[of_class]
        scores.append(ood_threshold.novelty_auc(near, far, split="cv", subject=subject))
    return scores + ([make_share_score("unknown", "cv", np.concatenate(declined), ALL)] if declined else [])


def _judge_hidden_class(
    sample: TrainingSample, hidden: int, method: str, predict: PredictHeldOut, rule: SetRule
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M,) distances of all pictures; of the H hidden ones (H,) whether they are strange, whether no class fits."""
    of_class = sample.y == hidden
    known_classes, y = np.unique(sample.y[~of_class], return_inverse=True)
    classes = np.zeros(len(sample.y), np.int64)
    classes[~of_class] = y
    distances, p = np.empty(len(classes)), np.ones((len(classes), len(known_classes)))
    for fold in np.unique(sample.fold):
        inside = sample.fold == fold
        learnt = ~inside & ~of_class
        arrays, k = ood_detection.fit_references(sample.x[learnt], classes[learnt], method)
        distances[inside] = ood_detection.compute_distances(arrays, k, sample.x[inside])
        if len(known_classes) > 1:
            p[inside] = predict(replace(sample, y=classes), np.flatnonzero(learnt), np.flatnonzero(inside))
    every = HeldOutPredictions(split="cv", rows=sample.rows, y=classes, p=p, answers=p.argmax(axis=1), fold=sample.fold)
    predictions = every.select(~of_class)
    promise = coverage.set_thresholds(predictions, rule.score, rule.coverage)
    floors = coverage.compute_floors(predictions, promise, FAMILIAR)
    limit, _ = ood_threshold.find_limit(distances[~of_class])
    hopeless = coverage.judge_sets(every.select(of_class), promise, floors).hopeless
    return distances, distances[of_class].astype(np.float32) > limit, hopeless
