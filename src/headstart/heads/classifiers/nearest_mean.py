"""Nearest class mean: each class is the mean of its pictures; nothing to tune, for a handful of pictures a class.

Columns are standardised; the temperature is fitted on leave-one-out distances, known in closed form. Snell, Swersky,
Zemel: Prototypical networks, NeurIPS 2017; Mensink et al., TPAMI 2013.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core import blas_threads
from headstart.core.types import FittedHead
from headstart.heads import design_matrix, softmax_regression
from headstart.statistics.sampling import evenly_spaced

CALIBRATED = 2_000  # rows whose leave-one-out distances set the temperature


class NearestMean:
    """See the module."""

    name = "nearest_mean"
    cannot: Mapping[str, str] = {}

    def grid(self, n_train: int, dim: int, n_classes: int) -> Sequence[Mapping[str, Any]]:
        """One entry: nothing is tuned."""
        return ({},)

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
            arrays = _fit_means(x, y, n_classes, class_weight, design_matrix.row_weights(y, None, sample_weight))
        yield from design_matrix.fit_path(self.name, params, n_classes, lambda setting: arrays)


def _fit_means(
    x: np.ndarray, y: np.ndarray, n_classes: int, class_weight: np.ndarray | None, weight: np.ndarray | None
) -> dict[str, np.ndarray]:
    present, local = np.unique(y, return_inverse=True)
    moments = design_matrix.column_moments(x)
    design = design_matrix.Design(x, moments)
    means = design_matrix.class_means(design, local, len(present), weight)
    prior = np.log(design_matrix.class_shares(local, present, class_weight, weight))
    rows = evenly_spaced(len(y), CALIBRATED)
    share = np.ones(len(rows)) if weight is None else weight[rows]
    scores = leave_one_out_scores(design.take_rows(rows), local[rows], means, np.bincount(local, weights=weight), share)
    has_others = np.bincount(local)[local[rows]] > 1
    t = 1 / x.shape[1]
    if has_others.any():
        t = softmax_regression.fit_temperature(
            scores[has_others], local[rows][has_others], weight=share[has_others], offset=prior
        )
    bias = prior - 0.5 * t * np.einsum("cd,cd->c", means, means)
    return design_matrix.linear_head_arrays(t * means.T, bias, moments, present, n_classes)


def leave_one_out_scores(
    z: np.ndarray, y: np.ndarray, means: np.ndarray, mass: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """(B, C) minus half the squared distance to every mean, each picture left out of its own class's mean.

    `z` (B, D) standardised, `means` (C, D), `mass` (C,) weight of the pictures behind each, `share` (B,) that of each
    picture; a picture that is its class alone is not left out.
    """
    scores = -0.5 * (np.einsum("bd,bd->b", z, z)[:, None] - 2 * z @ means.T + np.einsum("cd,cd->c", means, means))
    others = mass[y] - share
    scores[np.arange(len(y)), y] *= (mass[y] / np.where(others > 1e-9 * mass[y], others, mass[y])) ** 2
    return np.asarray(scores)


PLUGIN = NearestMean()
