"""The learning curve carried on: its bands hold simulated truths as often as promised, and where nothing is said."""

import math
import types

import numpy as np
import pytest

from headstart.core.types import CurvePoint, Score
from headstart.evaluation.curve_forecast import (
    count_classes,
    forecast_pictures,
    forecast_score,
    format_more,
    format_untold,
    list_forecasts,
    list_targets,
)
from headstart.statistics.intervals import Interval

SIZES = (50, 100, 200, 400)


def make_curve(values, widths, name="accuracy", sizes=SIZES):
    return [
        CurvePoint(n_train=n, score=Score(split="cv", name=name, value=v, low=v - w, high=v + w, n=500))
        for n, v, w in zip(sizes, values, widths, strict=True)
    ]


@pytest.mark.parametrize("exponent", [0.1, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("rest", [0.0, 0.05])
def test_the_band_holds_the_truth_of_power_laws(exponent, rest):
    """The same 500 pictures are answered by heads of four sizes, each as often wrongly as a power law says."""
    rng, inside = np.random.default_rng(0), []
    wrong = {n: rest + 0.3 * (n / 50) ** -exponent for n in (*SIZES, 800, 1600)}
    for _ in range(60):
        hard = rng.random(500)  # of each picture, shared by all sizes
        values = [1 - float((hard < wrong[n]).mean()) for n in SIZES]
        widths = [1.96 * np.sqrt(v * (1 - v) / 500) for v in values]
        for later in (800, 1600):
            band = forecast_score(make_curve(values, widths), later)
            assert band.low <= band.value <= band.high <= 1
            inside.append(band.low <= 1 - wrong[later] <= band.high)
    assert np.mean(inside) >= 0.9


def test_flat_curves_are_carried_on_and_tasks_whose_band_did_not_hold_are_not():
    curve = make_curve([0.6, 0.7, 0.78, 0.84], [0.01] * 4)
    for task, is_told in (("classification", True), ("multilabel", True), ("ordinal", False), ("regression", False)):
        n_classes = count_classes(types.SimpleNamespace(task=task, output_names=("a", "b")))
        assert (forecast_score(curve, 800, n_classes) is not None) == is_told
        assert bool(list_targets(curve, 450, n_classes)) == bool(list_forecasts(curve, n_classes)) == is_told
        assert format_untold(n_classes) == ("below 20 pictures a class" if is_told else "of grades or numbers")
    flat = forecast_score(make_curve([0.9] * 4, [0.005] * 4), 800)
    assert flat.low == pytest.approx(0.9, abs=0.01) and flat.high < 0.93


def test_nothing_is_said_of_too_few_points_too_few_pictures_or_too_far():
    curve = make_curve([0.6, 0.7, 0.8, 0.85], [0.02] * 4)
    assert forecast_score(curve, 1600) is not None
    assert forecast_score(curve, 1601) is None and forecast_score(curve, 400) is None
    assert forecast_score(curve, 800, n_classes=20) is not None
    assert forecast_score(curve, 800, n_classes=21) is None
    assert forecast_score(curve[-1:], 800) is None
    assert forecast_score(make_curve([np.nan, 0.8, 0.85], [0.1] * 3, sizes=(100, 200, 400)), 800) is not None
    assert forecast_score(make_curve([np.nan, 0.85], [0.1] * 2, sizes=(200, 400)), 800) is None


@pytest.mark.parametrize("exponent", [0.3, 0.6])
def test_the_pictures_that_a_score_takes_are_held_as_often_as_promised(exponent):
    """The score that a power law reaches with 2.5 times as many pictures takes just these."""
    rng, inside = np.random.default_rng(1), []
    wrong = {n: 0.3 * (n / 50) ** -exponent for n in (*SIZES, 1000)}
    for _ in range(80):
        hard = rng.random(500)
        values = [1 - float((hard < wrong[n]).mean()) for n in SIZES]
        curve = make_curve(values, [1.96 * np.sqrt(v * (1 - v) / 500) for v in values])
        takes = forecast_pictures(curve, 1 - wrong[1000])
        inside.append(takes is not None and takes.low <= 1000 <= takes.high)
    assert np.mean(inside) >= 0.9


def test_the_ends_are_where_the_band_of_scores_reaches_the_score():
    curve = make_curve([0.6, 0.7, 0.78, 0.84], [0.01] * 4)
    takes = forecast_pictures(curve, 0.86)
    assert 400 < takes.low < takes.value < takes.high < 1600
    for pictures, end in ((takes.low, "high"), (takes.value, "value"), (takes.high, "low")):
        assert getattr(forecast_score(curve, round(pictures)), end) == pytest.approx(0.86, abs=2e-3)


def test_the_next_round_scores_are_told_up_to_the_first_out_of_reach():
    curve = make_curve([0.6, 0.7, 0.78, 0.84], [0.01] * 4)
    targets = list_targets(curve, 450)
    assert list(targets) == [0.9, 0.95]
    assert targets[0.9].low == pytest.approx(forecast_pictures(curve, 0.9).low - 450)
    assert math.isinf(targets[0.9].high) and targets[0.95] is None
    assert list_targets(curve, 450, n_classes=21) == {} == list_targets([], 450)
    assert list(list_forecasts(curve))[1::2] == [800, 1600] and list_forecasts(curve, 21) == {}
    flat = list_targets(make_curve([0.62] * 4, [0.005] * 4), 450)
    assert list(flat) == [0.7] and flat[0.7] is None


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((1200.0, 912.0, 1584.0), "about 910 to 1,600 more"),
        ((1234.0, 912.0, math.inf), "at least 910 more, rather 1,200"),
        ((math.inf, 912.0, math.inf), "at least 910 more"),
        ((200.0, 0.0, 512.0), "at most 510 more"),
        ((200.0, 0.0, math.inf), "a number of pictures that cannot be said"),
        (None, "more than 4 times as many pictures"),
    ],
)
def test_numbers_of_pictures_are_rounded_and_never_naked(interval, words):
    assert format_more(interval and Interval(*interval)) == words
