"""LogME tells informative features from noise, dead channels or not."""

import numpy as np
import pytest

from headstart.selection.logme import compute_logme


def features(signal, m=300, dim=64, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, m)
    x = rng.normal(size=(m, dim))
    x[:, :3] += signal * np.eye(3)[y]
    return x.astype(np.float32), y


def test_more_signal_scores_higher():
    scores = [compute_logme(*features(signal)) for signal in (0, 1, 2, 4)]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 0.1


@pytest.mark.parametrize("value", [0, 1e3])
def test_dead_and_constant_columns_change_nothing(value):
    x, y = features(2)
    more = np.full((300, 200), value, np.float32)
    assert compute_logme(np.hstack([x, more]), y) == pytest.approx(compute_logme(x, y), abs=1e-9)


def test_copied_columns_do_not_ruin_it():
    x, y = features(2)
    assert compute_logme(np.hstack([x, x[:, 10:20]]), y) == pytest.approx(compute_logme(x, y), abs=0.02)


def test_wide_noise_does_not_beat_narrow_signal():
    x, y = features(2, dim=16)
    noise = np.random.default_rng(1).normal(size=(300, 2000)).astype(np.float32)
    assert compute_logme(x, y) > compute_logme(noise, y) + 0.1


def test_scale_and_shift_do_not_matter():
    x, y = features(2)
    assert compute_logme(x * 100 + 7, y) == pytest.approx(compute_logme(x, y), abs=2e-3)


def test_it_is_the_evidence_at_its_maximum():
    """No pair of precisions on a grid has more evidence than the fixed point (marginal Gaussian likelihood)."""
    from scipy.stats import multivariate_normal

    x, y = features(2, m=60, dim=5)
    x_centred = (x - x.mean(axis=0)).astype(np.float64)
    best = []
    for c in range(3):
        target = (y == c) - np.mean(y == c)
        evidences = [
            multivariate_normal.logpdf(target, cov=np.eye(60) / noise + x_centred @ x_centred.T / prior)
            for prior in np.geomspace(1, 1e4, 25)
            for noise in np.geomspace(1, 1e2, 25)
        ]
        best.append(max(evidences) / 60)
    score = compute_logme(x, y)
    assert score >= np.mean(best) - 1e-6
    assert score == pytest.approx(np.mean(best), abs=5e-3)


def test_features_that_do_not_vary_have_a_finite_score():
    assert np.isfinite(compute_logme(np.ones((50, 8), np.float32), np.arange(50) % 2))


def test_many_rows_are_thinned_evenly():
    x, y = features(2, m=5000, dim=8)
    assert compute_logme(x, y) == pytest.approx(compute_logme(x[:640], y[:640]), abs=0.1)
