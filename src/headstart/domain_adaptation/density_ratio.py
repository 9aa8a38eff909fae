"""How much more likely the target shows such a picture than the source does, by a classifier of the domains."""

from __future__ import annotations

import numpy as np

from headstart.core import registry
from headstart.domain_adaptation.feature_moments import project_on_leading

_DIRECTIONS = 32  # in more of them a classifier tells all pictures apart, and no weight is left
_PART = 1.0  # strength of its penalty, in columns per picture
_MOST = 20.0  # a weight lies between one over this and this


def estimate_ratio(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(M,) float64 positive weights, mean 1, of source features (M, D), by target features (T, D)."""
    pooled = np.concatenate([source, target])
    directions, origin = project_on_leading(pooled, min(_DIRECTIONS, max(2, len(pooled) // 10)))
    z = ((pooled - origin) @ directions).astype(np.float32)
    y = np.repeat([0, 1], [len(source), len(target)])
    settings = {"n_classes": 2, "params": [{"strength": _PART * z.shape[1] / len(z)}], "class_weight": None, "seed": 0}
    head = next(registry.load_plugin("heads", "logistic").path(z, y, **settings)).arrays
    scores = z[: len(source)].astype(np.float64) @ head["weights"] + head["bias"]
    log_ratio = scores[:, 1] - scores[:, 0] + np.log(len(source) / len(target))
    ratio = np.exp(np.clip(log_ratio, -np.log(_MOST), np.log(_MOST)))
    return np.asarray(ratio / ratio.mean())


def flatten_weights(weights: np.ndarray, effective: float) -> np.ndarray:
    """Weights (M,) to a power at which Kish's effective number of pictures is at least a part of all; mean 1."""
    power = 1.0
    while True:
        flat: np.ndarray = weights**power
        if power < 0.01 or flat.sum() ** 2 / np.square(flat).sum() >= effective * len(flat):
            return np.asarray(flat / flat.mean())
        power *= 0.8
