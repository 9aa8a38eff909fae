"""k nearest neighbours: the votes of the most similar training pictures, smoothed; tunes k.

Columns are standardised, distances Euclidean. One vote, shared between the classes, is added to the k (Laplace). With
class weights a vote counts as much as its class weighs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core.types import FittedHead
from headstart.heads import design_matrix

COUNTS = (100, 50, 20, 10, 5, 3, 1)


class Neighbours:
    """See the module."""

    name = "knn"
    cannot: Mapping[str, str] = {"weights": "votes count by class"}

    def grid(self, n_train: int, dim: int, n_classes: int) -> Sequence[Mapping[str, Any]]:
        """Counts of neighbours up to half the pictures, the largest first."""
        return [{"k": k} for k in COUNTS if k <= max(n_train // 2, 1)]

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
        """See `headstart.core.types.Head`; all share one copy of the points."""
        moments = design_matrix.column_moments(x)
        centre = moments.centre.astype(np.float32)
        scale = (1 / np.where(moments.inverse > 0, moments.inverse, 1.0)).astype(np.float32)
        points = np.empty(x.shape, np.float32)
        for rows in design_matrix.row_blocks(x):
            points[rows] = (x[rows] - centre) / scale
        present = np.bincount(y, minlength=n_classes) > 0
        vote = np.ones(n_classes) if class_weight is None else np.asarray(class_weight, np.float64)
        shared = {
            "points": points,
            "labels": np.asarray(y, np.int64),
            "centre": centre,
            "scale": scale,
            "prior": (present / present.sum()).astype(np.float32),
            "vote": (vote / vote[y].mean()).astype(np.float32),
        }
        for setting in params:
            arrays = shared | {"k": np.asarray(setting["k"], np.int64)}
            yield FittedHead(
                head=self.name, kind="neighbours", params=dict(setting), arrays=arrays, trainable_params=points.size
            )


PLUGIN = Neighbours()
