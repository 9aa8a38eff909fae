"""What more pictures would bring: the learning curve carried on, with a band.

The error falls as a power of the number of pictures (Cortes 1993, Hestness 2017), on each stretch of the curve by
another one: beyond the last point its exponent is taken to be between `SLOWEST` and `FASTEST` times that of the latest
points, as in the piecewise power law of Jain (2023). Few points say little of an exponent, so it is drawn towards
`USUAL`. `python -m benchmarks.learning_curve` tests the band on real pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.types import CurvePoint, Dataset
from headstart.statistics.intervals import Interval, Z

LATEST = 9  # times fewer pictures than the last point: points from there on tell the exponent
USUAL, SPREAD = 0.35, 0.35  # of exponents, before any point is looked at: mean and standard deviation
SLOWEST, FASTEST, MOST = 0.25, 1.8, 1.3  # the last is the largest exponent
SHARED = 0.8  # of the variance of two points, for the same pictures judge them
BAND = 0.9
FURTHEST = 4  # times as many pictures: beyond nothing is said
TESTED = ("classification", "multilabel")  # tasks whose band held on real pictures: of others none is given
LEAST = 20  # pictures a class: below the curve is too steep to be carried on
_DRAWS = 4_000
_LEAST_ERROR, _MOST_DOUBT, _FLOOR, _MOST_LOG = 1e-3, 0.7, 0.003, 30.0
_ROUND = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
_QUANTILES = (0.5, (1 - BAND) / 2, (1 + BAND) / 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Futures:
    """How the curve may go on after its last point: (`_DRAWS`,) logarithms of the error there, and exponents."""

    n_train: int
    log_errors: np.ndarray
    exponents: np.ndarray


def list_latest(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The points that tell how a curve goes on, in order."""
    points = sorted((p for p in curve if np.isfinite(p.score.value)), key=lambda p: p.n_train)
    return [p for p in points if LATEST * p.n_train >= points[-1].n_train]


def forecast_score(curve: Sequence[CurvePoint], n_train: int, n_classes: float = 1) -> Interval | None:
    """The score with `n_train` pictures to learn from, median and `BAND`; None where nothing can be said.

    The band is of what is measured on many new pictures.
    """
    futures = _draw_futures(curve, n_classes)
    if futures is None or not futures.n_train < n_train <= FURTHEST * futures.n_train:
        return None
    later = np.exp(futures.log_errors - futures.exponents * np.log(n_train / futures.n_train))
    return Interval(*np.quantile(1 - later, _QUANTILES).tolist())


def list_forecasts(curve: Sequence[CurvePoint], n_classes: float = 1) -> dict[int, Interval]:
    """Scores with up to `FURTHEST` times as many pictures as the last point, by their number; empty where unknown."""
    sizes = np.rint(np.geomspace(1, FURTHEST, 5)[1:] * max((p.n_train for p in curve), default=0)).astype(int).tolist()
    bands = {size: forecast_score(curve, size, n_classes) for size in sizes}
    return {size: band for size, band in bands.items() if band}


def forecast_pictures(curve: Sequence[CurvePoint], score: float, n_classes: float = 1) -> Interval | None:
    """The pictures to learn from until a score is reached, median and `BAND`: where `forecast_score` has its ends.

    Ends are infinite beyond `FURTHEST` times the last point; None where nothing can be said, not even a lower end.
    """
    futures = _draw_futures(curve, n_classes)
    if futures is None:
        return None
    error = np.log(max(1 - score, _LEAST_ERROR))
    steps = (futures.log_errors - error) / np.maximum(futures.exponents, 1e-9)
    ends = futures.n_train * np.exp(np.quantile(np.clip(steps, -_MOST_LOG, _MOST_LOG), _QUANTILES))
    ends[ends > FURTHEST * futures.n_train] = np.inf
    return Interval(*ends.tolist()) if np.isfinite(ends[1]) else None


def list_targets(curve: Sequence[CurvePoint], labelled: int, n_classes: float = 1) -> dict[float, Interval | None]:
    """By the round scores that are next, how many more pictures than the `labelled` ones they take.

    An end is infinite beyond `FURTHEST` times the last point. The first score that not even the lower end reaches
    there has None, and is the last. Empty where nothing can be said.
    """
    targets = dict[float, Interval | None]()
    if not list_forecasts(curve, n_classes):
        return targets
    for target in _ROUND:
        pictures = forecast_pictures(curve, target, n_classes)
        if pictures is None or pictures.value > labelled:
            targets[target] = pictures and Interval(*(max(end - labelled, 0.0) for end in pictures))
        if pictures is None:
            break
    return targets


def format_more(pictures: Interval | None) -> str:
    """`about 910 to 1,600 more`, for a value of `list_targets`."""
    if pictures is None:
        return f"more than {FURTHEST} times as many pictures"
    value, low, high = (f"{float(f'{end:.2g}'):,.0f}" for end in pictures)
    if np.isfinite(pictures.high):
        return f"about {low} to {high} more" if pictures.low else f"at most {high} more"
    if not pictures.low:
        return "a number of pictures that cannot be said"
    return f"at least {low} more" + (f", rather {value}" if np.isfinite(pictures.value) else "")


def count_classes(data: Dataset) -> float:
    """The `n_classes` of a data set; infinite, so that nothing is said, where its task is not `TESTED`."""
    return len(data.output_names) if data.task in TESTED else np.inf


def format_untold(n_classes: float) -> str:
    """Why nothing is forecast."""
    return f"below {LEAST} pictures a class" if np.isfinite(n_classes) else "of grades or numbers"


def _draw_futures(curve: Sequence[CurvePoint], n_classes: float) -> _Futures | None:
    """None where the points are too few, or their pictures."""
    points = list_latest(curve)
    if len(points) < 2 or points[-1].n_train < LEAST * n_classes:
        return None
    rng = np.random.default_rng(0)
    values = np.array([point.score.value for point in points])
    errors = np.maximum(1 - values, _LEAST_ERROR)
    deviations = np.array([point.score.high - point.score.low for point in points]) / (2 * Z)
    doubt = np.minimum(deviations / errors, _MOST_DOUBT)
    own, common = rng.normal(size=(_DRAWS, len(points))), rng.normal(size=(_DRAWS, 1))
    log_errors = np.log(errors) + doubt * (np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own)
    sizes = np.log([point.n_train for point in points])
    weight = 1 / ((1 - SHARED) * doubt**2 + _FLOOR)
    centred = sizes - (weight * sizes).sum() / weight.sum()
    precision, prior = (weight * centred**2).sum(), 1 / SPREAD**2
    exponents = (-(log_errors * weight * centred).sum(axis=1) + prior * USUAL) / (precision + prior)
    exponents += rng.normal(size=_DRAWS) * 0.5 / np.sqrt(precision + prior)
    exponents = np.clip(exponents, 0, MOST) * rng.uniform(SLOWEST, FASTEST, _DRAWS)
    return _Futures(n_train=points[-1].n_train, log_errors=log_errors[:, -1], exponents=exponents)
