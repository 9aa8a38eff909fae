"""The learning curve carried on: the band holds simulated truths as often as promised, and where nothing is said."""

import numpy as np
import pytest

from headstart.core.types import CurvePoint, Score
from headstart.evaluation.curve_forecast import forecast_score

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


def test_losses_and_flat_curves_are_carried_on_too():
    band = forecast_score(make_curve([0.9, 0.7, 0.55, 0.43], [0.02] * 4, "log_loss"), 800)
    assert 0.25 < band.low < band.value < band.high < 0.43
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
