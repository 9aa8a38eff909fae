"""Ridge regression of a number on standardised features, in closed form; tunes the strength."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core import blas_threads
from headstart.core.types import FittedHead
from headstart.heads import covariance, design_matrix

PARTS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)  # strength over columns per picture


class RidgeRegression:
    """Least squares with an L2 penalty on the weights (Hoerl and Kennard 1970); the intercept is free."""

    name = "ridge_regression"
    cannot: Mapping[str, str] = {"classification": "it answers with a number"}

    def grid(self, n_train: int, dim: int, n_classes: int) -> Sequence[Mapping[str, Any]]:
        """Strengths in parts of D / M, as those of `ridge`."""
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
        sample_weight: np.ndarray | None = None,
    ) -> Iterator[FittedHead]:
        """See `headstart.core.types.Head`; `y` (M,) float64 are numbers, and `n_classes` is 1."""
        weight = design_matrix.row_weights(y, None, sample_weight)
        root = None if weight is None else np.sqrt(weight)
        with blas_threads.single_blas_thread():
            moments = design_matrix.column_moments(x, weight)
            products = covariance.measure_covariance(design_matrix.Design(x, moments, root=root))
        mean = np.array([np.average(y, weights=weight)])
        target = (np.asarray(y, np.float64)[:, None] - mean) * (1.0 if root is None else root[:, None])

        def solve(setting: Mapping[str, Any]) -> dict[str, np.ndarray]:
            weights = products.shrink(1.0, float(setting["strength"])).regress(target)
            return design_matrix.linear_head_arrays(weights, mean, moments, [0], n_classes)

        yield from design_matrix.fit_path(self.name, params, n_classes, solve, kind="linear_identity")


PLUGIN = RidgeRegression()
