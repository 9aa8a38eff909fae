"""Ridge: least squares on one-hot classes with an L2 penalty, in closed form; tunes the strength.

One eigen-decomposition serves all strengths. Regression values are no probabilities: they become some by a softmax
whose temperature is fitted on exact leave-one-out values (Allen's PRESS), so that the log loss is honest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core.types import FittedHead
from headstart.kit import blas, linear, softmax
from headstart.kit.head_path import along

CALIBRATED = 2_000  # rows whose leave-one-out values set the temperature
PARTS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03)  # strength over columns per picture


class Ridge:
    """See the module."""

    name = "ridge"
    cannot: Mapping[str, str] = {}

    def grid(self, n_train: int, dim: int, n_classes: int) -> Sequence[Mapping[str, Any]]:
        """Strengths in parts of D / M: a prior whose scores spread alike for any number of columns."""
        return [{"strength": part * dim / n_train} for part in PARTS]

    def path(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        n_classes: int,
        params: Sequence[Mapping[str, Any]],
        class_weight: np.ndarray | None,
        seed: int,
    ) -> Iterator[FittedHead]:
        """See `headstart.core.types.Head`."""
        with blas.single():
            problem = _Problem(x, y, class_weight)
        yield from along(self.name, params, n_classes, lambda each: problem.solve(float(each["strength"]), n_classes))


class _Problem:
    """What all strengths share."""

    def __init__(self, x: np.ndarray, y: np.ndarray, class_weight: np.ndarray | None) -> None:
        self.present, self.y = np.unique(y, return_inverse=True)
        weight = linear.row_weights(y, class_weight)
        self.weight = np.ones(len(y)) if weight is None else weight
        self.moments = linear.moments(x, weight)
        design = linear.Design(x, self.moments, root=None if weight is None else np.sqrt(weight))
        self.basis = linear.basis(design)
        target = np.eye(len(self.present))[self.y]
        self.mean = self.weight @ target / len(y)
        self.pull = self.basis.transposed(np.sqrt(self.weight)[:, None] * (target - self.mean)) / len(y)
        self.rows = linear.spread(len(y), CALIBRATED)
        self.some = self.basis.some_coordinates(self.rows)
        self.some_target = target[self.rows]

    def solve(self, strength: float, n_classes: int) -> dict[str, np.ndarray]:
        inner = self.pull / (self.basis.power + strength)[:, None]
        share = self.weight[self.rows]
        t = softmax.temperature(self._left_out(inner, strength, share), self.y[self.rows], weight=share)
        weights = self.basis.back(inner)
        return linear.arrays(t * weights, t * self.mean, self.moments, self.present, n_classes)

    def _left_out(self, inner: np.ndarray, strength: float, share: np.ndarray) -> np.ndarray:
        """(B, C) values of rows as if each had not been learnt from."""
        fitted = self.some @ inner / np.sqrt(share)[:, None] + self.mean
        leverage = (self.some**2) @ (1 / (self.basis.power + strength)) / len(self.y) + share / len(self.y)
        kept = np.maximum(1 - leverage, 1e-6)[:, None]
        return np.asarray(self.some_target - (self.some_target - fitted) / kept)


PLUGIN = Ridge()
