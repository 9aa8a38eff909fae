"""One number makes probabilities as sure as they are right, and is left out where it does not."""

import numpy as np
import pytest

from headstart.statistics.sampling import draw_rows
from headstart.uncertainty import temperature as tempering


def drawn(n, temperature, seed=0, classes=4):
    """Probabilities that are right as often as they say when their logarithms are divided by `temperature`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 2
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = (truth.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    wide = np.exp(logits * temperature)
    return (wide / wide.sum(axis=1, keepdims=True)).astype(np.float32), y


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature):
    p, y = drawn(20_000, temperature)
    assert tempering.fit_temperature(p, y) == pytest.approx(temperature, rel=0.05)
    assert (tempering.apply_temperature(p, 3.0).argmax(axis=1) == p.argmax(axis=1)).all()


def test_tempering_back_gives_the_same():
    p, _ = drawn(100, 1.0)
    back = tempering.apply_temperature(tempering.apply_temperature(p.astype(np.float64), 2.5), 1 / 2.5)
    np.testing.assert_allclose(back, p, atol=1e-7)
    assert tempering.apply_temperature(p, 1.0) is p


def test_what_is_sure_of_everything_is_still_finite():
    p = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    assert np.isfinite(tempering.apply_temperature(p, 0.05)).all()
    found = tempering.choose_temperature(p[None], np.array([0, 1, 1]), np.arange(3), 0)
    assert np.isfinite([found.temperature, found.before, found.after]).all()
    assert (
        tempering.choose_temperature(np.zeros((1, 0, 2), np.float32), np.zeros(0, int), np.zeros(0, int), 0).temperature
        == 1
    )


def test_it_pays_on_pictures_it_was_not_fitted_on_or_is_left_out():
    p, y = drawn(600, 3.0)
    taken = tempering.choose_temperature(np.stack([p, p]), y, np.arange(600), 0)
    assert taken.temperature == pytest.approx(3.0, rel=0.2)
    assert taken.after < taken.before
    assert taken.n == 600
    assert "less sure" in taken.why
    p, y = drawn(600, 1.0, seed=3)
    left = tempering.choose_temperature(p[None], y, np.arange(600), 0)
    assert (left.temperature == 1.0) == (left.after >= left.before)
    assert abs(left.temperature - 1) < 0.2


def test_look_alikes_stay_in_one_part():
    p, y = drawn(300, 2.0)
    twice, labels = np.repeat(p, 2, axis=0), np.repeat(y, 2)
    found = tempering.apply_cross_fitted_temperature(twice, labels, np.repeat(np.arange(300), 2), 0)
    np.testing.assert_array_equal(found[::2], found[1::2])
    assert tempering.mean_log_loss(found, labels) < tempering.mean_log_loss(twice, labels)


@pytest.mark.parametrize(("n", "temperature"), [(40, 0.15), (300, 1.0), (300, 8.0), (30_000, 2.0)])
def test_no_temperature_beside_it_is_better(n, temperature):
    p, y = drawn(n, temperature, seed=n)
    some = draw_rows(n, tempering.MOST)
    found, wide = tempering.fit_temperature(p, y), p[some].astype(np.float64)
    loss = [
        tempering.mean_log_loss(tempering.apply_temperature(wide, found * step), y[some]) for step in (0.999, 1, 1.001)
    ]
    assert loss[1] < min(loss[0], loss[2])


def test_what_is_always_wrong_or_always_right_stays_within_the_limits():
    p = np.array([[0.9, 0.1], [0.1, 0.9]], np.float32)
    assert tempering.fit_temperature(p, np.array([1, 0])) == tempering.LIMITS[1]
    assert tempering.fit_temperature(p, np.array([0, 1])) == pytest.approx(tempering.LIMITS[0])
    assert tempering.LIMITS[0] <= tempering.fit_temperature(np.eye(2, dtype=np.float32), np.array([0, 1])) <= 1


def test_pictures_without_an_error_make_no_answer_surer_than_they_can_tell():
    shares = np.linspace(0.6, 0.8, 6)
    p = np.stack([shares, 1 - shares], axis=1).astype(np.float32)
    p[3:] = p[3:, ::-1]
    y = np.repeat([0, 1], 3)
    assert tempering.fit_temperature(p, y) == pytest.approx(
        tempering.LIMITS[0]
    )  # the loss alone would be sure of everything
    found = tempering.choose_temperature(p[None], y, np.arange(6), 0)
    assert tempering.apply_temperature(p, found.temperature).max(axis=1).mean() == pytest.approx(7 / 8, abs=1e-4)
    assert "6 pictures with so few errors tell nothing of a higher certainty" in found.why
    assert "-0.0" not in found.why
    sure = np.array([[0.99, 0.01], [0.01, 0.99]], np.float32)[y]
    assert tempering.choose_temperature(sure[None], y, np.arange(6), 0).temperature == 1.0
    # of pictures of one cluster one counts
    assert tempering.fit_bounded_temperature(p, y, np.array([0, 0, 0, 1, 1, 1])) > tempering.fit_bounded_temperature(
        p, y, np.arange(6)
    )
    assert str(tempering.mean_log_loss(np.eye(2, dtype=np.float32), np.array([0, 1]))) == "0.0"


def test_with_enough_errors_the_loss_alone_decides():
    p, y = drawn(300, 0.4)
    assert tempering.fit_bounded_temperature(p, y, np.arange(300)) == tempering.fit_temperature(p, y) < 1


def test_errors_enough_are_never_called_few():
    tried = 0
    for seed in range(40):  # a temperature of 1 that does not pay on others is left out, and for no other reason
        p, y = drawn(400, 1.0, seed=seed)
        found = tempering.choose_temperature(p[None], y, np.arange(400), 0)
        tried += found.temperature == 1.0 and tempering.fit_temperature(p, y) < 1.0
        assert "so few errors" not in found.why
    assert tried > 0
