"""Labels that held-out predictions contradict, and how many of them are likely to be wrong.

A list of such labels is never empty: a model's own mistakes fill it (Northcutt 2021). The two fall differently: a wrong
label hits a picture of any certainty, a model's mistake one that it hedges on. So two numbers are fitted to the labels
by maximum likelihood: a temperature, and the share of wrong labels, uniform over pictures and other classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headstart.evaluation.held_out_scores import JudgedSplit
from headstart.statistics.sampling import draw_rows
from headstart.uncertainty.temperature import MOST, apply_temperature

SURE = 0.75  # a rival class this probable is enough to suspect a label
SHARES = np.concatenate([[0.0], np.geomspace(0.0005, 0.4, 60)])  # (E,) wrong labels among all
TEMPERATURES = np.geomspace(0.2, 5.0, 41)  # (T,) beside the one that the probabilities carry
_DROP = 1.92  # of the log likelihood: half the 95 % point of chi-squared with one degree of freedom


class SuspectLabels(NamedTuple):
    """Rows (P,) int64, the likeliest wrong first, the classes (P,) int64 that are likelier than their labels, with the
    held-out probabilities (P,) of these, and how many are wrong: expected, low and high (95 %)."""

    rows: np.ndarray
    rivals: np.ndarray
    rival_probabilities: np.ndarray
    wrong: tuple[float, ...]


def find_suspect_labels(judged_splits: dict[str, JudgedSplit], most: int = 200) -> SuspectLabels:
    """Find labels than which another class is more probable, and at least as probable as for pictures that carry it.

    A rival as probable as `SURE` is enough, whatever is usual.
    """
    parts = [part for split, part in judged_splits.items() if split != "train"]
    rivals = np.concatenate([_find_rivals(part.p, part.y) for part in parts])
    rows, y = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "y"))
    chosen = np.flatnonzero(rivals >= 0)
    if not len(chosen):
        return SuspectLabels(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), ())
    p = np.concatenate([part.p for part in parts]).astype(np.float64)
    some = draw_rows(len(y), MOST)
    fits = _fit_wrong_shares(_temper_labels(p[some], y[some]), p.shape[1])
    label_TP = _temper_labels(p[chosen], y[chosen])
    order = np.lexsort((rows[chosen], label_TP[fits[0][1]]))[:most]
    wrong = [_posterior(label_TP[t, order], share, p.shape[1]) for share, t in fits]
    spread = [1.96 * float(np.sqrt((each * (1 - each)).sum())) for each in wrong]  # of the number in this very list
    low = max(0.0, min(float(each.sum()) - by for each, by in zip(wrong, spread, strict=True)))
    high = min(float(len(order)), max(float(each.sum()) + by for each, by in zip(wrong, spread, strict=True)))
    at = chosen[order]
    likely = p[at, rivals[at]]
    return SuspectLabels(rows[at].astype(np.int64), rivals[at], likely, (float(wrong[0].sum()), low, high))


def _temper_labels(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(T, M) float64 probability of each label at each temperature."""
    return np.stack([apply_temperature(p, t)[np.arange(len(y)), y] for t in TEMPERATURES])


def _find_rivals(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(M,) int64 the class that beats the label, -1 where none does."""
    every = np.arange(len(y))
    label_probability = p[every, y]
    usual = np.array([label_probability[y == c].mean() if (y == c).any() else 1.0 for c in range(p.shape[1])])
    rivals = np.where(p >= np.minimum(usual, SURE), p, -1.0)
    rivals[every, y] = -1.0
    return np.where(rivals.max(axis=1) > label_probability, rivals.argmax(axis=1), -1)


def _fit_wrong_shares(label_TM: np.ndarray, classes: int) -> list[tuple[float, int]]:
    """Shares of wrong labels that the labels bear out, with their best temperature's position, the likeliest first."""
    likelihood_ET = np.array(
        [np.log(np.maximum(_mix(label_TM, share, classes), 1e-300)).sum(axis=1) for share in SHARES]
    )
    best_T, height = likelihood_ET.argmax(axis=1), likelihood_ET.max(axis=1)
    order = np.argsort(-height, kind="stable")
    return [(float(SHARES[e]), int(best_T[e])) for e in order if height[e] >= height.max() - _DROP]


def _mix(label_probability: np.ndarray, share: float, classes: int) -> np.ndarray:
    """How probable a label is: that of its class, or a wrong one that may be any other."""
    mixed: np.ndarray = (1 - share) * label_probability + share * (1 - label_probability) / (classes - 1)
    return mixed


def _posterior(label_probability: np.ndarray, share: float, classes: int) -> np.ndarray:
    """(P,) how probable it is that each label is wrong."""
    wrong = share * (1 - label_probability) / (classes - 1)
    posterior: np.ndarray = wrong / np.maximum(_mix(label_probability, share, classes), 1e-300)
    return posterior
