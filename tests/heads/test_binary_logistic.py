"""Logistic regression of several labels: scikit-learn's optimum for each, and labels that cannot be learnt."""

import numpy as np
import pytest

from headstart.heads import prediction
from headstart.heads.classifiers.binary_logistic import PLUGIN


@pytest.fixture
def sample():
    """Features (300, 40) and four labels, the last one rare."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(300, 40)) * rng.uniform(0.1, 3, 40) + 1).astype(np.float32)
    scores = x @ rng.normal(size=(40, 4)) + rng.logistic(size=(300, 4))
    return x, scores > [np.quantile(scores[:, c], share) for c, share in enumerate((0.3, 0.5, 0.8, 0.97))]


def fit(x, y, **settings):
    grid = PLUGIN.grid(len(x), x.shape[1], y.shape[1])[2:4]
    path = PLUGIN.path(x, y, n_classes=y.shape[1], params=grid, class_weight=None, seed=0, **settings)
    return list(zip(path, [setting["strength"] for setting in grid], strict=True))


@pytest.mark.parametrize("weighted", [False, True])
def test_each_label_gets_the_optimum_of_scikit_learn(sample, weighted):
    from sklearn.linear_model import LogisticRegression

    x, y = sample
    weight = np.random.default_rng(1).uniform(0.5, 2, len(x)) if weighted else None
    weight = None if weight is None else weight / weight.mean()
    for fitted, strength in fit(x, y, sample_weight=weight):
        p = prediction.predict_probabilities(fitted.kind, fitted.arrays, x)
        mean = x.mean(axis=0) if weight is None else np.average(x, axis=0, weights=weight)
        for c in range(4):
            rival = LogisticRegression(C=1 / (strength * len(x)), max_iter=5000, tol=1e-10)
            rival.fit((x - mean) / x.std(axis=0), y[:, c], sample_weight=weight)
            assert p[:, c] == pytest.approx(rival.predict_proba((x - mean) / x.std(axis=0))[:, 1], abs=0.002)


def test_a_label_that_all_pictures_have_or_none_is_answered_by_its_count(sample):
    x, y = sample
    y = y.copy()
    y[:, 0], y[:, 3] = True, False
    [(fitted, _), _] = fit(x, y)
    p = prediction.predict_probabilities(fitted.kind, fitted.arrays, x)
    assert p[:, 0] == pytest.approx(300.5 / 301) and p[:, 3] == pytest.approx(0.5 / 301)
    assert not fitted.arrays["weights"][:, [0, 3]].any() and fitted.arrays["weights"][:, [1, 2]].all()
    assert fitted.kind == "linear_sigmoid" and p.sum(axis=1).std() > 0.1
