"""Linear discriminant analysis: class means and one shrunk covariance; tunes the shrinkage.

The within-class covariance S of the standardised columns becomes (1 - g) S + g mean(diag S) I. Posteriors of many
correlated columns are far too sure, so their temperature is fitted on exact leave-one-out distances (a rank-one change
of S). Friedman, JASA 1989; Ledoit and Wolf 2004; Lachenbruch 1967.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core import blas_threads
from headstart.core.types import FittedHead
from headstart.heads import covariance, design_matrix, softmax_regression
from headstart.statistics.sampling import spread_rows

CALIBRATED = 2_000  # rows whose leave-one-out distances set the temperature
SHRINKAGES = (0.95, 0.8, 0.5, 0.2, 0.05, 0.01)


class Discriminant:
    """See the module."""

    name = "lda"
    cannot: Mapping[str, str] = {}

    def grid(self, n_train: int, dim: int, n_classes: int) -> Sequence[Mapping[str, Any]]:
        """Shrinkages, the strongest first."""
        return [{"shrinkage": g} for g in SHRINKAGES]

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
        with blas_threads.single_blas_thread():
            problem = _Problem(x, y, class_weight, design_matrix.row_weights(y, None, sample_weight))
        yield from design_matrix.fit_path(
            self.name, params, n_classes, lambda setting: problem.solve(float(setting["shrinkage"]), n_classes)
        )


class _Problem:
    """What all shrinkages share."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray, class_weight: np.ndarray | None, weight: np.ndarray | None = None
    ) -> None:
        self.present, self.y = np.unique(y, return_inverse=True)
        self.counts, self.mass = np.bincount(self.y), np.bincount(self.y, weights=weight)
        self.weight = np.ones(len(y)) if weight is None else weight
        self.moments = design_matrix.column_moments(x)
        design = design_matrix.Design(x, self.moments)
        self.means = design_matrix.class_means(design, self.y, len(self.present), weight)
        deviations = design.subtract_means(self.y, self.means, None if weight is None else np.sqrt(weight))
        self.covariance = covariance.measure_covariance(deviations)
        self.prior = np.log(design_matrix.class_shares(self.y, self.present, class_weight, weight))
        self.rows = spread_rows(len(y), CALIBRATED)
        self.share = self.weight[self.rows]
        self.sample = deviations.take_rows(self.rows)
        if weight is not None:
            self.sample = self.sample / np.sqrt(self.share)[:, None]

    def solve(self, g: float, n_classes: int) -> dict[str, np.ndarray]:
        """The head's arrays for a share `g` of the identity in the covariance."""
        shrunk = self.covariance.shrink(1 - g, g * max(self.covariance.mean_power, 1e-12))
        weights = shrunk.solve(self.means.T)  # (D, C)
        y = self.y[self.rows]
        scores, has_others = self._leave_one_out_scores(shrunk, weights, y)
        t = 1 / len(weights)
        if has_others.any():
            t = softmax_regression.fit_temperature(
                scores[has_others], y[has_others], weight=self.share[has_others], offset=self.prior
            )
        bias = self.prior - 0.5 * t * np.einsum("cd,dc->c", self.means, weights)
        return design_matrix.linear_head_arrays(t * weights, bias, self.moments, self.present, n_classes)

    def _leave_one_out_scores(
        self, shrunk: covariance.ShrunkCovariance, weights: np.ndarray, y: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(B, C) minus half the squared Mahalanobis distances without the row; (B,) whether its class has others.

        With v = z - mean(own), A the covariance and a v v^T what the row adds to it, Sherman and Morrison give
        (z - m)^T (A - a v v^T)^-1 (z - m) = q + a u^2 / (1 - a v^T A^-1 v), u = v^T A^-1 (z - m).
        """
        range_B, mass, has_others = np.arange(len(y)), self.mass[y], self.counts[y] > 1
        grown = mass / np.where(has_others, mass - self.share, 1)
        q_own, cross = shrunk.compute_leverages(self.rows) / self.share, self.means @ weights
        toward = self.sample @ weights  # (B, C) v^T A^-1 mean
        gap = toward[range_B, y][:, None] - toward
        between = np.diag(cross)[y][:, None] - 2 * cross[y] + np.diag(cross)
        q = q_own[:, None] + 2 * gap + between
        u = q_own[:, None] + gap
        q[range_B, y], u[range_B, y] = q_own * grown**2, q_own * grown
        added = shrunk.share * self.share * grown / len(self.y)
        distance = q + added[:, None] * u**2 / np.maximum(1 - added * q_own, 1e-6)[:, None]
        return -0.5 * distance, has_others


PLUGIN = Discriminant()
