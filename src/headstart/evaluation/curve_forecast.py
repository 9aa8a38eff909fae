"""What more pictures would bring: the learning curve carried on, with a band.

The error falls as a power of the number of pictures (Cortes 1993, Hestness 2017), on each stretch of the curve by
another one: beyond the last point its exponent is taken to be between `SLOWEST` and `FASTEST` times that of the latest
points, as in the piecewise power law of Jain (2023). Few points say little of an exponent, so it is drawn towards
`USUAL`. `python -m benchmarks.learning_curve` tests the band on real pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.types import CurvePoint
from headstart.statistics.intervals import Interval, Z
from headstart.statistics.losses import is_gain

LATEST = 4  # points that tell the exponent
USUAL, SPREAD = 0.35, 0.35  # of exponents, before any point is looked at: mean and standard deviation
SLOWEST, FASTEST, MOST = 0.2, 1.5, 1.3  # the last is the largest exponent
SHARED = 0.8  # of the variance of two points, for the same pictures judge them
BAND = 0.9
FURTHEST = 4  # times as many pictures: beyond nothing is said
LEAST = 20  # pictures a class: below the curve is too steep to be carried on
_DRAWS = 4_000
_LEAST_ERROR, _MOST_DOUBT, _FLOOR = 1e-3, 0.7, 0.003


def forecast_score(curve: Sequence[CurvePoint], n_train: int, n_classes: int = 1) -> Interval | None:
    """The score with `n_train` pictures to learn from, median and `BAND`; None where nothing can be said.

    Scores of which more is better are at most 1. The band is of what is measured on many new pictures.
    """
    points = sorted((p for p in curve if np.isfinite(p.score.value)), key=lambda p: p.n_train)[-LATEST:]
    if len(points) < 2 or not LEAST * n_classes <= points[-1].n_train < n_train <= FURTHEST * points[-1].n_train:
        return None
    gain, rng = is_gain(points[0].score.name), np.random.default_rng(0)
    values = np.array([point.score.value for point in points])
    errors = np.maximum(1 - values if gain else values, _LEAST_ERROR)
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
    later = np.exp(log_errors[:, -1] - exponents * (np.log(n_train) - sizes[-1]))
    tail = (1 - BAND) / 2
    low, value, high = np.quantile(1 - later if gain else later, [tail, 0.5, 1 - tail])
    return Interval(float(value), float(low), float(high))
