"""Ridge: least squares on one-hot classes with an L2 penalty, in closed form; tunes the strength.

Values become probabilities by a softmax whose temperature is fitted on exact leave-one-out values (Allen's PRESS). It
can start from weights that something else knows, such as the names of the classes: the penalty then draws towards a
multiple of them, of the least leave-one-out error, shrunk by how sure it is (non-negative garrote, Breiman 1995): where
its 95 % interval holds 0 it is 0, which is plain ridge to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core import blas_threads
from headstart.core.types import FittedHead
from headstart.heads import covariance, design_matrix, softmax_regression
from headstart.statistics.intervals import mean_interval
from headstart.statistics.sampling import spread_rows

CALIBRATED = 2_000  # rows whose leave-one-out values set the temperature
SPREAD = 0.5  # of the scores, at least, where no class has three pictures: `python -m benchmarks.few_labels`
PARTS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03)  # strength over columns per picture


class Ridge:
    """Starts from (D, C) weights on raw features, of any size, or from None."""

    name = "ridge"
    cannot: Mapping[str, str] = {}

    def __init__(self, start: np.ndarray | None = None) -> None:
        self.start = start
        if start is not None:
            self.name += design_matrix.FROM_NAMES_SUFFIX

    def starting(self, weights: np.ndarray) -> Ridge:
        """See `headstart.core.types.StartingHead`."""
        return Ridge(weights)

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
        sample_weight: np.ndarray | None = None,
    ) -> Iterator[FittedHead]:
        """See `headstart.core.types.Head`."""
        with blas_threads.single_blas_thread():
            problem = _Problem(x, y, design_matrix.row_weights(y, class_weight, sample_weight), self.start)
        yield from design_matrix.fit_path(
            self.name, params, n_classes, lambda setting: problem.solve(float(setting["strength"]), n_classes)
        )


class _Problem:
    def __init__(
        self, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None, start: np.ndarray | None = None
    ) -> None:
        self.present, self.y = np.unique(y, return_inverse=True)
        self.weight = np.ones(len(y)) if weight is None else weight
        self.moments = design_matrix.column_moments(x, weight)
        design = design_matrix.Design(x, self.moments, root=None if weight is None else np.sqrt(weight))
        self.covariance = covariance.measure_covariance(design)
        target = np.eye(len(self.present))[self.y]
        self.mean = self.weight @ target / len(y)
        self.target = np.sqrt(self.weight)[:, None] * (target - self.mean)
        self.rows = spread_rows(len(y), CALIBRATED)
        self.sample = design.take_rows(self.rows)
        self.sample_target = target[self.rows]
        self.share = self.weight[self.rows]
        self.start = self._standardize_start(start) if start is not None else np.zeros((x.shape[1], 0))
        self.start_values = design.multiply(self.start)

    def _standardize_start(self, start: np.ndarray) -> np.ndarray:
        """(D, P) a start on standardised features: of the present classes, whose scores for a picture sum to 0."""
        varies = self.moments.inverse > 0
        raw_start = start[:, self.present] / np.where(varies, self.moments.inverse, np.inf)[:, None]
        return np.asarray(raw_start - raw_start.mean(axis=1, keepdims=True))

    def solve(self, strength: float, n_classes: int) -> dict[str, np.ndarray]:
        shrunk = self.covariance.shrink(1.0, strength)
        leverages = shrunk.compute_leverages(self.rows)
        weights = shrunk.regress(self.target)
        residual = self._leave_one_out_errors(self.sample_target - self.mean, weights, leverages)
        if self.start.shape[1]:
            learnt_start = shrunk.regress(self.start_values)
            start_values = self.start_values[self.rows] / np.sqrt(self.share)[:, None]
            of_start = self._leave_one_out_errors(start_values, learnt_start, leverages)
            if (multiple := _trusted_multiple(self.share[:, None] * of_start, of_start, residual)) > 0:
                residual = residual - multiple * of_start
                weights = weights + multiple * (self.start - learnt_start)
        t = self._fit_temperature(self.sample_target - residual)
        return design_matrix.linear_head_arrays(t * weights, t * self.mean, self.moments, self.present, n_classes)

    def _fit_temperature(self, left_out: np.ndarray) -> float:
        """By left-out values (B, P); where a class has one picture or two, they know too little of it to be trusted."""
        largest_class = np.bincount(self.y).max()
        fitted = 0.0
        if largest_class > 1:
            fitted = softmax_regression.fit_temperature(left_out, self.y[self.rows], weight=self.share)
        spread = float(np.std(left_out - left_out.mean(axis=1, keepdims=True)))
        return fitted if largest_class > 2 else max(fitted, SPREAD / spread if spread > 0 else 1.0)

    def _leave_one_out_errors(self, target: np.ndarray, weights: np.ndarray, leverages: np.ndarray) -> np.ndarray:
        """(B, P) errors for rows of a target (B, P), less its mean, as if each had not been learnt from."""
        fitted = self.sample @ weights / np.sqrt(self.share)[:, None]
        own = (leverages + self.share) / len(self.y)
        return np.asarray((target - fitted) / np.maximum(1 - own, 1e-6)[:, None])


def _trusted_multiple(weighted: np.ndarray, of_start: np.ndarray, residual: np.ndarray) -> float:
    """The multiple of a start that left-out rows ask for, shrunk by its uncertainty; 0 where that holds 0. All (B, P):
    `of_start` is how much each left-out error (`residual`) falls as it rises, `weighted` is that by the rows' weights.
    """
    size = float(np.vdot(weighted, of_start))
    multiple = float(np.vdot(weighted, residual)) / size if size > 0 else 0.0
    if multiple <= 0:
        return 0.0
    by_row = np.sum(weighted * (residual - multiple * of_start), axis=1) * len(residual) / size
    half = mean_interval(by_row).high
    return multiple * max(0.0, 1 - (half / multiple) ** 2)


PLUGIN = Ridge()
