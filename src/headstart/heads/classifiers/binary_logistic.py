"""Logistic regression of each label by itself on standardised features, one L2 strength for all. For several labels.

Binary relevance (Tsoumakas and Katakis 2007): each label has its own weights, and probabilities do not sum to 1. The
optimum is scikit-learn's with `C = 1 / (strength n)` for each label.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core.types import FittedHead
from headstart.heads import covariance, design_matrix, softmax_regression


class BinaryLogistic:
    """Solved to a tolerance in nats a picture, summed over the labels."""

    name = "binary_logistic"
    cannot: Mapping[str, str] = {
        "classification": "its probabilities do not sum to 1",
        "one_label": "it learns from several labels",
    }

    def __init__(self, tolerance: float = softmax_regression.TOLERANCE) -> None:
        self.tolerance = tolerance

    def with_tolerance(self, tolerance: float) -> BinaryLogistic:
        """See `headstart.core.types.IterativeHead`."""
        return BinaryLogistic(tolerance)

    def grid(self, n_train: int, dim: int, n_classes: int) -> Sequence[Mapping[str, Any]]:
        """Strengths in parts of D / M, as those of `logistic`."""
        return [{"strength": part * dim / n_train} for part in softmax_regression.PARTS]

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
        """See `headstart.core.types.Head`; `y` is (M, C) bool.

        A label that all pictures have, or none, gets no weights and the log-odds of its count and half a picture more.
        """
        moments, weight = design_matrix.column_moments(x), design_matrix.row_weights(y, None, sample_weight)
        counts = np.asarray(y).sum(axis=0)
        varies = np.flatnonzero((counts > 0) & (counts < len(y)))
        constant = np.log((counts + 0.5) / (len(y) - counts + 0.5)).astype(np.float32)
        design = design_matrix.Design(x, moments)
        strengths = (float(setting["strength"]) for setting in params)
        solutions: Iterator[tuple[np.ndarray, np.ndarray]] = iter(())
        if len(varies):
            coordinates = covariance.make_coordinates(design, gram=covariance.approximate_gram(x, moments))
            solutions = softmax_regression.solve_binary_path(
                coordinates, np.asarray(y)[:, varies], strengths, weight, self.tolerance
            )

        def solve(_: Mapping[str, Any]) -> dict[str, np.ndarray]:
            weights, bias = next(solutions, (np.zeros((x.shape[1], 0)), np.zeros(0)))
            arrays = design_matrix.linear_head_arrays(weights, bias, moments, varies, n_classes)
            arrays["bias"] = np.where(np.isin(np.arange(n_classes), varies), arrays["bias"], constant)
            return arrays

        yield from design_matrix.fit_path(self.name, params, n_classes, solve, kind="linear_sigmoid")


PLUGIN = BinaryLogistic()
