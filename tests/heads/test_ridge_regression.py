"""Ridge regression of a number: scikit-learn's solution, on raw features, with weights."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference
from sklearn.preprocessing import StandardScaler

from headstart.core import registry
from headstart.heads import cross_validation, prediction

HEAD = registry.load_plugin("heads", "ridge_regression")


def drawn(n, dim, seed=0):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, dim)) * rng.uniform(0.1, 5, dim) + rng.normal(size=dim)).astype(np.float32)
    return x, 40 + 7 * (x[:, 0] - x[:, 1]) + rng.normal(size=n)


@pytest.mark.parametrize(("n", "dim"), [(200, 12), (30, 80)])
@pytest.mark.parametrize("weighed", [False, True])
def test_it_is_scikit_learns_ridge_on_standardised_features(n, dim, weighed):
    x, y = drawn(n, dim)
    weight = np.random.default_rng(1).uniform(0.2, 3, n) if weighed else None
    [fitted] = HEAD.path(x, y, n_classes=1, params=[{"strength": 0.3}], class_weight=None, seed=0, sample_weight=weight)
    found = prediction.predict_probabilities(fitted.kind, fitted.arrays, x)
    share = np.ones(n) if weight is None else weight / weight.mean()
    centre, spread = np.average(x, axis=0, weights=share), x.std(axis=0)  # a weight moves the centre, not the scale
    z = (x - centre) / spread if weighed else StandardScaler().fit_transform(x)
    expected = Reference(alpha=0.3 * n).fit(z, y, sample_weight=share).predict(z)
    assert found.shape == (n, 1) and fitted.kind == "linear_identity"
    assert found[:, 0] == pytest.approx(expected, abs=2e-3)


def test_cross_validation_finds_a_strength_and_its_loss_is_one_minus_r2():
    x, y = drawn(120, 20)
    folds = np.arange(120)[None] % 5
    tuned = cross_validation.tune_head(HEAD, x, y, folds, n_classes=1, metric="r2")
    assert tuned.held_out.shape == (1, 120, 1) and tuned.losses.mean() < 0.02
    assert tuned.params["strength"] < 0.1
