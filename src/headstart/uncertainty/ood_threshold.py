"""The out-of-distribution detector: which distance it takes, where its limit lies, and how well it recognises.

Each of the largest classes is hidden in turn, and the distance is taken that best separates its pictures from held-out
ones of the other classes. Training pictures, each measured by what the other folds taught, set the limit (as in CV+,
Barber 2021); pictures held back and pictures of other things judge it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from headstart.core.types import OodDetector, Score
from headstart.statistics.intervals import Interval, area_interval, make_score
from headstart.uncertainty import conformal, ood_detection

FAMILIAR = 0.99  # of known pictures that are to be answered
HIDDEN = 5  # classes that are hidden in turn, the largest
FEWEST = 5  # pictures of a class that is hidden, and of the others that are held out


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSample:
    """Some of the training pictures, one of each cluster of near-duplicates."""

    rows: np.ndarray  # (M,) int64
    x: np.ndarray  # (M, D) float32 what the head reads
    y: np.ndarray  # (M,) int64 classes
    fold: np.ndarray  # (M,) int64, 0..K-1

    def select(self, which: np.ndarray) -> TrainingSample:
        """Some of the pictures, by their positions or a mask (M,)."""
        return TrainingSample(rows=self.rows[which], x=self.x[which], y=self.y[which], fold=self.fold[which])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class KnownDistances:
    """How far training pictures lie from those of the other folds: what sets the limit."""

    rows: np.ndarray  # (M,) int64
    values: np.ndarray  # (M,) float64
    fold: np.ndarray  # (M,) int64

    def find_limit(self) -> tuple[float, float]:
        """The distance within which nearly all known pictures lie, and the share of new ones for which that holds."""
        return find_limit(self.values)

    def flag_strange(self) -> np.ndarray:
        """(M,) bool, whether each picture lies beyond the limit that the other folds set."""
        strange = np.zeros(len(self.values), bool)
        for inside, others in conformal.split_by_fold(self.fold):
            if others.any():
                strange[inside] = self.values[inside].astype(np.float32) > find_limit(self.values[others])[0]
        return strange


def find_limit(distances: np.ndarray) -> tuple[float, float]:
    """The limit that distances (K,) of known pictures set, and the share of new ones expected within (Vovk 2005)."""
    sorted_distances = np.sort(distances).astype(np.float32)
    rank = min(conformal.quantile_rank(len(sorted_distances), FAMILIAR), len(sorted_distances))
    return float(sorted_distances[rank - 1]), rank / (len(sorted_distances) + 1)


def fit_detector(
    sample: TrainingSample, trained: Mapping[str, KnownDistances] | None = None
) -> tuple[OodDetector | None, KnownDistances | None]:
    """The detector, and the distances that set its limit.

    No detector where there are too few pictures. `trained`, by method, sets the limit instead of `sample` where a
    trunk was trained: its own training pictures look familiar to it in every fold, so each fold's network tells.
    """
    sizes = [len(sample.y)] + ([] if trained is None else [len(known.values) for known in trained.values()] or [0])
    if min(sizes) < ood_detection.LEAST or len(np.unique(sample.fold)) < 2:
        return None, None
    tried = tuple(_mean_score(method, scores) for method, scores in _recognise_hidden_classes(sample).items())
    best = max(tried, key=lambda score: round(score.value, 6) if score.n else 0.0).subject
    arrays, k = ood_detection.fit_references(sample.x, sample.y, best)
    known_distances = (
        trained[best]
        if trained is not None
        else KnownDistances(rows=sample.rows, values=cross_fold_distances(sample, best), fold=sample.fold)
    )
    limit, familiar = known_distances.find_limit()
    detector = OodDetector(
        method=best,
        neighbour=k,
        limit=limit,
        familiar=familiar,
        arrays=arrays | {"known": np.sort(known_distances.values).astype(np.float32)},
        tried=tried,
    )
    return detector, known_distances


def cross_fold_distances(sample: TrainingSample, method: str) -> np.ndarray:
    """(M,) distances of training pictures, each from those of the other folds."""
    distances = np.empty(len(sample.y))
    for fold in np.unique(sample.fold):
        inside = sample.fold == fold
        arrays, k = ood_detection.fit_references(sample.x[~inside], sample.y[~inside], method)
        distances[inside] = ood_detection.compute_distances(arrays, k, sample.x[inside])
    return distances


def _recognise_hidden_classes(sample: TrainingSample) -> dict[str, list[Score]]:
    """By method, how well each class is recognised, on the first fold, when the measure knows the others alone."""
    counts, first = np.bincount(sample.y), sample.fold == sample.fold.min()
    scores: dict[str, list[Score]] = {method: [] for method in ood_detection.METHODS}
    for c in sorted(np.argsort(-counts, kind="stable")[:HIDDEN].tolist()):
        of_class = sample.y == c
        inside, held_out = ~of_class & ~first, ~of_class & first
        if min(int(of_class.sum()), int(held_out.sum())) < FEWEST or int(inside.sum()) < ood_detection.LEAST // 2:
            continue
        directions, points = ood_detection.fit_directions(sample.x[inside])
        for method, of_method in scores.items():
            arrays, k = ood_detection.place_references(directions, points, sample.y[inside], method)
            near, far = (ood_detection.compute_distances(arrays, k, sample.x[rows]) for rows in (held_out, of_class))
            of_method.append(novelty_auc(near, far, split="train", subject=method))
    return scores


def _mean_score(method: str, scores: list[Score]) -> Score:
    ends = [[score.value, score.low, score.high] for score in scores] or [[np.nan] * 3]
    interval = Interval(*np.mean(ends, axis=0).tolist())
    return make_score("novelty_auc", "train", interval, sum(s.n for s in scores), subject=method, method="mean")


def novelty_auc(near: np.ndarray, far: np.ndarray, *, split: str, subject: str) -> Score:
    """How often a foreign picture lies further away than a known one, ties counted half (area under the ROC curve)."""
    ordered = np.sort(near)
    below, upto = (np.searchsorted(ordered, far, side) for side in ("left", "right"))
    interval = area_interval(float((below + upto).mean() / (2 * len(near))), len(far), len(near))
    n = len(near) + len(far)
    return make_score("novelty_auc", split, interval, n, subject=subject, method="newcombe")
