"""Logistic regression as a head: of plain classes, or along one direction of ordered ones.

The optimum is scikit-learn's with `C = 1 / (strength n)`; `headstart.heads.softmax_regression` tells how it is
reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core.types import FittedHead
from headstart.heads import covariance, design_matrix, softmax_regression


class LogisticRegression:
    """Solved to a tolerance in nats a picture; an `ordered` one goes by the order of the classes."""

    def __init__(self, name: str, *, ordered: bool = False, tolerance: float = softmax_regression.TOLERANCE) -> None:
        self.name, self.ordered, self.tolerance = name, ordered, tolerance
        self.cannot: Mapping[str, str] = (
            {"unordered": "all classes lie along one direction, in their order"} if ordered else {}
        )

    def with_tolerance(self, tolerance: float) -> LogisticRegression:
        """See `headstart.core.types.IterativeHead`."""
        return LogisticRegression(self.name, ordered=self.ordered, tolerance=tolerance)

    def grid(self, n_train: int, dim: int, n_classes: int) -> Sequence[Mapping[str, Any]]:
        """Strengths in parts of D / M: a prior whose scores spread alike for any number of columns."""
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
        """See `headstart.core.types.Head`."""
        moments, (present, local) = design_matrix.column_moments(x), np.unique(y, return_inverse=True)
        weight = design_matrix.row_weights(y, class_weight, sample_weight)
        ranks = present.astype(np.float64) if self.ordered else None
        solutions = _solve_path(x, moments, local, len(present), params, weight, self.tolerance, ranks)

        def solve(each: Mapping[str, Any]) -> dict[str, np.ndarray]:
            weights, bias = next(solutions)
            return design_matrix.linear_head_arrays(weights, bias, moments, present, n_classes)

        yield from design_matrix.fit_path(self.name, params, n_classes, solve)


def _solve_path(
    x: np.ndarray,
    moments: design_matrix.Moments,
    y: np.ndarray,
    n_classes: int,
    params: Sequence[Mapping[str, Any]],
    weight: np.ndarray | None,
    tolerance: float,
    ranks: np.ndarray | None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if n_classes == 1:
        for _ in params:
            yield np.zeros((x.shape[1], 1)), np.zeros(1)
        return
    coordinates = covariance.make_coordinates(
        design_matrix.Design(x, moments), gram=covariance.approximate_gram(x, moments)
    )
    strengths = (float(setting["strength"]) for setting in params)
    yield from softmax_regression.solve_path(coordinates, y, n_classes, strengths, weight, tolerance, ranks)
