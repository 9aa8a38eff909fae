"""Prediction sets: which pictures set the thresholds, which promise that keeps, and what was measured of it.

Where a part was held back, its pictures, which nothing has looked at, set the thresholds (split conformal, Vovk 2005).
They cannot judge the sets as well: the thresholds of nine tenths are judged on the last one, many times over. As a
check that no arithmetic decides beforehand, thresholds of cross-validated pictures are judged on the part held back.
Without such a part the cross-validated pictures set the thresholds, for which theory guarantees less (Barber 2021).
A set is judged as it is shown: empty where no class reaches its floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.core.types import Score
from headstart.statistics.intervals import Interval, wilson
from headstart.uncertainty import conformal

REPEATS, PARTS = 10, 10
CHECKED = "thresholds of cross-validation"


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """Pictures that the model did not learn from, one of each cluster of near-duplicates.

    Attributes:
        split: Where they are from.
        rows: (M,) int64.
        y: (M,) int64 classes.
        p: (M, C) tempered probabilities.
        answers: (M,) int64 classes that would be answered.
    """

    split: str
    rows: np.ndarray
    y: np.ndarray
    p: np.ndarray
    answers: np.ndarray

    def own(self, kind: str) -> np.ndarray:
        """(M,) scores of the true classes."""
        return conformal.own_scores(self.p, self.y, kind)


@dataclass(frozen=True, kw_only=True, eq=False)
class Promise:
    """How the sets are made; see `UncertaintyReport`."""

    score: str
    by_class: bool
    thresholds: np.ndarray
    guaranteed: float
    why: str


def choose(known: Known, coverage: float) -> str:
    """The score whose sets are smaller on cross-validated pictures, by thresholds of these; of equals the first."""
    if not len(known.y):
        return conformal.SCORES[0]

    def width(kind: str) -> float:
        limits = conformal.thresholds(known.own(kind), known.y, known.p.shape[1], coverage, by_class=False)
        return round(float(conformal.sizes(known.p, kind, limits, known.answers).mean()), 6)

    return min(conformal.SCORES, key=width)


def promise(known: Known, kind: str, coverage: float) -> Promise:
    """Thresholds from known pictures: of each class where each has enough, else of all together.

    Args:
        known: Set the thresholds.
        kind: Of the score.
        coverage: As asked for.
    """
    n_classes, n = known.p.shape[1], len(known.y)
    least, counts = conformal.fewest(coverage), np.bincount(known.y, minlength=n_classes)
    by_class = bool(counts.min() >= 2 * least)  # with fewer the highest score of a class alone would be its threshold
    limits = conformal.thresholds(known.own(kind), known.y, n_classes, coverage, by_class=by_class)
    if n < least:
        why = (
            f"{n:,} held-out pictures cannot promise {_percent(coverage)}, {least:,} could: "
            "every class stays in the set"
        )
        return Promise(score=kind, by_class=False, thresholds=limits, guaranteed=1.0, why=why)
    where = "cross-validated" if known.split == "cv" else "held-out"
    few = f"the smallest class has {counts.min():,} of them, and {2 * least:,} would be needed for each"
    how = "in each class" if by_class else f"on average over the classes: {few}"
    guaranteed = coverage if known.split != "cv" else conformal.weaker(n, coverage)
    why = f"{n:,} {where} pictures set the thresholds, for {_percent(coverage)} {how}"
    if known.split == "cv":
        why += f"; for such pictures theory guarantees {_percent(guaranteed)} alone, and that of the folds' models"
    return Promise(score=kind, by_class=by_class, thresholds=limits, guaranteed=guaranteed, why=why)


def floors(learnt: Known, made: Promise, kept: float) -> np.ndarray:
    """(C,) what a class must keep to be in a set at all; where none does, the set is empty and the picture unknown.

    A floor is never stricter than the class's threshold, and none is set where the likeliest class always keeps its
    threshold: so an empty set takes nothing from the promise.

    Args:
        learnt: Cross-validated pictures.
        made: The promise.
        kept: Share of known pictures whose true class keeps its floor.
    """
    n_classes = learnt.p.shape[1]
    if made.score != conformal.SCORES[0]:
        return np.full(n_classes, np.inf)
    own = learnt.own(conformal.SCORES[0])
    limits = conformal.thresholds(own, learnt.y, n_classes, kept, by_class=False)
    return np.asarray(np.maximum(limits, made.thresholds))


def _percent(share: float) -> str:
    return f"{round(100 * share, 4):g} %"


def measure(
    known: Known, made: Promise, floor: np.ndarray, coverage: float, names: tuple[str, ...], seed: int
) -> list[Score]:
    """Coverage, sizes and shares of the sets, each picture judged by thresholds of others.

    Args:
        known: The pictures that set the thresholds.
        made: Tells the score, and whether each class has its own threshold.
        floor: (C,) from `floors`.
        coverage: As asked for.
        names: C class names.
        seed: Of the splits.
    """
    if len(known.y) < PARTS:
        return []
    hits, sizes, alone, empty = _repeated(known, made, floor, coverage, seed)
    classes, size = np.unique(known.y).tolist(), conformal.size_interval(sizes, known.p.shape[1])
    return [
        _score("coverage", known.split, _share(hits), len(hits)),
        _score("set_size", known.split, size, len(hits), method="t"),
        _score("singletons", known.split, _share(alone), len(hits)),
        _score("empty_sets", known.split, _share(empty), len(hits)),
        *(
            _score("coverage", known.split, _share(hits[known.y == c]), int((known.y == c).sum()), subject=names[c])
            for c in classes
        ),
    ]


def _repeated(known: Known, made: Promise, floor: np.ndarray, coverage: float, seed: int) -> tuple[np.ndarray, ...]:
    """Of each set, (M,) each: how often the true class is in it, its size, one is alone, none kept its threshold."""
    odd, own = conformal.scores(known.p, made.score), known.own(made.score)
    hopeless = conformal.hopeless(known.p, floor)
    n, n_classes = odd.shape
    draw = np.random.default_rng(seed)
    hits, sizes, alone, empty = np.zeros((4, n))
    for _ in range(REPEATS):
        part = draw.permutation(n) % PARTS
        for one in range(PARTS):
            inside = part == one
            limits = conformal.thresholds(own[~inside], known.y[~inside], n_classes, coverage, by_class=made.by_class)
            found = odd[inside] <= limits
            empty[inside] += ~found.any(axis=1)
            found[np.arange(len(found)), known.answers[inside]] = True
            found[hopeless[inside]] = False
            count = found.sum(axis=1)
            hits[inside] += found[np.arange(len(found)), known.y[inside]]
            sizes[inside] += count
            alone[inside] += count == 1
    return tuple(found / REPEATS for found in (hits, sizes, alone, empty))


def check(learnt: Known, judged: Known, made: Promise, floor: np.ndarray, coverage: float) -> list[Score]:
    """Coverage on held-back pictures of thresholds that cross-validated ones set; nothing where these are the same.

    Args:
        learnt: Cross-validated pictures.
        judged: Held-back pictures.
        made: Tells the score, and whether each class has its own threshold.
        floor: (C,) from `floors`.
        coverage: As asked for.
    """
    if judged.split == "cv" or not len(learnt.y) or not len(judged.y):
        return []
    limits = conformal.thresholds(learnt.own(made.score), learnt.y, learnt.p.shape[1], coverage, by_class=made.by_class)
    found = conformal.sets(judged.p, made.score, limits, judged.answers)
    hits = found[np.arange(len(judged.y)), judged.y] & ~conformal.hopeless(judged.p, floor)
    return [_score("coverage", judged.split, _share(hits), len(hits), subject=CHECKED)]


def _share(values: np.ndarray) -> Interval:
    return wilson(float(values.sum()), len(values))


def _score(name: str, split: str, found: Interval, n: int, *, subject: str = "", method: str = "wilson") -> Score:
    return Score(
        split=split, name=name, value=found.value, low=found.low, high=found.high, n=n, subject=subject, method=method
    )
