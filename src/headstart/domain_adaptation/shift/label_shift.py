"""Shares of the classes among pictures without labels, from a model's answers, where only these shares differ.

Label shift: pictures of one class look alike in both domains (Saerens 2002; Lipton 2018). Two estimates: BBSE solves
what mixture of the source's answers by class gives the target's (Lipton 2018, with probabilities for answers); EM is
the maximum likelihood of the shares (Saerens 2002). That with the smaller error where shares are planted is taken.
Legend: M source and T target pictures, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from headstart.core.types import Score
from headstart.statistics.intervals import Interval, make_score

DRAWS = 199  # of the bootstrap, and of the test
PLANTED = 12  # draws of shares by which the estimates are compared
MOST = 2_000  # pictures of a side that count: chance then moves a share by 1 %, less than answers err
_STEPS, _TOLERANCE = 200, 1e-5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What a model says of pictures that it had not seen."""

    p: np.ndarray  # (M, C) float64
    y: np.ndarray  # (M,) int64; empty where nothing is known
    clusters: np.ndarray  # (M,) int64
    prior: np.ndarray | None = None  # (C,) float64 shares that the model takes the classes to have; None: those of `y`

    def take_rows(self, rows: np.ndarray) -> Answers:
        """The answers to some pictures."""
        y = self.y[rows] if len(self.y) else self.y
        return dataclasses.replace(self, p=self.p[rows], y=y, clusters=self.clusters[rows])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelShift:
    """Estimated shares."""

    method: str  # `BBSE` or `EM`
    source: np.ndarray  # (C,) float64
    shares: np.ndarray  # (C,) float64 of the target
    scores: tuple[Score, ...]  # of each class
    distance: float  # total variation: the part of the pictures that would have to change class
    p: float  # of at least that where the shares are the source's
    errors: Mapping[str, float]  # of each method, mean total variation from planted shares


def estimate_by_bbse(source: Answers, p_target: np.ndarray) -> np.ndarray:
    """(C,) float64 shares by black box shift estimation, none below 0."""
    from scipy.optimize import nnls

    prior = count_shares(source)
    present = np.flatnonzero(prior)
    means = np.stack([source.p[source.y == c].mean(axis=0) for c in present], axis=1)  # (C, P) answers by class
    shares = np.zeros(len(prior))
    ridge = 1e-3 * np.eye(len(present))  # towards the source's shares, where answers do not tell classes apart
    system = np.concatenate([means, ridge])
    shares[present] = nnls(system, np.concatenate([p_target.mean(axis=0), 1e-3 * prior[present]]))[0]
    return np.asarray(shares / shares.sum())


def estimate_by_em(source: Answers, p_target: np.ndarray) -> np.ndarray:
    """(C,) float64 shares by expectation maximisation."""
    shares = count_shares(source)
    return maximise_likelihood(p_target, shares, shares if source.prior is None else source.prior)


def maximise_likelihood(p_TC: np.ndarray, of_source: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """(C,) float64 shares by expectation maximisation, from those of the source (C,) on.

    Answers (T, C) are of a head that took classes to have the shares `prior` (C,): other ones where it weighs them.
    """
    ratio, shares = np.where(prior > 0, p_TC / np.where(prior > 0, prior, 1.0), 0.0), of_source
    for _ in range(_STEPS):
        joint = ratio * shares
        joint /= np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)
        before, shares = shares, joint.mean(axis=0)
        if np.abs(shares - before).sum() < _TOLERANCE:
            break
    return np.asarray(shares)


ESTIMATES: Mapping[str, Callable[[Answers, np.ndarray], np.ndarray]] = {"EM": estimate_by_em, "BBSE": estimate_by_bbse}


def count_shares(source: Answers) -> np.ndarray:
    """(C,) float64 shares of the classes among labelled pictures."""
    return np.bincount(source.y, minlength=source.p.shape[1]) / len(source.y)


def estimate_label_shift(source: Answers, target: Answers, names: tuple[str, ...], seed: int) -> LabelShift:
    """Shares of the classes in the target, with bootstrap intervals and a test of whether they differ.

    Of each side at most `MOST` pictures count, whole clusters that are drawn once.
    """
    source, target = (side.take_rows(_draw_side(side.clusters, seed)) for side in (source, target))
    errors = _back_test(source, len(target.p), seed)
    method = min(errors, key=lambda name: errors[name])  # the first of equals: EM
    estimate, prior = ESTIMATES[method], count_shares(source)
    shares = estimate(source, target.p)
    drawn, chance = _resample(source, target, method, seed)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    distance = _measure_distance(shares, prior)
    scores = tuple(
        make_score(
            "class_share",
            "target",
            Interval(float(value), float(min(value, low[c])), float(max(value, high[c]))),
            len(target.p),
            subject=name,
            method=f"{method}, bootstrap",
        )
        for c, (name, value) in enumerate(zip(names, shares, strict=True))
    )
    return LabelShift(
        method=method,
        source=prior,
        shares=shares,
        scores=scores,
        distance=distance,
        p=float((1 + np.count_nonzero(chance >= distance - 1e-12)) / (len(chance) + 1)),
        errors=errors,
    )


def _measure_distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).sum() / 2)


def _back_test(source: Answers, n_target: int, seed: int) -> dict[str, float]:
    """Mean total variation of each estimate from shares that were planted into one half of the source."""
    rng, errors = np.random.default_rng([seed, 93_000]), {name: list[float]() for name in ESTIMATES}
    for _ in range(PLANTED):
        first, second = split_clusters(source.clusters, rng)
        reference, shifted = source.take_rows(first), source.take_rows(second)
        rows, _ = plant_shares(shifted.y, source.p.shape[1], n_target, rng)
        truth = np.bincount(shifted.y[rows], minlength=source.p.shape[1]) / len(rows)
        for name, estimate in ESTIMATES.items():
            errors[name].append(_measure_distance(estimate(reference, shifted.p[rows]), truth))
    return {name: float(np.mean(each)) for name, each in errors.items()}


def split_clusters(clusters: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions of two halves, each cluster in one of them."""
    labels, places = np.unique(clusters, return_inverse=True)
    is_first = rng.permutation(len(labels)) < len(labels) / 2
    return np.flatnonzero(is_first[places]), np.flatnonzero(~is_first[places])


def plant_shares(y: np.ndarray, n_classes: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(count,) positions drawn with shares (C,) of the classes that any shares are as likely as others."""
    present = np.bincount(y, minlength=n_classes) > 0
    shares = np.zeros(n_classes)
    shares[present] = rng.dirichlet(np.ones(int(present.sum())))
    weights = shares[y] / np.bincount(y, minlength=n_classes)[y]
    return rng.choice(len(y), count, p=weights / weights.sum()), shares


def _resample(source: Answers, target: Answers, method: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(R, C) estimates of resampled sides, and (R,) distances where the target is drawn from the source."""
    rng, estimate, drawn, chance = np.random.default_rng([seed, 94_000]), ESTIMATES[method], [], []
    for _ in range(DRAWS):
        reference = source.take_rows(draw_clusters(source.clusters, rng))
        drawn.append(estimate(reference, target.p[draw_clusters(target.clusters, rng)]))
        same = draw_alike(source.clusters, target.clusters, rng)
        chance.append(_measure_distance(estimate(reference, source.p[same]), count_shares(reference)))
    return np.array(drawn), np.array(chance)


def _draw_side(clusters: np.ndarray, seed: int) -> np.ndarray:
    """(B,) int64 ascending positions of whole clusters that hold `MOST` pictures at most, of one cluster at least."""
    if len(clusters) <= MOST:
        return np.arange(len(clusters))
    places, sizes = np.unique(clusters, return_inverse=True, return_counts=True)[1:]
    order = np.random.default_rng([seed, 90_000]).permutation(len(sizes))
    count = max(1, int(np.count_nonzero(np.cumsum(sizes[order]) <= MOST)))
    return np.flatnonzero(np.isin(places, order[:count]))


def draw_clusters(clusters: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(B,) positions of whole clusters drawn with replacement, as many as there are."""
    places, sizes = np.unique(clusters, return_inverse=True, return_counts=True)[1:]
    if len(sizes) == len(clusters):
        return rng.integers(0, len(clusters), len(clusters))
    order, starts = np.argsort(places, kind="stable"), np.cumsum(sizes) - sizes
    return np.concatenate([order[starts[c] : starts[c] + sizes[c]] for c in rng.integers(0, len(sizes), len(sizes))])


def draw_alike(clusters: np.ndarray, like: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T,) positions in `clusters` (M,), drawn so that pictures are as alike as those of the clusters `like` (T,).

    For each of these a picture is drawn, and as many as it holds from the pictures that look like this one.
    """
    places, sizes = np.unique(clusters, return_inverse=True, return_counts=True)[1:]
    order, starts = np.argsort(places, kind="stable"), np.cumsum(sizes) - sizes
    labels, of_like = np.unique(like, return_inverse=True)
    picked = places[rng.integers(0, len(clusters), len(labels))][of_like]
    return np.asarray(order[starts[picked] + rng.integers(0, sizes[picked])])
