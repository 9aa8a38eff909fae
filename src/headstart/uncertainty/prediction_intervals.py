"""Intervals that hold the true number as often as promised: the answer, give or take a quantile of held-out errors.

Out-of-fold absolute errors of the training pictures set the half width, as in CV+ (Barber 2021) with one width for all;
pictures held back measure the coverage and set nothing. Where none are held back, each fold is judged by the others.
"""

from __future__ import annotations

import math

import numpy as np

from headstart.core.types import Score
from headstart.statistics.intervals import make_score, mean_interval
from headstart.uncertainty import conformal
from headstart.uncertainty.coverage import CoveragePromise, HeldOutPredictions, format_percent, score_share

SCORE = "absolute_error"


def promise_intervals(predictions: HeldOutPredictions, coverage: float) -> CoveragePromise:
    """The half width (1,) that out-of-fold errors set; infinite where the pictures are too few for any promise."""
    n, needed = len(predictions.y), conformal.count_needed_pictures(coverage)
    half_width = np.array([conformal.conformal_quantile(_measure_errors(predictions), coverage)])
    guaranteed = conformal.cross_validation_guarantee(n, len(np.unique(predictions.fold)), coverage)
    why = (
        f"{n:,} out-of-fold training pictures set the width of the intervals, for {format_percent(coverage)} on "
        f"average; theory guarantees {format_percent(guaranteed)}, and that of the folds' models"
    )
    if n < needed:
        guaranteed = 1.0
        why = (
            f"{n:,} out-of-fold pictures cannot promise {format_percent(coverage)}, {needed:,} could: "
            "every number stays in the interval"
        )
    return CoveragePromise(score=SCORE, by_class=False, thresholds=half_width, guaranteed=guaranteed, why=why)


def score_intervals(predictions: HeldOutPredictions, promise: CoveragePromise, coverage: float) -> list[Score]:
    """The coverage of intervals, that of the folds furthest apart, and the mean width, by widths of other pictures."""
    errors, half_widths = _measure_errors(predictions), np.full(len(predictions.y), promise.thresholds[0])
    if predictions.split == "cv":
        for inside, others in conformal.split_by_fold(predictions.fold):
            half_widths[inside] = conformal.conformal_quantile(errors[others], coverage)
    scores = score_share("coverage", predictions, errors <= half_widths)
    if math.isfinite(float(half_widths.max(initial=0.0))):
        width = mean_interval(2 * half_widths)
        scores.append(make_score("interval_width", predictions.split, width, len(errors), method="t"))
    return scores


def _measure_errors(predictions: HeldOutPredictions) -> np.ndarray:
    return np.asarray(np.abs(np.asarray(predictions.p[:, 0], np.float64) - predictions.y))
