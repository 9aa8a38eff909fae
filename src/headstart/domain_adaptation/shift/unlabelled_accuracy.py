"""Accuracy on pictures without labels, from how sure a model is of them, with a band that back-tests have widened.

Average thresholded confidence (ATC, Garg 2022): the share of answers as sure as the source's right ones are many.
Difference of confidences (DoC, Guillory 2021): the source's accuracy less what the mean confidence lost. Neither is
right under every shift. So shifts are planted into held-out source pictures, and the errors there widen the interval.
Each takes something else for granted, and nothing tells which of the two may: one band covers both.
Legend: M source and T target pictures, D columns, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core import registry
from headstart.core.types import FittedHead, Head, Score
from headstart.domain_adaptation.shift.label_shift import Answers, draw_clusters, plant_shares, split_clusters
from headstart.heads import ensemble
from headstart.heads.cross_validation import balanced_class_weights, fit_and_predict, loosen_head, resize_params
from headstart.heads.design_matrix import FROM_NAMES_SUFFIX
from headstart.statistics.intervals import Interval, make_score
from headstart.uncertainty.temperature import apply_temperature, fit_temperature

MOST = 2_000  # source pictures that back-tests use
DRAWS = 199  # of the bootstrap
HALVES = 2  # draws of who learns and who is shifted
PARTS = (0.5, 1.0)  # of the way to this target
BEYOND = (0.5, 1.0, 2.0)  # of the distance between the domains
_DIRECTIONS, _SHARES = 3, 3
UNTESTED = "no back-test: the network has learnt the pictures that it would be tried on"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackTest:
    """How far an estimate was off where the truth was known."""

    method: str
    shift: str  # what was planted
    estimate: float
    truth: float
    source: float  # accuracy without it


def estimate_by_atc(source: Answers, p_target: np.ndarray) -> float:
    """Average thresholded confidence, by negative entropy."""
    right = source.p.argmax(axis=1) == source.y
    sure = np.sort(_measure_certainty(source.p))
    limit = sure[min(len(sure) - int(right.sum()), len(sure) - 1)] if right.any() else np.inf
    return float((_measure_certainty(p_target) >= limit).mean())


def estimate_by_doc(source: Answers, p_target: np.ndarray) -> float:
    """Difference of confidences, between 0 and 1."""
    right = (source.p.argmax(axis=1) == source.y).mean()
    return float(np.clip(right - source.p.max(axis=1).mean() + p_target.max(axis=1).mean(), 0, 1))


ESTIMATES: Mapping[str, Callable[[Answers, np.ndarray], float]] = {"ATC": estimate_by_atc, "DoC": estimate_by_doc}


def _measure_certainty(p: np.ndarray) -> np.ndarray:
    return np.asarray((p * np.log(np.maximum(p, 1e-12))).sum(axis=1))


def estimate_accuracy(
    source: Answers,
    target: Answers,
    x_source: np.ndarray,
    x_target: np.ndarray,
    fitted: FittedHead,
    seed: int,
    balanced: bool = False,
) -> tuple[Score, ...]:
    """Estimates of the accuracy on the target, the one with the smaller back-tested error first.

    See `back_test` on the other arguments. All have the same interval, which covers that of each. Where the target's
    labels are known to the caller alone, it holds the truth if the accuracy of `target.p` lies in it; `target.y` is not
    looked at.
    """
    rows = choose_back_tested(len(source.y), seed)
    tests = tuple(back_test(source.take_rows(rows), x_source, x_target, fitted, len(source.y), seed, balanced))
    scores = [_score_estimate(name, source, target, tests, seed) for name in ESTIMATES]
    low, high = min(score.low for score in scores), max(score.high for score in scores)
    errors = {name: np.mean([abs(t.estimate - t.truth) for t in tests if t.method == name]) for name in ESTIMATES}
    ordered = sorted(scores, key=lambda score: float(errors[score.subject]))
    return tuple(dataclasses.replace(score, low=low, high=high) for score in ordered)


def estimate_untested(source: Answers, target: Answers) -> tuple[Score, ...]:
    """Estimates for a trained network, whose intervals claim nothing.

    Its features know the source pictures: a new head on them is right whatever is planted.
    """
    return tuple(
        make_score(
            "accuracy",
            "target",
            Interval(estimate(source, target.p), 0.0, 1.0),
            len(target.p),
            subject=name,
            method=UNTESTED,
        )
        for name, estimate in ESTIMATES.items()
    )


def _score_estimate(name: str, source: Answers, target: Answers, tests: tuple[BackTest, ...], seed: int) -> Score:
    """An estimate, its bootstrap interval widened by the largest error of back-tests to either side."""
    rng, estimate = np.random.default_rng([seed, 95_000]), ESTIMATES[name]
    value, drawn = estimate(source, target.p), []
    for _ in range(DRAWS):
        reference = source.take_rows(draw_clusters(source.clusters, rng))
        drawn.append(estimate(reference, target.p[draw_clusters(target.clusters, rng)]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    off = np.array([test.truth - test.estimate for test in tests if test.method == name])
    down, up = max(0.0, -float(off.min())), max(0.0, float(off.max()))
    ends = value - np.hypot(value - min(low, value), down), value + np.hypot(max(high, value) - value, up)
    interval = Interval(value, float(max(0.0, ends[0])), float(min(1.0, ends[1])))
    errors = np.abs(off)
    method = f"bootstrap; in {len(off)} back-tests off by {errors.mean():.3f} on average, {errors.max():.3f} at most"
    return make_score("accuracy", "target", interval, len(target.p), subject=name, method=method)


def choose_back_tested(count: int, seed: int) -> np.ndarray:
    """(B,) int64 ascending, at most `MOST` positions of `count` source pictures."""
    return np.sort(np.random.default_rng([seed, 96_000]).permutation(count)[:MOST])


def back_test(
    source: Answers,
    x_source: np.ndarray,
    x_target: np.ndarray,
    fitted: FittedHead,
    n_fitted: int,
    seed: int,
    balanced: bool = False,
) -> Iterator[BackTest]:
    """Estimates for shifts that are planted into pictures that the head had not seen: a new one of half of them.

    `x_source` (B, D) is what the head reads of the pictures of `source`, `x_target` (T, D) of the target, of which mean
    and spread count; `fitted` learnt from `n_fitted` pictures, all classes alike where it is `balanced`. The trunk must
    not have learnt from these pictures.
    """
    rng = np.random.default_rng([seed, 98_000])
    for _ in range(HALVES):
        learnt, others = split_clusters(source.clusters, rng)
        first, second = split_clusters(source.clusters[others], rng)
        parts = learnt, others[first], others[second]
        yield from _test_shifts(source, x_source, x_target, parts, fitted, n_fitted, balanced, rng)


def _test_shifts(
    source: Answers,
    x: np.ndarray,
    x_target: np.ndarray,
    parts: tuple[np.ndarray, np.ndarray, np.ndarray],
    fitted: FittedHead,
    n_fitted: int,
    balanced: bool,
    rng: np.random.Generator,
) -> Iterator[BackTest]:
    """Learn from one part, know the second, and plant shifts into the third."""
    learnt, reference, shifted = parts
    shifts = list(_plant_shifts(x[shifted], source.y[shifted], x_target, source.p.shape[1], rng))
    pictures = np.concatenate([x[learnt], x[reference], *(moved for _, moved, _ in shifts)])
    y = np.concatenate([source.y[learnt], np.zeros(len(pictures) - len(learnt), np.int64)])
    at_learnt, at_asked = np.arange(len(learnt)), np.arange(len(learnt), len(pictures))
    head = _load_head(fitted)
    params = resize_params(fitted.params, len(learnt), n_fitted)
    n_classes = source.p.shape[1]
    weight = balanced_class_weights(source.y[learnt], n_classes) if balanced else None
    shared: dict[str, Any] = {"n_classes": n_classes, "class_weight": weight, "seed": 0}
    p = fit_and_predict(head, pictures, y, at_learnt, at_asked, grid=[params], **shared)[0]
    p_reference, *p_moved = np.split(p, np.cumsum([len(reference), *(len(moved) for _, moved, _ in shifts[:-1])]))
    factor = fit_temperature(p_reference, source.y[reference])
    judge = Answers(
        p=apply_temperature(p_reference, factor).astype(np.float64),
        y=source.y[reference],
        clusters=source.clusters[reference],
    )
    right = float((judge.p.argmax(axis=1) == judge.y).mean())
    for (shift, _, labels), answered in zip(shifts, p_moved, strict=True):
        tempered = apply_temperature(answered, factor).astype(np.float64)
        truth = float((tempered.argmax(axis=1) == labels).mean())
        for name, estimate in ESTIMATES.items():
            yield BackTest(method=name, shift=shift, estimate=estimate(judge, tempered), truth=truth, source=right)


def _load_head(fitted: FittedHead) -> Head:
    if fitted.head == ensemble.NAME:
        return loosen_head(ensemble.Ensemble())
    return loosen_head(registry.load_plugin("heads", fitted.head.removesuffix(FROM_NAMES_SUFFIX)))


def _plant_shifts(
    x: np.ndarray, y: np.ndarray, x_target: np.ndarray, n_classes: int, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Names, features (B, D) and labels (B,) of pictures as another domain may show them, as far off as this target."""
    centre, spread = x.mean(axis=0), _measure_spread(x)
    moved = (x_target.mean(axis=0) - centre) / spread  # of each column, in standard deviations
    distance, matched = float(np.sqrt((moved**2).mean())), (x - centre) / spread * _measure_spread(x_target)
    yield "none", x, y
    for part in BEYOND:
        noise = rng.standard_normal(x.shape).astype(np.float32)
        yield f"noise, {part:g} of the distance", x + part * distance * spread * noise, y
    for part in PARTS:  # as this target shows the mean and spread of each column
        mapped = (1 - part) * x + part * (matched + x_target.mean(axis=0))
        yield f"{part:g} of the way to the target", mapped.astype(np.float32), y
    for part in BEYOND:
        yield (
            f"each class moved by {part:g} of the distance",
            x + part * _move_classes(x, y, distance, n_classes, rng),
            y,
        )
    axes = np.linalg.svd((x - centre) / spread, full_matrices=False)[0][:, :_DIRECTIONS].T
    for place, axis in enumerate(axes):
        for side, rows in (("low", axis <= np.median(axis)), ("high", axis > np.median(axis))):
            if rows.any():
                yield f"the {side} half of direction {place}", x[rows], y[rows]
    for draw in range(_SHARES):
        rows, _ = plant_shares(y, n_classes, len(y), rng)
        yield f"class shares {draw}", x[rows], y[rows]


def _measure_spread(x: np.ndarray) -> np.ndarray:
    """(D,) standard deviations; a column that hardly varies counts as a tenth of the mean one."""
    deviation = x.std(axis=0)
    return np.asarray(np.maximum(deviation, max(0.1 * float(deviation.mean()), 1e-6)))


def _move_classes(
    x: np.ndarray, y: np.ndarray, distance: float, n_classes: int, rng: np.random.Generator
) -> np.ndarray:
    """(B, D) float32: a move of each class in a direction in which two pictures differ, `distance` long."""
    spread = _measure_spread(x)
    between = (x[rng.integers(0, len(x), n_classes)] - x[rng.integers(0, len(x), n_classes)]) / spread
    length = np.sqrt((between**2).mean(axis=1, keepdims=True))
    return np.asarray((between / np.maximum(length, 1e-6) * distance * spread)[y], np.float32)
