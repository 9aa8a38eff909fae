"""How strange a picture is: which measure tells best, where the limit lies, and how well foreign pictures are told.

Which of the measures is taken, the training pictures decide: a class is hidden, and the measure that tells its pictures
from held-out ones of the other classes best is taken. The limit comes from training pictures, each measured without its
own fold; it is judged on pictures held back and on pictures of other things, which decide nothing. Where pictures must
set the limit that are to judge it, each is judged by the limit that the others set (`beyond`).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from headstart.core.types import OodDetector, Score
from headstart.statistics.intervals import area_interval
from headstart.uncertainty import conformal, ood_detection

FAMILIAR = 0.99  # of known pictures that are to be answered
HIDDEN = 5  # classes that are hidden in turn, the largest
FEWEST = 5  # pictures of a class that is hidden, and of the others that are held out


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Learnt:
    """Some of the training pictures, one of each cluster of near-duplicates.

    Attributes:
        rows: (M,) int64.
        x: (M, D) float32 what the head reads.
        y: (M,) int64 classes.
        fold: (M,) int64, 0..K-1.
    """

    rows: np.ndarray
    x: np.ndarray
    y: np.ndarray
    fold: np.ndarray


def measure(
    learnt: Learnt, names: tuple[str, ...], apart: np.ndarray | None = None
) -> tuple[OodDetector | None, list[Score], np.ndarray]:
    """The measure, and how well it tells pictures of hidden classes.

    Args:
        learnt: At most `headstart.uncertainty.ood_detection.MOST` pictures.
        names: C class names.
        apart: (H, D) features of pictures that were held back, where a trunk was trained: to such a trunk its own
            training pictures look familiar in every fold, so these set the limit instead.

    Returns:
        The measure, None where there are too few pictures; the scores; and the distances that set the limit.
    """
    if (
        len(learnt.y) < ood_detection.LEAST
        or len(np.unique(learnt.fold)) < 2
        or (apart is not None and len(apart) < ood_detection.LEAST)
    ):
        return None, [], np.empty(0)
    hidden = {method: _hidden(learnt, method, names) for method in ood_detection.METHODS}
    tried = tuple(_mean(method, found) for method, found in hidden.items())
    best = max(tried, key=lambda score: round(score.value, 6) if score.n else 0.0).subject
    arrays, k = ood_detection.fit(learnt.x, learnt.y, best)
    far = held_out(learnt, best) if apart is None else ood_detection.distances(arrays, k, apart)
    known = np.sort(far).astype(np.float32)
    at = min(conformal.rank(len(known), FAMILIAR), len(known))
    made = OodDetector(
        method=best,
        neighbour=k,
        limit=float(known[at - 1]),
        familiar=at / (len(known) + 1),
        arrays=arrays | {"known": known},
        tried=tried,
    )
    return made, hidden[best], far


def beyond(far: np.ndarray) -> np.ndarray:
    """(K,) bool, whether each picture is strange by the limit that all others set, from distances (K,)."""
    known, n = np.asarray(far, np.float32), len(far) - 1
    at = min(conformal.rank(n, FAMILIAR), n)
    return np.asarray(known > np.sort(known)[at - 1]) if n > 0 else np.zeros(len(far), bool)


def held_out(learnt: Learnt, method: str) -> np.ndarray:
    """(M,) distances of training pictures, each from those of the other folds."""
    found = np.empty(len(learnt.y))
    for one in np.unique(learnt.fold):
        inside = learnt.fold == one
        arrays, k = ood_detection.fit(learnt.x[~inside], learnt.y[~inside], method)
        found[inside] = ood_detection.distances(arrays, k, learnt.x[inside])
    return found


def _hidden(learnt: Learnt, method: str, names: tuple[str, ...]) -> list[Score]:
    """How well each class is told when the measure knows the others alone."""
    counts, first = np.bincount(learnt.y, minlength=len(names)), learnt.fold == learnt.fold.min()
    found = []
    for c in sorted(np.argsort(-counts, kind="stable")[:HIDDEN].tolist()):
        of_class = learnt.y == c
        inside, known = ~of_class & ~first, ~of_class & first
        if min(int(of_class.sum()), int(known.sum())) < FEWEST or int(inside.sum()) < ood_detection.LEAST // 2:
            continue
        arrays, k = ood_detection.fit(learnt.x[inside], learnt.y[inside], method)
        near, far = (ood_detection.distances(arrays, k, learnt.x[which]) for which in (known, of_class))
        found.append(area(near, far, split="train", subject=f"hidden class {names[c]}"))
    return found


def _mean(method: str, of: list[Score]) -> Score:
    ends = [[score.value, score.low, score.high] for score in of] or [[np.nan] * 3]
    value, low, high = np.mean(ends, axis=0).tolist()
    n = sum(score.n for score in of)
    return Score(split="train", name="novelty_auc", value=value, low=low, high=high, n=n, subject=method, method="mean")


def area(near: np.ndarray, far: np.ndarray, *, split: str, subject: str) -> Score:
    """How often a foreign picture lies further away than a known one, ties counted half (the area under the ROC curve).

    Args:
        near: (K,) distances of known pictures.
        far: (F,) distances of foreign ones.
        split: Of the known ones.
        subject: What the foreign ones show.
    """
    ordered = np.sort(near)
    below, upto = (np.searchsorted(ordered, far, side) for side in ("left", "right"))
    found = area_interval(float((below + upto).mean() / (2 * len(near))), len(far), len(near))
    return Score(
        split=split,
        name="novelty_auc",
        value=found.value,
        low=found.low,
        high=found.high,
        n=len(near) + len(far),
        subject=subject,
        method="newcombe",
    )
