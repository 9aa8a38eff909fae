"""How many labels are likely to be wrong, and which, from held-out probabilities.

Confident learning (Northcutt 2021) names every label that a sure model contradicts, so that a model's own mistakes fill
its list. The two fall differently: a wrong label hits a picture of any certainty, a model's mistake one that it hedges
on. So the labels' likelihood is fitted: a temperature and a share of every doubt that is spread over all classes tell
how far the model is to be believed, the rest is the share of wrong labels, uniform over pictures and other classes.
Candidates are named only where that share is shown to be above 0, and as many as labels are expected to be wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headstart.statistics.sampling import draw_rows

SHARES = np.concatenate([[0.0], np.geomspace(0.0005, 0.4, 60)])  # (E,) of wrong labels
TEMPERATURES, SPREADS = np.geomspace(0.2, 5.0, 25), (0.0, 0.25, 0.5, 1.0)
MOST = 20_000  # labels that tell the share: one number needs no more
# No model is surer than n pictures without an error could show: 95 % of 3 / n (the rule of three, Hanley 1983). A few
# pictures far from all others, of which a linear model is absurdly sure, say nothing of labels then.
_RULE_OF_THREE = 3
_DROP = 1.92  # of the log likelihood: half the 95 % point of chi-squared with one degree of freedom


class LabelErrors(NamedTuple):
    """Candidates, the likeliest wrong first, and how many labels are wrong.

    Attributes:
        places: (P,) int64 of the candidates among those judged; empty where no wrong label is shown.
        likelier: (P,) int64 the classes that are likelier than their labels.
        wrong: Expected number of wrong labels among all, low and high (95 %).
        wrong_candidates: The same among the candidates; empty without any.
    """

    places: np.ndarray
    likelier: np.ndarray
    wrong: tuple[float, float, float]
    wrong_candidates: tuple[float, ...]


class _Fit(NamedTuple):
    """A share of wrong labels that the labels bear out, and how far the model is to be believed with it."""

    share: float
    temperature: float
    spread: float


def find_label_errors(p: np.ndarray, y: np.ndarray) -> LabelErrors:
    """Judge labels `y` (N,) int64 by held-out probabilities `p` (N, C)."""
    n, classes = p.shape
    if n == 0 or classes < 2:
        return LabelErrors(np.empty(0, np.int64), np.empty(0, np.int64), (0.0, 0.0, 0.0), ())
    some = draw_rows(n, MOST)
    fits = _fit_shares(p[some], y[some], own=_RULE_OF_THREE / n)
    shares = [fit.share for fit in fits]
    wrong = (n * shares[0], n * min(shares), n * max(shares))
    if min(shares) == 0:
        return LabelErrors(np.empty(0, np.int64), np.empty(0, np.int64), wrong, ())
    contradicted = np.flatnonzero(p.argmax(axis=1) != y)
    likeliest = _measure_posterior(p[contradicted], y[contradicted], fits[0], _RULE_OF_THREE / n)
    places = contradicted[np.lexsort((contradicted, -likeliest))[: round(wrong[0])]]
    posteriors = [_measure_posterior(p[places], y[places], fit, _RULE_OF_THREE / n) for fit in fits]
    return LabelErrors(places, p[places].argmax(axis=1), wrong, _count_wrong(posteriors))


def _count_wrong(posteriors: list[np.ndarray]) -> tuple[float, ...]:
    """How many of some candidates are wrong: expected, low and high, by the posteriors (P,) of each fit."""
    sums = [float(each.sum()) for each in posteriors]
    by = [1.96 * float(np.sqrt((each * (1 - each)).sum())) for each in posteriors]
    low = max(0.0, min(total - spread for total, spread in zip(sums, by, strict=True)))
    high = min(float(len(posteriors[0])), max(total + spread for total, spread in zip(sums, by, strict=True)))
    return sums[0], low, high


def _fit_shares(p: np.ndarray, y: np.ndarray, own: float) -> list[_Fit]:
    """The likeliest fit first, then one for every other share within the interval."""
    beliefs = [(temperature, spread) for temperature in TEMPERATURES.tolist() for spread in SPREADS]
    log_p = _log_probabilities(p)
    # in the order of `beliefs`
    label_BM = np.stack([label for t in TEMPERATURES.tolist() for label in _temper_labels(log_p, y, t, own)])
    wrong_BM = (1 - label_BM) / (p.shape[1] - 1)
    likelihood_EB = np.array(
        [np.log(np.maximum((1 - share) * label_BM + share * wrong_BM, 1e-300)).sum(axis=1) for share in SHARES]
    )
    best_B, height = likelihood_EB.argmax(axis=1), likelihood_EB.max(axis=1)
    order = np.argsort(-height, kind="stable")
    return [_Fit(float(SHARES[e]), *beliefs[best_B[e]]) for e in order if height[e] >= height.max() - _DROP]


def _log_probabilities(p: np.ndarray) -> np.ndarray:
    """(M, C) float64, of which none is infinite; the largest of each row is 0."""
    log_p = np.log(np.maximum(p, np.finfo(np.float32).tiny, dtype=np.float64))
    return np.asarray(log_p - log_p.max(axis=1, keepdims=True))


def _temper_labels(log_p: np.ndarray, y: np.ndarray, temperature: float, own: float) -> list[np.ndarray]:
    """(M,) float64 probability of each label at a temperature, for each of `SPREADS`."""
    sums, classes = np.exp(log_p / temperature).sum(axis=1), log_p.shape[1]
    label, doubt = np.exp(log_p[np.arange(len(y)), y] / temperature) / sums, 1 - 1 / sums
    spread_labels = [(1 - spread * doubt) * label + spread * doubt / classes for spread in SPREADS]
    return [(1 - own) * each + own * (1 - each) / (classes - 1) for each in spread_labels]


def _measure_posterior(p: np.ndarray, y: np.ndarray, fit: _Fit, own: float) -> np.ndarray:
    """(P,) how probable it is that each label is wrong."""
    label = _temper_labels(_log_probabilities(p), y, fit.temperature, own)[SPREADS.index(fit.spread)]
    wrong = fit.share * (1 - label) / (p.shape[1] - 1)
    posterior: np.ndarray = wrong / np.maximum((1 - fit.share) * label + wrong, 1e-300)
    return posterior
