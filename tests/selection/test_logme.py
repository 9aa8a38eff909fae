"""LogME and the shrunk H-score tell informative features from noise, dead channels or not."""

import numpy as np
import pytest

from headstart.selection.transferability.logme import h_score, logme, spectrum

SCORES = [logme, h_score]


def features(signal, m=300, dim=64, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, m)
    x = rng.normal(size=(m, dim))
    x[:, :3] += signal * np.eye(3)[y]
    return x.astype(np.float32), y


@pytest.mark.parametrize("score", SCORES)
def test_more_signal_scores_higher(score):
    found = [score(spectrum(*features(signal))) for signal in (0, 1, 2, 4)]
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.1


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("value", [0, 1e3])
def test_dead_and_constant_columns_change_nothing(score, value):
    x, y = features(2)
    more = np.full((300, 200), value, np.float32)
    assert score(spectrum(np.hstack([x, more]), y)) == pytest.approx(score(spectrum(x, y)), abs=1e-9)


def test_copied_columns_do_not_ruin_logme():
    x, y = features(2)
    assert logme(spectrum(np.hstack([x, x[:, 10:20]]), y)) == pytest.approx(logme(spectrum(x, y)), abs=0.02)


def test_wide_noise_does_not_beat_narrow_signal():
    x, y = features(2, dim=16)
    noise = np.random.default_rng(1).normal(size=(300, 2000)).astype(np.float32)
    for score in SCORES:
        assert score(spectrum(x, y)) > score(spectrum(noise, y)) + 0.1


@pytest.mark.parametrize("score", SCORES)
def test_scale_and_shift_do_not_matter(score):
    x, y = features(2)
    assert score(spectrum(x * 100 + 7, y)) == pytest.approx(score(spectrum(x, y)), abs=2e-3)


def test_logme_is_the_evidence_at_its_maximum():
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
    found = logme(spectrum(x, y))
    assert found >= np.mean(best) - 1e-6
    assert found == pytest.approx(np.mean(best), abs=5e-3)


def test_h_score_shrinks_as_ledoit_and_wolf_do():
    from sklearn.covariance import ledoit_wolf

    x, y = features(1, m=100, dim=40)
    covariance, part = ledoit_wolf(x.astype(np.float64))
    means = np.array([x[y == c].mean(axis=0) - x.mean(axis=0) for c in range(3)], np.float64)
    between = (means.T * np.bincount(y) / 100) @ means
    expected = np.trace(np.linalg.solve(covariance, (1 - part) * between))
    assert h_score(spectrum(x, y)) == pytest.approx(expected, rel=1e-4)


def test_nothing_that_varies_scores_lowest_and_finite():
    x, y = np.ones((50, 8), np.float32), np.arange(50) % 2
    found = spectrum(x, y)
    assert h_score(found) == 0
    assert np.isfinite(logme(found))


def test_many_rows_are_thinned_evenly():
    x, y = features(2, m=5000, dim=8)
    found = spectrum(x, y)
    assert len(found.labels) == 640
    assert logme(found) == pytest.approx(logme(spectrum(x[:640], y[:640])), abs=0.1)
