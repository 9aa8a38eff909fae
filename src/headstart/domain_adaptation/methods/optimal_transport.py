"""Optimal transport: every source picture goes to where the target has room for it, its class kept together.

Courty et al., IEEE TPAMI 2017: Sinkhorn's plan with a group penalty. Pictures that are not in the plan move as the
nearest one that is (Ferradans et al. 2014).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.domain_adaptation import feature_moments as moments
from headstart.domain_adaptation.method_base import FeatureMap, HeadFit, HeadTraining, LabelledFeatures
from headstart.heads.cross_validation import draw_stratified
from headstart.statistics.sampling import draw_rows

MOST = 1_000  # pictures of a domain in the plan
DIRECTIONS = 64  # in which distances are measured
ROUNDS, STEPS = 4, 50
_FRAMEWORKS = {"tensorflow": "TENSORFLOW", "torch": "PYTORCH", "jax": "JAX", "cupy": "CUPY"}  # as POT calls them
ENTROPY, CLASSES = 0.05, 0.01  # weights of the penalties, over the median cost


class OptimalTransport:
    """See the module."""

    name = "optimal_transport"
    title = "optimal transport by class"
    extra = "adaptation"
    is_default = True
    uses_labels = True
    grid: Sequence[Mapping[str, Any]] = ({"entropy": ENTROPY},)

    def adapt(
        self,
        source: LabelledFeatures,
        target: np.ndarray,
        *,
        answer: FeatureMap,
        fit: HeadFit,
        params: Mapping[str, Any],
        seed: int,
    ) -> HeadTraining:
        """See `headstart.domain_adaptation.method_base.AdaptationMethod`."""
        moments.require_pictures(source.x, target)
        place = moments.match_columns(moments.measure_moments(source.x), moments.measure_moments(target))
        from_rows, to_rows = draw_stratified(source.y, MOST, seed), draw_rows(len(target), MOST)
        directions, origin = moments.project_on_leading(target, DIRECTIONS)
        placed, reached = place(source.x[from_rows]), target[to_rows]
        points, ends = (placed - origin) @ directions, (reached - origin) @ directions
        cost = np.square(points).sum(axis=1)[:, None] - 2 * points @ ends.T + np.square(ends).sum(axis=1)
        cost /= max(float(np.median(cost)), 1e-12)
        plan = plan_transport(cost, source.y[from_rows], float(params["entropy"]))
        step = plan @ reached - placed  # (M, D) from where standardisation puts a picture to where the plan does

        def move_block(x: np.ndarray) -> np.ndarray:
            at = place(x)
            z = (at - origin) @ directions
            nearest = np.argmin(np.square(points).sum(axis=1) - 2 * z @ points.T, axis=1)
            return np.asarray(at + step[nearest])

        move = moments.map_blocks(move_block)
        return HeadTraining(x=move(source.x), y=source.y, weights=source.weights, map_source=move)


def plan_transport(cost: np.ndarray, y: np.ndarray, entropy: float) -> np.ndarray:
    """(M, T) share of each source picture that goes to each target picture; rows sum to 1; `cost` is (M, T)."""
    import warnings

    sinkhorn_lpl1_mm = _import_solver()
    even = (np.full(count, 1 / count) for count in cost.shape)
    nearer = cost - cost.min(axis=1, keepdims=True)  # the plan is the same, and no row of the kernel is 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # so few steps leave the columns' masses a little off
        plan = sinkhorn_lpl1_mm(
            next(even), y, next(even), nearer, entropy, CLASSES, numItermax=ROUNDS, numInnerItermax=STEPS
        )
    return np.asarray(plan / np.maximum(plan.sum(axis=1, keepdims=True), 1e-300))


def _import_solver() -> Any:
    """POT loads every framework that is installed, which takes seconds; those that nobody has loaded stay so."""
    keys = [f"POT_BACKEND_DISABLE_{key}" for name, key in _FRAMEWORKS.items() if name not in sys.modules]
    added = [key for key in keys if key not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        from ot.da import sinkhorn_lpl1_mm
    finally:
        for key in added:
            del os.environ[key]
    return sinkhorn_lpl1_mm


PLUGIN = OptimalTransport()
